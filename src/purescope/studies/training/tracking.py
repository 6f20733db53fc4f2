"""Measure the checkpoints of a training, afterwards with `track` or meanwhile with `Tracker`."""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from purescope import __version__
from purescope.datasets.dataset import Dataset
from purescope.errors import InputError, ModelError
from purescope.features.extraction import extract
from purescope.features.features import Features
from purescope.files.writing import lock_folder
from purescope.maths.overlaps import Projections
from purescope.models import load_model
from purescope.models.model import Model
from purescope.specs import to_folder
from purescope.studies.settings import DRAWS, Options
from purescope.studies.training.checkpoints import Checkpoint, find_checkpoints
from purescope.studies.training.table import Log, measure

# Names of parameters, and whether their rows are neurons. A prefix may stand before them, as in a
# LightningModule.
_IMAGE_PROJECTIONS = {
    "visual_projection.weight": True,  # transformers
    "image_projection": False,  # LaCLIP, SLIP
    "visual.proj": False,  # OpenAI's and open_clip's ViT
    "visual.attnpool.c_proj.weight": True,  # their ResNet
    "visual.head.proj.weight": True,  # open_clip's timm towers
}
_TEXT_PROJECTIONS = {
    "text_projection.weight": True,
    "text_projection": False,
    "text.proj.weight": True,
}


