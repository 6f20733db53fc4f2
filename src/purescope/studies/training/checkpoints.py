"""Which checkpoints belong to one training, and how far each has come: told by their names.

One rule: the whole number after step, iteration, update or batch in the name of a file or folder is
its step; where there is none, the one after epoch, then after checkpoint, then the last whole
number. Values of a metric (``val_loss=40.00``), fractions and Lightning's ``-v1`` are none. What is
left of the name, less such words and numbers, is the series; where nothing is left, the name of the
folder above is. ``LABEL@STEP=`` before a checkpoint says both, ``LABEL=`` or ``@STEP=`` one of
them.
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
        model: the label of its series.
        step: how far the training had come: a step, or an epoch.
        source: what `load_model` takes, or the model itself.
    """

    model: str
    step: int
    source: str | Model

    @property
    def name(self) -> str:
        """What to call it in a message or a table."""
        return self.source if isinstance(self.source, str) else self.source.spec


def find_checkpoints(specs: Iterable[str | Path | tuple[int, Model]]) -> list[Checkpoint]:
    """All checkpoints that are named: series in the order they come, each by step.

    Args:
        specs: what `load_model` takes; a folder of checkpoints; a pattern with ``*``, ``?`` or
            ``[...]``; ``LABEL@STEP=``, ``LABEL=`` or ``@STEP=`` may stand before each. Or a step
            and a loaded model.

    Raises:
        ModelError: nothing is there, a name tells no step, or two checkpoints of a series share
            one.

    Warns:
        UserWarning: a file in a folder, or of a pattern, is left out as its name tells no step; or
            some names of a series tell steps, and others epochs.

    Examples:
        >>> for found in find_checkpoints(["run/clip-1500.pt", "run/clip-400.pt", "@4000=bundled:clip"]):
        ...     print(found.model, found.step, found.source)
        clip 400 run/clip-400.pt
        clip 1500 run/clip-1500.pt
        clip 4000 bundled:clip
    """
    found: dict[tuple[str, int], Checkpoint] = {}
    for spec in specs:
        for checkpoint in [_loaded(*spec)] if isinstance(spec, tuple) else _named(str(spec)):
            key = checkpoint.model, checkpoint.step
            other = found.setdefault(key, checkpoint)
            if other.source != checkpoint.source:
                raise ModelError(
                    f"{other.name} and {checkpoint.name} are both step {key[1]} of {key[0]!r}",
                    expected="one checkpoint for each step of a series",
                    fix="give one another label or step: LABEL@STEP=CHECKPOINT",
                )
    if not found:
        raise ModelError(
            "no checkpoint was named", expected="files, a folder of them, or a pattern"
        )
    series = list(dict.fromkeys(model for model, _ in found))
    for model in series:
        _warn_of_units(
            model, [checkpoint for checkpoint in found.values() if checkpoint.model == model]
        )
    return sorted(
        found.values(), key=lambda checkpoint: (series.index(checkpoint.model), checkpoint.step)
    )


def _warn_of_units(model: str, checkpoints: Iterable[Checkpoint]) -> None:
    """An epoch among steps stands in the wrong place."""
    units: dict[int, str] = {}
    for checkpoint in checkpoints:
        name = to_path(split_part(checkpoint.name)[0]).name
        unit = next((i for i, pattern in enumerate(_COUNTED) if pattern.search(_stem(name))), None)
        if unit in (0, 1) and step_of(name) == checkpoint.step:
            units.setdefault(unit, checkpoint.name)
    if len(units) > 1:
        warnings.warn(
            f"{model!r}: {units[0]} tells a step and {units[1]} an epoch, and they are ordered as "
            f"if both were "
            f"steps; say which step an epoch is: @STEP=CHECKPOINT",
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
    counted = next((found for pattern in _COUNTED if (found := pattern.findall(stem))), [])
    numbers = counted or re.findall(r"\d+", _NO_STEP.sub(" ", stem))
    return int(numbers[-1]) if numbers else None


def series_of(path: Path) -> str:
    """Find what a name says besides its step.

    Examples:
        >>> series_of(Path("runs/ViT-B-16_epoch_10.pt")), series_of(Path("runs/laclip/checkpoints/epoch_10.pt"))
        ('ViT-B-16', 'laclip')
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
    found = []
    for source in sources:
        path = to_path(split_part(source)[0])
        own = step_of(path.name) if exists(path) or ":" not in source else None
        own = own if step is None else step
        if own is not None:
            found.append(Checkpoint(label or _series(source, path), own, source))
        elif not several:
            raise ModelError(f"{source} tells no step", expected="a name with a number", fix=_FIX)
        else:
            warnings.warn(f"left out {source}: its name tells no step", stacklevel=4)
    if not found:
        raise ModelError(
            f"no checkpoint in {name}",
            expected="names with a number, the step or the epoch",
            fix=_FIX,
        )
    return found


def _split(spec: str) -> tuple[str, int | None, str]:
    """Label ("" where there is none), step, and what they stand before."""
    before, name = split_label(spec)
    label, at, step = (before or "").partition("@")
    if (label and not is_label(label)) or (at and not re.fullmatch("[0-9]+", step)):
        raise ModelError(
            f"{spec!r}",
            expected="LABEL@STEP=CHECKPOINT, LABEL= or @STEP=; a step is a whole number",
        )
    return label, int(step) if at else None, name


def _sources(name: str) -> list[str]:
    """The checkpoints in a folder or of a pattern; anything else is one, or `load_model` will say
    what is wrong.

    ``#PART`` after either is that of each.
    """
    file, part = split_part(name)
    path, after = to_path(file), "" if part is None else f"#{part}"
    if is_folder(path) and not _is_model(path):
        return sorted(f"{entry}{after}" for entry in path.iterdir() if _is_checkpoint(entry))
    if not exists(path) and set(file) & set("*?["):
        found = glob.glob(_pattern(path)) or glob.glob(_pattern(path, brackets=False))  # noqa: PTH207 absolute ones
        return sorted(f"{entry}{after}" for entry in found if _is_checkpoint(Path(entry)))
    return [name]


def _pattern(path: Path, *, brackets: bool = True) -> str:
    """A pattern of the parts of a path that are not there as they are written."""
    parts = list(path.parts)
    there = next(i for i in range(len(parts) - 1, -1, -1) if i == 0 or exists(Path(*parts[:i])))
    rest = parts[there:] if brackets else [part.replace("[", "[[]") for part in parts[there:]]
    return str(Path(*(glob.escape(part) for part in parts[:there]), *rest))


def _series(source: str, path: Path) -> str:
    return series_of(path) if exists(path) or ":" not in source else re.split("[:/]", source)[-1]


def _is_checkpoint(path: Path) -> bool:
    return _is_model(path) if is_folder(path) else path.name.lower().endswith(_SUFFIXES)


def _is_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _MODEL_FOLDER)


def _stem(name: str) -> str:
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]
