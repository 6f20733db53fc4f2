"""The same table from within a training loop."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from purescope.dynamics._measure import TrackSettings, measure
from purescope.dynamics._modules import projections_of
from purescope.dynamics._table import Log
from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.models.model import Model
from purescope.specs import to_folder


class Tracker:
    """Records the purity of a model in training, and its accuracy where features are given.

    Each record is on disk at once. A training that goes on from one of its checkpoints goes on with the table too, and
    what it does again it records again.

    Args:
        out: a folder for ``track.csv`` and ``track.parquet``, of this training alone.
        every: record steps that are multiples of it, and pass over the others.
        model: the label of the training.
        settings: how to measure; only ``keep``, ``draws``, ``seed``, ``space`` and ``renormalise`` matter here.
        overwrite: forget what `out` holds.

    Raises:
        InputError: `every` is below 1, or the table in `out` cannot be read.
        OutputError: `out` holds a table measured by other settings.

    Examples:
        The image tower's neurons stay orthogonal, the text tower's turn towards one direction:

        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as out:
        ...     tracker = Tracker(out, every=10)
        ...     for step in range(21):
        ...         tracker.record(step, Projections(torch.eye(4), torch.eye(4) + step / 10))
        ...     tracker.table()[["step", "image_overlap", "text_overlap"]].round(2)
           step  image_overlap  text_overlap
        0     0            0.0          0.00
        1    10            0.0          0.86
        2    20            0.0          0.95
        >>> tracker.is_due(25)
        False
    """

    def __init__(
        self,
        out: str | Path,
        *,
        every: int = 1,
        model: str = "model",
        settings: TrackSettings | None = None,
        overwrite: bool = False,
    ) -> None:
        if every < 1:
            raise InputError(f"every = {every}", expected="at least 1 step")
        self.every, self.model, self.settings = every, model, settings or TrackSettings()
        self._log = Log(to_folder(out), self.settings.as_json(), overwrite=overwrite)

    def is_due(self, step: int) -> bool:
        """Whether `record` would record this step."""
        return step % self.every == 0

    def record(
        self,
        step: int,
        model: Projections | Model | nn.Module,
        features: Features | Callable[[], Features] | None = None,
    ) -> None:
        """Add the row of one step, if it is due.

        Args:
            step: how far the training has come.
            model: the projections, or what has them, see `projections_of`.
            features: of the images and classes to measure accuracy on; or a function that makes them, which is called
                when the step is due only, and without gradients.

        Raises:
            ModelError: the module's projections go by no name that is known.
            InputError: a weight is NaN or infinite, or features and projections differ in neurons.
            OutputError: the disk is full.
        """
        if not self.is_due(step):
            return
        projections = projections_of(model) if isinstance(model, nn.Module) else model
        projections = projections.projections if isinstance(projections, Model) else projections
        row = {"model": self.model, "step": step, "checkpoint": "", "identity": ""}
        with torch.no_grad():
            features = features() if callable(features) else features
            self._log.add(row | measure(projections, features, self.settings))

    def table(self) -> pd.DataFrame:
        """What is recorded so far, a row for each step; columns as in `purescope.dynamics.COLUMNS`."""
        return self._log.table()
