"""The same table from within a training loop.

The last linear maps of a module in training are told by the names of its parameters.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from purescope.errors import InputError, ModelError
from purescope.features.features import Features
from purescope.maths.overlaps import Projections
from purescope.models.model import Model
from purescope.specs import to_folder
from purescope.studies.training.table import Log
from purescope.studies.training.tracking import TrackSettings, measure


class Tracker:
    """Records the purity of a model in training, and its accuracy where features are given.

    Each record is on disk at once. A training that goes on from one of its checkpoints goes on with
    the table too, and what it does again it records again.

    Args:
        out: a folder for ``track.csv`` and ``track.parquet``, of this training alone.
        every: record steps that are multiples of it, and pass over the others.
        model: the label of the training.
        settings: how to measure; only ``keep``, ``draws``, ``seed``, ``space`` and ``renormalise``
            matter here.
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
            features: of the images and classes to measure accuracy on; or a function that makes
                them, which is called when the step is due only, and without gradients.

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
        """What is recorded so far, a row for each step; columns as in
        `purescope.studies.training.table.COLUMNS`.
        """
        return self._log.table()


# Names of parameters, and whether their rows are neurons; they may stand deeper, as in a
# LightningModule.
_IMAGE = {
    "visual_projection.weight": True,  # transformers
    "image_projection": False,  # LaCLIP, SLIP
    "visual.proj": False,  # OpenAI's and open_clip's ViT
    "visual.attnpool.c_proj.weight": True,  # their ResNet
    "visual.head.proj.weight": True,  # open_clip's timm towers
}
_TEXT = {"text_projection.weight": True, "text_projection": False, "text.proj.weight": True}


def projections_of(module: nn.Module) -> Projections:
    """The projections of a CLIP of open_clip, LaCLIP, SLIP, OpenAI or transformers, or of a module
    that holds one.

    Copies in float32 on the cpu, rows being neurons: training goes on without changing them.

    Raises:
        ModelError: a tower's projection goes by no name that is known, or by several.

    Examples:
        >>> import torch
        >>> module = nn.Module()
        >>> module.image_projection = nn.Parameter(torch.zeros(3, 2))
        >>> module.text_projection = nn.Parameter(torch.zeros(4, 2))
        >>> projections_of(module).text.shape
        torch.Size([2, 4])
    """
    parameters = dict(module.named_parameters())
    return Projections(
        image=_find(parameters, _IMAGE, "image"), text=_find(parameters, _TEXT, "text")
    )


def _find(parameters: dict[str, nn.Parameter], names: dict[str, bool], tower: str) -> Tensor:
    found = {
        name: end for name in parameters for end in names if name == end or name.endswith(f".{end}")
    }
    if len(found) != 1:
        raise ModelError(
            f"{'several' if found else 'no'} {tower} projections by "
            f"name{': ' if found else ''}{', '.join(found)}",
            expected=f"one parameter that is called, or ends in, {' or '.join(names)}",
            fix="give the projections themselves: Projections(image=..., text=...), rows being "
            "neurons",
        )
    name, end = next(iter(found.items()))
    weight = parameters[name].detach().float().cpu().clone()
    return weight if names[end] else weight.T.contiguous()
