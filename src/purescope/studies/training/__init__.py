"""Training dynamics: purity, accuracy and the gain of pruning by purity, over the checkpoints.

`purescope.track` reads existing checkpoints. `purescope.Tracker` is called from a training loop,
and `purescope.studies.training.lightning.TrackerCallback` by Lightning. All write the same table.
"""
