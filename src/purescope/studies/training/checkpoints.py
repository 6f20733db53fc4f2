"""Find the checkpoints of a training, and read series and step from their names.

The step is the whole number after step, iteration, update or batch in the name of a file or folder.
Without such a word it is the number after epoch, then after checkpoint, then the last whole number.
Values of a metric (``val_loss=40.00``), fractions and Lightning's ``-v1`` do not count. The rest of
the name, without such words and numbers, is the series; if nothing is left, it is the name of the
folder above. ``LABEL@STEP=`` before a checkpoint sets both, ``LABEL=`` or ``@STEP=`` one of them.
"""

import glob
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from purescope.errors import ModelError
from purescope.models.model import Model
from purescope.specs import exists, is_folder, is_label, split_label, split_part, to_path

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_MODEL_FOLDER = ("open_clip_config.json", "purescope_laclip.json", "config.json")
_COUNTED = tuple(  # in this order
    re.compile(rf"(?<![a-z])(?:{words})s?(?![a-z])[=_\-. ]*(\d+)(?!\d|\.\d)", re.IGNORECASE)
    for words in ("step|iter(?:ation)?|update|batch", "epoch", "checkpoint|ckpt")
)
_NO_STEP = re.compile(  # Lightning's versions and metrics, fractions
    r"-v\d+$|[a-z][\w/]*=[-+]?\d*\.?\d+(?:e[-+]?\d+)?|\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]\d+",
    re.IGNORECASE,
)
_WORDS = re.compile(
    r"(?<![a-z])(?:epoch|step|iter(?:ation)?|checkpoint|ckpt|model|weight)s?(?![a-z])[=_\- ]*\d*",
    re.IGNORECASE,
)
_FIX = "say which step it is: @STEP=CHECKPOINT"


@dataclass(frozen=True)
class Checkpoint:
    """One state of a model in training.

    Args:
        model: label of its series.
        step: the step of the training, or the epoch.
        source: a name that `load_model` takes, or the model itself.
    """

    model: str
    step: int
    source: str | Model

    @property
    def name(self) -> str:
        """The name for messages and tables."""
        return self.source if isinstance(self.source, str) else self.source.spec


def find_checkpoints(specs: Iterable[str | Path | tuple[int, Model]]) -> list[Checkpoint]:
    """Return all checkpoints that the specs name: series in their order, each by step.

    Args:
        specs: names that `load_model` takes; folders of checkpoints; patterns with ``*``, ``?`` or
            ``[...]``; ``LABEL@STEP=``, ``LABEL=`` or ``@STEP=`` may stand before each. Or pairs of
            a step and a loaded model.

    Raises:
        ModelError: there is no checkpoint, a name has no step, or two checkpoints of a series have
            the same step.

    Warns:
        UserWarning: a file in a folder, or of a pattern, is left out because its name has no step;
            or some names of a series have steps, and others epochs.

    Examples:
        >>> specs = ["run/clip-1500.pt", "run/clip-400.pt", "@4000=bundled:clip"]
        >>> for checkpoint in find_checkpoints(specs):
        ...     print(checkpoint.model, checkpoint.step, checkpoint.source)
        clip 400 run/clip-400.pt
        clip 1500 run/clip-1500.pt
        clip 4000 bundled:clip
    """
    by_step: dict[tuple[str, int], Checkpoint] = {}
    for spec in specs:
        for checkpoint in [_loaded(*spec)] if isinstance(spec, tuple) else _named(str(spec)):
            key = checkpoint.model, checkpoint.step
            other = by_step.setdefault(key, checkpoint)
            if other.source != checkpoint.source:
                raise ModelError(
                    f"{other.name} and {checkpoint.name} are both step {key[1]} of {key[0]!r}",
                    expected="one checkpoint for each step of a series",
                    fix="give one another label or step: LABEL@STEP=CHECKPOINT",
                )
    if not by_step:
        raise ModelError(
            "no checkpoint was named", expected="files, a folder of them, or a pattern"
        )
    series: dict[str, list[Checkpoint]] = {}
    for checkpoint in by_step.values():
        series.setdefault(checkpoint.model, []).append(checkpoint)
    for model, checkpoints in series.items():
        _warn_of_units(model, checkpoints)
    return [
        checkpoint
        for checkpoints in series.values()
        for checkpoint in sorted(checkpoints, key=lambda checkpoint: checkpoint.step)
    ]


def _warn_of_units(model: str, checkpoints: Iterable[Checkpoint]) -> None:
    """Warn of epochs among steps, because they are ordered as if both were steps."""
    units: dict[int, str] = {}
    for checkpoint in checkpoints:
        name = to_path(split_part(checkpoint.name)[0]).name
        unit = next((i for i, pattern in enumerate(_COUNTED) if pattern.search(_stem(name))), None)
        if unit in (0, 1) and step_of(name) == checkpoint.step:
            units.setdefault(unit, checkpoint.name)
    if len(units) > 1:
        warnings.warn(
            f"{model!r}: {units[0]} has a step and {units[1]} an epoch, and they are ordered as if "
            f"both were steps; say which step an epoch is: @STEP=CHECKPOINT",
            stacklevel=3,
        )


