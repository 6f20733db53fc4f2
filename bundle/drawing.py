"""One drawing and its words, before and after rendering."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Drawing:
    """A vector drawing: its SVG text, and the words that its package gives it.

    `kind` is `emoji`, `flag`, `icon` or `clipart`; `mono` marks one-colour glyphs, which training
    recolours.
    """

    svg: str
    source: str
    kind: str
    caption: str
    keywords: tuple[str, ...] = ()
    group: str = ""
    subgroup: str = ""
    mono: bool = False
    description: str = ""


def write_drawings(drawings: list[Drawing], rgba: np.ndarray, folder: Path) -> None:
    """The records, one JSON object a line, and their pictures ``[n, 64, 64, 4]`` uint8."""
    np.save(folder / "rgba.npy", rgba)
    (folder / "drawings.jsonl").write_text(
        "\n".join(json.dumps(asdict(drawing)) for drawing in drawings) + "\n"
    )


def read_drawings(folder: Path) -> tuple[list[Drawing], np.ndarray]:
    """What `write_drawings` wrote."""
    rows = [json.loads(line) for line in (folder / "drawings.jsonl").read_text().splitlines()]
    return [Drawing(**{**row, "keywords": tuple(row["keywords"])}) for row in rows], np.load(
        folder / "rgba.npy"
    )
