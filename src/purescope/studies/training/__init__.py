"""Training dynamics: purity, accuracy and what pruning by purity gains, over the checkpoints of a
training.

`purescope.track` reads checkpoints that are there; `purescope.Tracker` is called from a training
loop, and `purescope.studies.training.lightning.TrackerCallback` from Lightning's. All write the
same table.
"""
