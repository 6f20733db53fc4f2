import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from purescope.datasets import available_datasets, bundled, load_dataset
from purescope.errors import DatasetError

ROWS: list[dict[str, Any]] = [
    # shade, label, class_name, label_kind, class_name_kind
    {"shade": 10, "label": 1, "class_name": "sad_face", "label_kind": 0, "class_name_kind": "face"},
    {"shade": 20, "label": 0, "class_name": "cat", "label_kind": None, "class_name_kind": None},
    {"shade": 30, "label": 2, "class_name": "sun", "label_kind": 1, "class_name_kind": "thing"},
    {"shade": 40, "label": 1, "class_name": "sad_face", "label_kind": 0, "class_name_kind": "face"},
]
INDEX = {
    "emoji": {"file": "emoji.parquet", "view": "", "title": "Emoji", "templates": ["{}", "a {}."]},
    "kinds": {
        "file": "emoji.parquet",
        "view": "kind",
        "title": "Kinds of emoji",
        "templates": ["{}"],
        "display_names": {"thing": "an object"},
    },
}


def webp(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (shade,) * 3).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    licence = {"source": "a set", "version": "1", "licence": "MIT"}
    table = [{"image": webp(row["shade"]), **row, **licence} for row in rows]
    table[-1]["licence"] = "CC0"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / "emoji.parquet")
    (folder / "index.json").write_text(json.dumps(INDEX))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(bundled, "_folder", lambda: tmp_path)
    write(tmp_path, ROWS)
    return tmp_path


def test_a_set_as_it_was_written() -> None:
    dataset = load_dataset("bundled:emoji")
    assert (dataset.name, dataset.spec) == ("emoji", "bundled:emoji")
    assert dataset.classes == ("cat", "sad_face", "sun")
    assert dataset.display_names == ("cat", "sad face", "sun")
    assert dataset.templates == ("{}", "a {}.")
    assert dataset.labels.tolist() == [1, 0, 2, 1]
    assert [int(np.asarray(dataset.images[i])[0, 0, 2]) for i in range(4)] == [10, 20, 30, 40]
    assert dataset.source["licence"] == "CC0; MIT"
    assert dataset.source["version"] == "1"


def test_a_view_has_its_own_classes_and_only_its_own_images() -> None:
    dataset = load_dataset("bundled:kinds")
    assert dataset.classes == ("face", "thing")
    assert dataset.display_names == ("face", "an object")
    assert dataset.labels.tolist() == [0, 1, 0]
    assert [int(np.asarray(dataset.images[i])[0, 0, 2]) for i in range(3)] == [10, 30, 40]


def test_fingerprint_is_of_the_file_and_the_view(folder: Path) -> None:
    emoji, kinds = (load_dataset(f"bundled:{name}").fingerprint for name in ("emoji", "kinds"))
    assert emoji == load_dataset("bundled:emoji").fingerprint != kinds
    write(folder, [{**ROWS[0], "shade": 11}, *ROWS[1:]])
    assert load_dataset("bundled:emoji").fingerprint != emoji
    assert len(emoji) == len(hashlib.sha256().hexdigest())


def test_unknown_name() -> None:
    with pytest.raises(DatasetError, match="did you mean 'emoji'"):
        load_dataset("bundled:emojis")


def test_labels_with_a_gap(folder: Path) -> None:
    write(folder, [ROWS[0], ROWS[2]])
    with pytest.raises(DatasetError, match="gaps"):
        load_dataset("bundled:emoji")


def test_an_image_that_is_no_webp_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.webp", lambda shade: b"RIFF" if shade == 30 else b"")
    write(folder, ROWS)
    with pytest.raises(DatasetError, match="image 2 of bundled:emoji"):
        load_dataset("bundled:emoji").images[2]


def test_listing_counts_images_and_classes_of_each_view() -> None:
    rows = {
        row.spec: (row.images, row.classes, row.what, row.present) for row in available_datasets()
    }
    assert rows["bundled:emoji"] == (4, 3, "Emoji", True)
    assert rows["bundled:kinds"] == (3, 2, "Kinds of emoji", True)


def test_without_bundled_files_there_are_no_bundled_sets(folder: Path) -> None:
    (folder / "index.json").unlink()
    assert bundled.list_names() == []