@dataclass(frozen=True)
class TrackSettings:
    """The settings for measuring checkpoints; every field changes numbers and is in the manifest.

    Args:
        keep: the ks; None is the experiment's default for each model, see
            `purescope.maths.cells.default_keep`.
        draws: number of random orders.
        seed: seed of the first random order.
        protocol: preprocess and prompts, as for `purescope.features.extraction.extract`.
        space: where overlap is measured, see `purescope.studies.sweeps.sweep`.
        renormalise: scale class features to unit norm again over the kept neurons.

    Raises:
        InputError: a setting is unknown or out of range.
    """

    keep: Sequence[int] | None = None
    draws: int = DRAWS
    seed: int = 0
    protocol: str = "native"
    space: str = "weights"
    renormalise: bool = False

    def __post_init__(self) -> None:
        _ = self.options  # raises as a sweep would

    @property
    def options(self) -> Options:
        """The options of the bench that evaluates a checkpoint."""
        return Options(
            keep=self.keep,
            draws=self.draws,
            seed=self.seed,
            space=self.space,
            renormalise=self.renormalise,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the settings as they are read back from a manifest."""
        keep = None if self.keep is None else sorted({int(k) for k in self.keep})
        return asdict(self) | {"keep": keep}


def track(
    checkpoints: Sequence[str | Path | tuple[int, Model]],
    data: Sequence[Dataset] = (),
    *,
    out: str | Path | None = None,
    settings: TrackSettings | None = None,
    load: Callable[[str], Model] = load_model,
    encode: Callable[..., Features] = extract,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Measure purity, accuracy and the gain of pruning by purity at each checkpoint.

    Args:
        checkpoints: checkpoints of one training or several: files, folders of them, patterns, or
            steps with loaded models, see `purescope.studies.training.checkpoints.find_checkpoints`.
        data: datasets to measure accuracy on; without them only purity is measured, which needs no
            images.
        out: a folder for ``track.csv`` and ``track.parquet``, written after each row. The same call
            with more checkpoints, or after an interruption, measures only what is missing, and
            keeps the earlier rows.
        settings: how to measure.
        load: loads a model from the name of a checkpoint, as `load_model` does.
        encode: makes features of a model and a dataset, as `extract` does, for instance from a
            cache.
        overwrite: forget the contents of `out`.

    Returns:
        The table `purescope.tables.schemas.TRACK`: one row for each checkpoint and dataset.

    Raises:
        ModelError: a checkpoint is damaged, or cannot be named; all others are measured and written
            before.
        InputError: a setting does not fit the model.
        OutputError: `out` holds a table measured with other settings.

    Examples:
        >>> import torch, purescope as ps
        >>> model = ps.load_model("bundled:clip")
        >>> track([(4000, model)])[["model", "step", "neurons"]].values.tolist()
        [['Bundled CLIP', 4000, 512]]
    """
    settings = settings or TrackSettings()
    pending = find_checkpoints(checkpoints)
    folder = to_folder(out) if out is not None else None
    with lock_folder(folder) if folder is not None else nullcontext():
        notes = [note for dataset in data for note in dataset.notes]
        log = Log(folder, settings.as_json(), overwrite=overwrite, notes=notes)
        failed: list[tuple[str, ModelError | InputError]] = []
        for checkpoint in pending:
            try:
                _measure(checkpoint, data, log, settings, load, encode)
            except (ModelError, InputError) as error:
                failed.append((checkpoint.name, error))
    if failed:
        raise _error_of(failed, len(pending), log)
    return log.table()


def _measure(
    checkpoint: Checkpoint,
    data: Sequence[Dataset],
    log: Log,
    settings: TrackSettings,
    load: Callable[[str], Model],
    encode: Callable[..., Features],
) -> None:
    """Add the missing rows of one checkpoint to the log."""
    source = checkpoint.source
    # The label is shown while the model encodes.
    model = replace(
        load(source) if isinstance(source, str) else source,
        label=f"{checkpoint.model} {checkpoint.step}",
    )
    projections = model.projections if settings.space == "weights" else None
    for dataset in data or (None,):
        row = {
            "model": checkpoint.model,
            "step": checkpoint.step,
            "checkpoint": checkpoint.name,
            "dataset": "" if dataset is None else dataset.name,
            "identity": _identity(model, dataset),
        }
        if not log.has(row):
            features = None
            if dataset is not None:
                features = encode(model, dataset, protocol=settings.protocol)
            log.add(row | measure(projections, features, settings.options))


def _identity(model: Model, dataset: Dataset | None) -> str:
    """Return a hash of the weights, the images, the prompts, and the code that measures."""
    data: tuple[object, ...] = ()
    if dataset is not None:
        data = (dataset.fingerprint, dataset.display_names, dataset.templates, dataset.classes)
    code = {"purescope": __version__, "torch": version("torch")}
    identity = json.dumps([dict(model.identity), data, code], sort_keys=True)
    return hashlib.sha256(identity.encode()).hexdigest()


def _error_of(
    failed: list[tuple[str, ModelError | InputError]], checkpoints: int, log: Log
) -> ModelError | InputError:
    """Return one error for all failed checkpoints.

    If every checkpoint failed, it is the first error itself, because the checkpoints may not be the
    cause.
    """
    if len(failed) == checkpoints:
        return failed[0][1]
    kept = f", and kept in {log.out}" if log.out is not None else ""
    reasons = [
        error.came if name in error.came else f"{name}: {error.came}" for name, error in failed
    ]
    return ModelError(
        f"{len(failed)} of {checkpoints} checkpoints cannot be measured: {'; '.join(reasons)}",
        expected=f"whole checkpoints; the {checkpoints - len(failed)} others are measured{kept}",
        fix="copy or remove the damaged files, and call again: only what is missing is measured",
    )


class Tracker:
    """Records the purity of a model in training, and its accuracy where features are given.

    Each record is on disk at once. A training that continues from one of its checkpoints also
    continues the table, and steps that it repeats are recorded again.

    Args:
        out: a folder for ``track.csv`` and ``track.parquet`` of this training only.
        every: record the steps that are multiples of this number, and skip the others.
        model: label of the training.
        settings: how to measure; only ``keep``, ``draws``, ``seed``, ``space`` and ``renormalise``
            have an effect here.
        overwrite: forget the contents of `out`.

    Raises:
        InputError: `every` is below 1, or the table in `out` cannot be read.
        OutputError: `out` holds a table measured with other settings.

    Examples:
        Neurons of the image tower stay orthogonal, those of the text tower turn to one direction:

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
        """Tell whether `record` would record this step."""
        return step % self.every == 0

    def record(
        self,
        step: int,
        model: Projections | Model | nn.Module,
        features: Features | Callable[[], Features] | None = None,
    ) -> None:
        """Add the row of one step, if it is due.

        Args:
            step: the step of the training.
            model: the projections, or a model or module that has them, see `projections_of`.
            features: features of the images and classes to measure accuracy on; or a function that
                makes them, which is called only when the step is due, and without gradients.

        Raises:
            ModelError: the module's projections have no known name.
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
            self._log.add(row | measure(projections, features, self.settings.options))

    def table(self) -> pd.DataFrame:
        """Return the rows recorded so far, as the table `purescope.tables.schemas.TRACK`."""
        return self._log.table()


def projections_of(module: nn.Module) -> Projections:
    """Return the projections of a CLIP module, or of a module that contains one.

    The CLIP may be of open_clip, LaCLIP, SLIP, OpenAI or transformers. The projections are copies
    in float32 on the cpu, with neurons as rows, so training does not change them.

    Raises:
        ModelError: a tower's projection has no known name, or several parameters have one.

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
        image=_find(parameters, _IMAGE_PROJECTIONS, "image"),
        text=_find(parameters, _TEXT_PROJECTIONS, "text"),
    )


def _find(parameters: dict[str, nn.Parameter], ends: dict[str, bool], tower: str) -> Tensor:
    matches = {
        name: end for name in parameters for end in ends if name == end or name.endswith(f".{end}")
    }
    if len(matches) != 1:
        number, names = ("several", f": {', '.join(matches)}") if matches else ("no", "")
        raise ModelError(
            f"{number} {tower} projections by name{names}",
            expected=f"one parameter that is called, or ends in, {' or '.join(ends)}",
            fix="give the projections themselves: Projections(image=..., text=...), rows being "
            "neurons",
        )
    name, end = next(iter(matches.items()))
    weight = parameters[name].detach().float().cpu().clone()
    return weight if ends[end] else weight.T.contiguous()
