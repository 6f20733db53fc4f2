"""Write the model card of an export: a README.md with the metadata of the hub.

It says what the export is, how it is loaded, how it was made, what it keeps with intervals, and
what was not measured. A license is left out: it is that of the model, which a checkpoint does not
say.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from purescope import __version__
from purescope.errors import InputError, near_miss, printable, shortened
from purescope.formats import measure, percent
from purescope.reduce.forms.loading import show_loading
from purescope.specs import to_path

_LONGEST = 300  # characters of a name or a value
_ROWS = 40  # of the recipe
_UNIT = "Scale embeddings to unit length before you compare them"
_HAVE_UNIT = "Its embeddings have unit length over the dimensions that are kept"
_AS_THEY_ARE = "Compare embeddings as they are"
_REPOSITORY = re.compile(r"(?:hf|open_clip:hf-hub):([\w.-]+/[\w.-]+)")


@dataclass(frozen=True)
class Number:
    """One row of the table of a card.

    Args:
        metric: what was measured, such as ``accuracy``, as a fraction.
        k: the number of dimensions kept.
        value: the number, with the ends of its 95 % interval.
        low, high: the interval.
        share: the share kept of the number of all dimensions, if it is known: on the half of the
            images that judges a choice of k.
        share_low: the lower end of its interval.
        dataset: what it was measured on.
    """

    metric: str
    k: int
    value: float
    low: float
    high: float
    share: float | None = None
    share_low: float | None = None
    dataset: str = ""


@dataclass(frozen=True)
class Origin:
    """What an export was made from, and how.

    Args:
        spec: the name of the model, as it was given.
        label: its name for readers.
        neurons: dimensions of the whole model.
        kept: dimensions of the export.
        recipe: how the axes were made, as texts.
        command: the command that made the export.
        normalise: whether embeddings are scaled to unit length again over what is kept.
    """

    spec: str
    label: str
    neurons: int
    kept: int
    recipe: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    command: str = ""
    normalise: bool = True


@dataclass(frozen=True)
class _Library:
    """What the card of a form says of it."""

    name: str  # the hub's
    tags: tuple[str, ...]
    is_what: str
    task: str = ""


_LIBRARIES = {
    "open_clip": _Library(
        "open_clip",
        ("clip",),
        "a model that open_clip loads from this folder",
        "zero-shot-image-classification",
    ),
    "transformers": _Library(
        "transformers",
        ("clip",),
        "a CLIPModel that transformers loads from this folder",
        "zero-shot-image-classification",
    ),
    "sentence-transformers": _Library(
        "sentence-transformers",
        ("sentence-transformers", "feature-extraction", "clip"),
        "a SentenceTransformer, which encodes images and texts",
        "feature-extraction",
    ),
    "onnx": _Library(
        "onnx",
        ("onnx", "clip"),
        "two ONNX files, one for each tower, which onnxruntime runs without torch",
        "feature-extraction",
    ),
    "purescope": _Library(
        "purescope", ("clip",), "a model in purescope's own form, which no other library has"
    ),
    "rotation": _Library(
        "safetensors",
        ("embeddings",),
        "a rotation, for embeddings that the whole model has made",
    ),
}


def model_card(
    form: str, origin: Origin, *, numbers: Sequence[Number] = (), measured_by: str = ""
) -> str:
    """Return the README.md of an export.

    Names and values come from files and users: they are shown as code, which neither Markdown nor
    HTML reads.

    Args:
        form: the form of the export, as ``--to`` takes it.
        origin: what it was made from, and how.
        numbers: what was measured.
        measured_by: the command that measures what was not.

    Raises:
        InputError: the form is unknown.

    Examples:
        >>> origin = Origin("hf:openai/clip-vit-base-patch32", "CLIP", 512, 256, {"axes": "svd"})
        >>> number = Number("accuracy", 256, 0.9, 0.88, 0.91, 0.99, 0.98, "flags")
        >>> card = model_card("onnx", origin, numbers=[number])
        >>> print(card[: card.index("## Load it")])
        ---
        base_model: "openai/clip-vit-base-patch32"
        library_name: "onnx"
        pipeline_tag: "feature-extraction"
        tags: ["purescope", "onnx", "clip"]
        ---
        <BLANKLINE>
        # `CLIP`: 256 of 512 dimensions
        <BLANKLINE>
        This is `hf:openai/clip-vit-base-patch32` with embeddings of 256 dimensions in place of 512.
        It is two ONNX files, one for each tower, which onnxruntime runs without torch.
        <BLANKLINE>
        Scale embeddings to unit length before you compare them, as the numbers below do.
        <BLANKLINE>
    """
    if form not in _LIBRARIES:
        raise InputError(f"unknown form {form!r}", **near_miss(form, _LIBRARIES))
    sections = [
        _front_matter(form, origin),
        _summary(form, origin, is_measured=bool(numbers)),
        "## Load it\n\nIn this folder:\n\n"
        + _block("python", show_loading(form, neurons=origin.neurons, kept=origin.kept)),
        _recipe(origin),
        _numbers(numbers),
        _unmeasured(numbers, measured_by),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(form: str, origin: Origin) -> str:
    """Return the metadata: YAML, whose values are written as JSON, which YAML contains."""
    library = _LIBRARIES[form]
    found = _REPOSITORY.fullmatch(origin.spec)
    is_repository = found is not None and not to_path(found[1]).exists()
    entries: dict[str, object] = {
        "base_model": found[1] if found and is_repository else "",
        "library_name": library.name,
        "pipeline_tag": library.task,
        "tags": ["purescope", *library.tags],
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in entries.items() if value]
    return "\n".join(["---", *lines, "---"])


def _summary(form: str, origin: Origin, *, is_measured: bool) -> str:
    kept, neurons = f"{origin.kept:,}", f"{origin.neurons:,}"
    is_whole = origin.kept == origin.neurons
    changed = (
        f"with embeddings that are rotated: all {neurons} dimensions, in an order of which the "
        f"first keep most"
        if is_whole
        else f"with embeddings of {kept} dimensions in place of {neurons}"
    )
    if form == "rotation":
        changed = f"to {kept} of {neurons} dimensions"
        opening = f"This shortens embeddings of {_code(origin.spec)} {changed}."
    else:
        opening = f"This is {_code(origin.spec)} {changed}."
    advice = _UNIT if origin.normalise else _AS_THEY_ARE
    if origin.normalise and form == "sentence-transformers":
        advice = _HAVE_UNIT
    advice += ", as the numbers below do." if is_measured else "."
    title = f"{neurons} rotated dimensions" if is_whole else f"{kept} of {neurons} dimensions"
    what = f"It is {_LIBRARIES[form].is_what}."
    return f"# {_code(origin.label)}: {title}\n\n{opening}\n{what}\n\n{advice}"


def _recipe(origin: Origin) -> str:
    recipe = list(origin.recipe.items())
    rows = [[_code(key), _code(value)] for key, value in recipe[:_ROWS]]
    if len(recipe) > _ROWS:
        rows.append([f"{len(recipe) - _ROWS:,} more", "in the file of the rotation"])
    parts = [f"## How it was made\n\nBy purescope {__version__}."]
    if rows:
        parts.append(_table(["what", "value"], rows))
    if origin.command:
        parts.append(_block("sh", printable(origin.command)))
    return "\n\n".join(parts)


def _numbers(numbers: Sequence[Number]) -> str:
    if not numbers:
        return "## Numbers\n\nNothing was measured on this export."
    rows = [
        [
            _code(number.metric) + (f" on {_code(number.dataset)}" if number.dataset else ""),
            f"{number.k:,}",
            measure(number.value, number.metric),
            f"{measure(number.low, number.metric)} to {measure(number.high, number.metric)}",
            percent(number.share) + " %" if number.share is not None else "not known",
            percent(number.share_low) + " %" if number.share_low is not None else "not known",
        ]
        for number in numbers
    ]
    heads = ["metric", "k", "value", "95 % interval", "share kept", "at least"]
    return (
        "## Numbers\n\nIn per cent; k is the number of dimensions. The share kept is that of the "
        "number with all dimensions, on the half of the images that takes no part in a choice of "
        "k, and *at least* is the lower end of its 95 % interval.\n\n" + _table(heads, rows)
    )


def _unmeasured(numbers: Sequence[Number], measured_by: str) -> str:
    what = "other datasets and metrics" if numbers else "what it keeps of any task"
    text = (
        f"## What was not measured\n\nNot measured: {what}, other languages than those of the "
        "data, and whom its errors hit. Measure it on your own images before you use it."
    )
    return text if not measured_by else f"{text}\n\n{_block('sh', printable(measured_by))}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    # A bar ends a cell, even within code.
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [heads, ["---"] * len(heads), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _block(language: str, text: str) -> str:
    """Show lines of a program; none of them can end the block."""
    lines = [printable(line) for line in text.rstrip("\n").split("\n")]
    fence = "`" * max(3, _longest_run("\n".join(lines)) + 1)
    return "\n".join([f"{fence}{language}", *lines, fence])


def _code(text: str) -> str:
    """Show a text of others literally.

    Examples:
        >>> print(_code("a"), _code("`<b>`"), _code(""))
        `a` `` `<b>` `` `(empty)`
    """
    text = shortened(printable(text), _LONGEST) or "(empty)"
    fence = "`" * (_longest_run(text) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"


def _longest_run(text: str) -> int:
    """Return the length of the longest run of backticks."""
    return max((len(run) for run in re.findall("`+", text)), default=0)
