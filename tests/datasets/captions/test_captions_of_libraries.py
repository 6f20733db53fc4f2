"""Test that images and captions are those that CLIP_benchmark and torchvision read."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purescope.datasets.captions.loading import load
from tests.datasets.captions.formats import CAPTIONS, FORMATS, SHADES
from tests.datasets.pictures import picture, shades


def shade(image: Any) -> int:
    return int(np.asarray(image.convert("RGB"))[0, 0, 1])


@pytest.mark.filterwarnings("ignore")  # those of webdataset
def test_shards_as_clip_benchmark_reads_them(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    build = importlib.import_module("clip_benchmark.datasets.builder").build_wds_dataset
    FORMATS["shards of CLIP_benchmark"](tmp_path)
    identity: Callable[[Any], Any] = lambda image: image  # noqa: E731
    theirs = [
        (shade(image), tuple(captions))
        for image, captions in build("pets", identity, data_dir=str(tmp_path))
    ]
    ours = load(str(tmp_path))
    assert list(zip(shades(ours), ours.captions, strict=True)) == theirs
    assert len(theirs) == len(CAPTIONS)


def test_lists_as_clip_benchmark_reads_them(tmp_path: Path) -> None:
    """Its list of Flickr has captions with commas, and images that end in .jpg."""
    flickr = pytest.importorskip("clip_benchmark.datasets.flickr").Flickr
    rows = ["image,caption", "b.jpg,two, or three", "a.jpg,one", "b.jpg,a second one"]
    (tmp_path / "captions.txt").write_text("\n".join(rows) + "\n")
    for name, number in (("a.jpg", 10), ("b.jpg", 20)):
        (tmp_path / name).write_bytes(picture(number, "JPEG"))
    theirs = flickr(str(tmp_path), str(tmp_path / "captions.txt"))
    ours = load(str(tmp_path))
    assert [[*captions] for captions in ours.captions] == [captions for _, captions in theirs]
    assert shades(ours) == [shade(image) for image, _ in theirs] == [20, 10]


def test_annotations_as_torchvision_reads_them(tmp_path: Path) -> None:
    """It sorts images by their numbers; the captions of an image have the order of the file."""
    pytest.importorskip("pycocotools")
    from torchvision.datasets import CocoCaptions

    name = FORMATS["COCO"](tmp_path)
    file = tmp_path / "annotations" / "captions_val2017.json"
    theirs = CocoCaptions(str(tmp_path / "val2017"), str(file))
    ours = load(name)
    assert dict(zip(shades(ours), map(list, ours.captions), strict=True)) == {
        shade(image): captions for image, captions in theirs
    }


def test_an_image_folder_as_datasets_reads_it(tmp_path: Path, quiet_hub: None) -> None:
    """One row a caption: `datasets` repeats the image, we group its captions."""
    hub = pytest.importorskip("datasets")
    FORMATS["metadata.jsonl"](tmp_path / "pets")
    rows = hub.load_dataset("imagefolder", data_dir=str(tmp_path / "pets"), split="train")
    theirs: dict[int, list[str]] = {}
    for row in rows:
        theirs.setdefault(shade(row["image"]), []).append(row["text"])
    ours = load(str(tmp_path / "pets"))
    assert dict(zip(shades(ours), map(list, ours.captions), strict=True)) == theirs
    assert sorted(theirs) == SHADES


def test_a_split_of_coco_in_one_file_of_many(tmp_path: Path) -> None:
    name = FORMATS["COCO"](tmp_path)
    file = tmp_path / "annotations" / "captions_val2017.json"
    shutil.copy(file, tmp_path / "val.json")
    content = json.loads(file.read_text())
    assert load(name).captions == load(f"{tmp_path}/val.json").captions
    assert len(load(str(file))) == len(content["images"])