def step_of(name: str) -> int | None:
    """Find the step, or the epoch, in a name, without its suffix.

    Examples:
        >>> step_of("clip-00400.safetensors"), step_of("epoch=3-step=120.ckpt"), step_of("best.pt")
        (400, 120, None)
        >>> step_of("epoch=3-val_loss=40.00.ckpt"), step_of("last-v1.ckpt")
        (3, None)
    """
    stem = _stem(name)
    matches = (pattern.findall(stem) for pattern in _COUNTED)
    counted = next((numbers for numbers in matches if numbers), [])
    numbers = counted or re.findall(r"\d+", _NO_STEP.sub(" ", stem))
    return int(numbers[-1]) if numbers else None


def series_of(path: Path) -> str:
    """Find the series in a path: the rest of its name without the step.

    Examples:
        >>> series_of(Path("runs/ViT-B-16_epoch_10.pt"))
        'ViT-B-16'
        >>> series_of(Path("runs/laclip/checkpoints/epoch_10.pt"))
        'laclip'
        >>> series_of(Path("runs/laclip/epoch=3-val_loss=40.00.ckpt"))
        'laclip'
    """
    own = _stem(path.name)
    counted = [match.span() for pattern in _COUNTED for match in pattern.finditer(own)]
    for start, end in sorted(counted, reverse=True):
        own = own[:start] + own[end:]
    own = _NO_STEP.sub("", own)
    own = own if counted else re.sub(r"\d+(?=\D*$)", "", own)
    names = (
        _WORDS.sub("", name).strip("-_=. ")
        for name in (own, *(folder.name for folder in path.parents))
    )
    return next((name for name in names if name), "model")


def _loaded(step: int, model: Model) -> Checkpoint:
    return Checkpoint(model.label, step, model)


def _named(spec: str) -> list[Checkpoint]:
    label, step, name = _split(spec)
    sources = _sources(name)
    several = sources != [name]
    if step is not None and len(sources) > 1:
        raise ModelError(
            f"{spec!r} names {len(sources)} checkpoints",
            expected="one, as it has one step",
            fix=_FIX,
        )
    checkpoints = []
    for source in sources:
        path = to_path(split_part(source)[0])
        is_path = exists(path) or ":" not in source
        own_step = step_of(path.name) if step is None and is_path else step
        if own_step is not None:
            own_label = series_of(path) if is_path else re.split("[:/]", source)[-1]
            checkpoints.append(Checkpoint(label or own_label, own_step, source))
        elif not several:
            raise ModelError(f"{source} has no step", expected="a name with a number", fix=_FIX)
        else:
            warnings.warn(f"left out {source}: its name has no step", stacklevel=4)
    if not checkpoints:
        raise ModelError(
            f"no checkpoint in {name}",
            expected="names with a number, the step or the epoch",
            fix=_FIX,
        )
    return checkpoints


def _split(spec: str) -> tuple[str, int | None, str]:
    """Return label ("" without one), step, and the name that they stand before."""
    before, name = split_label(spec)
    label, at, step = (before or "").partition("@")
    if (label and not is_label(label)) or (at and not re.fullmatch("[0-9]+", step)):
        raise ModelError(
            f"{spec!r}",
            expected="LABEL@STEP=CHECKPOINT, LABEL= or @STEP=; a step is a whole number",
        )
    return label, int(step) if at else None, name


def _sources(name: str) -> list[str]:
    """Return the checkpoints in a folder or of a pattern; any other name is one checkpoint.

    If it is not, `load_model` says what is wrong. ``#PART`` after a folder or a pattern applies to
    each checkpoint.
    """
    file, part = split_part(name)
    path, after = to_path(file), "" if part is None else f"#{part}"
    if is_folder(path) and not _is_model(path):
        return sorted(f"{entry}{after}" for entry in path.iterdir() if _is_checkpoint(entry))
    if not exists(path) and set(file) & set("*?["):
        matches = glob.glob(_pattern(path)) or glob.glob(_pattern(path, brackets=False))  # noqa: PTH207 absolute ones
        return sorted(f"{entry}{after}" for entry in matches if _is_checkpoint(Path(entry)))
    return [name]


def _pattern(path: Path, *, brackets: bool = True) -> str:
    """Return a pattern in which the existing parts of a path stand for themselves."""
    names = list(path.parts)
    existing = next(i for i in range(len(names) - 1, -1, -1) if i == 0 or exists(Path(*names[:i])))
    rest = names[existing:]
    if not brackets:
        rest = [name.replace("[", "[[]") for name in rest]
    return str(Path(*map(glob.escape, names[:existing]), *rest))


def _is_checkpoint(path: Path) -> bool:
    return _is_model(path) if is_folder(path) else path.name.lower().endswith(_SUFFIXES)


def _is_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MODEL_FOLDER)


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]
