"""Figures as files."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from purescope.errors import InputError, OutputError, near_miss
from purescope.files.writing import atomic_path
from purescope.plots._style import current

# What savefig writes into a file besides the drawing: nothing that changes from one run to the next.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "purescope"},
    "svg": {"Creator": "purescope", "Date": None},
    "pdf": {"Creator": "purescope", "Producer": None, "CreationDate": None},
}
FORMATS = tuple(_METADATA)
_NO_LAYOUT = {"figure.autolayout": False, "figure.constrained_layout.use": False}
_NO_GLYPH = re.compile(r"Glyph \d+ \((.*?)\) missing from")


def save_figure(figure: Figure, stem: Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``stem.png``, ``stem.svg`` ..., each whole or not at all, and the same bytes for the same table.

    Text in SVG stays text, so it can be searched, selected and read aloud; in the paper style it is outlines, so that
    it needs no font where the file is included. Fonts in PDF are embedded as TrueType.

    Raises:
        InputError: a format is none of png, svg, pdf.
        OutputError: the folder does not take it.

    Warns:
        UserWarning: the fonts at hand lack a letter of a name, which PNG and PDF then show as a box.
    """
    check_formats(formats)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {stem.parent}: {error.strerror}", fix="choose another --out") from error
    paths = [stem.with_name(f"{stem.name}.{name}") for name in formats]
    with warnings.catch_warnings(record=True) as caught, matplotlib.rc_context(current().settings | _NO_LAYOUT):
        warnings.simplefilter("always")
        layout = figure.get_layout_engine()
        if layout is not None:
            layout.execute(figure)
            # Laid out once, for all formats. Not "none": that leaves an engine, for which savefig draws all twice.
            figure.set_layout_engine(None)
        for path, name in zip(paths, formats, strict=True):
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=name, dpi=current().dpi, metadata=_METADATA[name])
    _pass_on(caught, stem.name)
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Raise an InputError for an unknown one."""
    unknown = [name for name in formats if name not in _METADATA]
    if unknown:
        raise InputError(f"unknown figure format {unknown[0]!r}", **near_miss(unknown[0], _METADATA))


def _pass_on(caught: list[warnings.WarningMessage], name: str) -> None:
    """One warning for all letters without a glyph, and the others as they came."""
    glyphs = dict.fromkeys(found[1] for one in caught if (found := _NO_GLYPH.match(str(one.message))))
    if glyphs:
        names = ", ".join(name.split("}")[0].removeprefix("\\N{").lower() for name in glyphs)
        warnings.warn(f"{name}: no font here has {names}; PNG and PDF show a box", stacklevel=3)
    for one in caught:
        if not _NO_GLYPH.match(str(one.message)):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
