"""Provide `Tracker` as a callback of Lightning; needs the extra [lightning]."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

from purescope.errors import MissingExtraError
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.studies.training.tracking import Tracker, projections_of

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtraError("lightning", "lightning") from error


class TrackerCallback(Callback):
    """Records at the start of a training and after each step that is due, in the first process.

    Args:
        tracker: the tracker that records; its `every` counts optimiser steps.
        projections: returns the projections of the module in training.
        features: returns features of the module in training, which is in evaluation mode and
            without gradients meanwhile; without it only purity is recorded.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        projections: Callable[[Any], Projections] = projections_of,
        features: Callable[[Any], Features] | None = None,
    ) -> None:
        self.tracker, self._projections, self._features = tracker, projections, features
        self._last: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._record(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._record(trainer, pl_module)

    def _record(self, trainer: Trainer, module: LightningModule) -> None:
        step = trainer.global_step
        # If gradients are accumulated, several batches are one step.
        if not trainer.is_global_zero or step == self._last or not self.tracker.is_due(step):
            return
        self._last = step
        with _evaluating(module):
            features = partial(self._features, module) if self._features else None
            self.tracker.record(step, self._projections(module), features)


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Set evaluation mode, then restore the mode of each submodule: some may be frozen."""
    modes = [(submodule, submodule.training) for submodule in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for submodule, training in modes:
            submodule.training = training
