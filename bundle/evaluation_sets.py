"""The evaluation sets: held-out drawings and Fashion-MNIST, as Parquet files of WebP images with
labels and licences.

The drawn sets hold out the artist, not the concept: both models saw a lion, but not this one.
Fashion-MNIST is out of distribution in both.
"""

import gzip
import io
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from bundle.drawing import Drawing
from bundle.sources import Origin, Sources
from bundle.splits import CLIPART_CLASSES, is_held_out

TEMPLATES = ("{}", "a picture of {}", "an icon of {}")
_SUBGROUPS = {
    "animal-mammal": "mammal animal", "animal-marine": "sea animal", "animal-bug": "bug insect",
    "animal-bird": "bird", "animal-reptile": "reptile", "plant-flower": "flower", "plant-other": "plant",
    "food-fruit": "fruit", "food-vegetable": "vegetable", "food-prepared": "prepared food", "food-asian": "asian food",
    "food-sweet": "sweet dessert", "place-building": "building", "place-geographic": "landscape",
    "place-other": "place", "transport-ground": "ground vehicle", "transport-water": "boat",
    "transport-air": "aircraft", "sky-weather": "weather", "time": "clock time", "face-smiling": "smiling face",
    "face-concerned": "worried face", "hand-fingers-open": "open hand", "person-role": "person with a job",
    "person-sport": "person doing sport", "award-medal": "medal", "arts-crafts": "art",
    "light-video": "light or camera", "other-object": "object", "transport-sign": "sign", "av-symbol": "media button",
    "alphanum": "letters button", "geometric": "geometric shape", "zodiac": "zodiac sign",
}  # fmt: skip
_FASHION = (
    "t-shirt", "trousers", "pullover sweater", "dress", "coat", "sandal", "shirt", "sneaker", "handbag", "ankle boot",
)  # fmt: skip
_FASHION_IMAGES = 4000
_SMALLEST_SUBGROUP = 8


@dataclass
class EvaluationSet:
    """One image set under one or two labellings; a row of `index.json` for each."""

    name: str
    title: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    views: dict[str, str] = field(
        default_factory=dict
    )  # suffix of the set's name -> title of that labelling
    display_names: dict[str, str] = field(default_factory=dict)

    def add(self, image: np.ndarray, class_name: str, origin: Origin, **views: str) -> None:
        names = {f"class_name_{view}": name for view, name in views.items()}
        self.rows.append(
            {"image": _webp(image), "class_name": class_name, **asdict(origin), **names}
        )

    def write(self, folder: Path) -> dict[str, dict[str, Any]]:
        """The Parquet file, and this set's entries of the index."""
        table = pd.DataFrame(self.rows)
        for column in [str(name) for name in table if str(name).startswith("class_name")]:
            classes = sorted(table[column].unique())
            table[column.replace("class_name", "label")] = table[column].map(
                {name: i for i, name in enumerate(classes)}
            )
        table.to_parquet(folder / f"{self.name}.parquet", compression="zstd", index=False)
        common = {"file": f"{self.name}.parquet", "templates": list(TEMPLATES)}
        entries = {
            self.name: {
                **common,
                "view": "",
                "title": self.title,
                "display_names": self.display_names,
            }
        }
        for view, title in self.views.items():
            entries[f"{self.name}-{view}s"] = {
                **common,
                "view": view,
                "title": title,
                "display_names": {},
            }
        return entries


def build(drawings: list[Drawing], rgba: np.ndarray, sources: Sources, folder: Path) -> None:
    """Write every set and ``index.json`` into `folder`."""
    held_out = [
        (drawing, picture)
        for drawing, picture in zip(drawings, rgba, strict=True)
        if is_held_out(drawing)
    ]
    trained = Counter(drawing.caption for drawing in drawings if not is_held_out(drawing))
    index: dict[str, dict[str, Any]] = {}
    for made in (
        _emoji("emoji", "Fluent emoji", "fluent-emoji", held_out, sources),
        _flags(held_out, sources),
        _icons(held_out, trained, sources),
        _clipart(held_out, sources),
        _fashion_mnist(sources),
        _emoji("openmoji", "OpenMoji", "openmoji", held_out, sources),
    ):
        index |= made.write(folder)
    (folder / "index.json").write_text(json.dumps(index, indent=2, ensure_ascii=False) + "\n")


Held = Iterable[tuple[Drawing, np.ndarray]]


def _emoji(name: str, title: str, source: str, held_out: Held, sources: Sources) -> EvaluationSet:
    chosen = [
        (drawing, picture)
        for drawing, picture in held_out
        if drawing.source == source
        and drawing.kind == "emoji"
        and drawing.subgroup not in {"", "skin-tone", "hair-style"}
        and not re.search(r":|keycap", drawing.caption)
    ]
    sizes = Counter(drawing.subgroup for drawing, _ in chosen)
    made = EvaluationSet(name, f"{title} by subgroup", views={"name": f"{title} by name"})
    for drawing, picture in chosen:
        if sizes[drawing.subgroup] >= _SMALLEST_SUBGROUP:
            made.add(
                _on_white(picture), drawing.subgroup, sources.icon_set(source), name=drawing.caption
            )
    subgroups = {row["class_name"] for row in made.rows}
    made.display_names = {
        name: _SUBGROUPS.get(name, name.replace("-", " ")) for name in sorted(subgroups)
    }
    return made


def _flags(held_out: Held, sources: Sources) -> EvaluationSet:
    made = EvaluationSet("flags", "Country flags")
    for drawing, picture in held_out:
        if drawing.source in {"circle-flags", "cif"} and drawing.subgroup == "country-flag":
            made.add(_on_white(picture), drawing.caption, sources.icon_set(drawing.source))
    return made


def _icons(held_out: Held, trained: Counter[str], sources: Sources) -> EvaluationSet:
    made = EvaluationSet("icons", "Icons by name")
    chosen = [
        (drawing, picture) for drawing, picture in held_out if drawing.source in {"ph", "fa6-solid"}
    ]
    names = [
        {drawing.caption for drawing, _ in chosen if drawing.source == source}
        for source in ("ph", "fa6-solid")
    ]
    for drawing, picture in chosen:
        name = drawing.caption
        known = name in names[0] & names[1] and trained[name] >= 3 and len(name) > 2
        if known and not re.search(r"arrow|text|align|caret", name):
            made.add(_on_white(picture), name, sources.icon_set(drawing.source))
    return made


def _clipart(held_out: Held, sources: Sources) -> EvaluationSet:
    made, origin = (
        EvaluationSet("clipart", "OpenClipart by folder"),
        sources.debian("openclipart-svg", "public domain"),
    )
    for drawing, picture in held_out:
        if drawing.source == "openclipart":
            made.add(_on_white(picture), CLIPART_CLASSES[drawing.group], origin)
    return made


def _fashion_mnist(sources: Sources) -> EvaluationSet:
    """The first test images, inverted to dark on light as the training drawings are, with a margin
    of 2 px.
    """
    made, origin = (
        EvaluationSet("fashion-mnist", "Fashion-MNIST"),
        sources.debian("dataset-fashion-mnist", "MIT"),
    )
    folder = sources.fashion_mnist
    pixels = np.frombuffer(
        gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(
        gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    for picture, label in zip(pixels.reshape(-1, 28, 28)[:_FASHION_IMAGES], labels, strict=False):
        canvas = np.pad(255 - picture, 2, constant_values=255)
        made.add(canvas, _FASHION[label], origin)
    return made


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return (rgba[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def _webp(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).convert("RGB").save(buffer, "WEBP", quality=90, method=4)
    return buffer.getvalue()
