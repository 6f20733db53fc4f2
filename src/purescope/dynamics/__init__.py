"""Training dynamics: purity, accuracy and what pruning by purity gains, over the checkpoints of a training.

`track` reads checkpoints that are there; `Tracker` is called from a training loop, and
`purescope.dynamics.lightning.TrackerCallback` from Lightning's. All write the same table.
"""

from purescope.dynamics._checkpoints import Checkpoint, find_checkpoints
from purescope.dynamics._measure import TrackSettings
from purescope.dynamics._modules import projections_of
from purescope.dynamics._table import COLUMNS
from purescope.dynamics._track import track
from purescope.dynamics._tracker import Tracker
from purescope.tables.results import read_track

__all__ = [
    "COLUMNS",
    "Checkpoint",
    "TrackSettings",
    "Tracker",
    "find_checkpoints",
    "projections_of",
    "read_track",
    "track",
]
