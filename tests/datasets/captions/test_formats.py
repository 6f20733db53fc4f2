"""Test every format of captions on the same three images, and faults of each of them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.captions.loading import load
from purescope.errors import DatasetError
from tests.datasets.captions.formats import (
    CAPTIONS,
    FILES,
    FORMATS,
    SHADES,
    shard_members,
    write_images,
    write_tar,
)
from tests.datasets.pictures import picture, shades


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "my pets"
    root.mkdir()
    return root


def by_shade(dataset: CaptionDataset) -> dict[int, tuple[str, ...]]:
    """Return the captions of each image, which its shade identifies: formats differ in order."""
    return dict(zip(shades(dataset), dataset.captions, strict=True))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_found_and_read(form: str, root: Path) -> None:
    name = FORMATS[form](root)
    dataset = load(name)
    assert by_shade(dataset) == dict(zip(SHADES, CAPTIONS, strict=True))
    assert dataset.spec == f"captions:{name}"
    assert dataset.source["split"] and dataset.source["fingerprint_of"]
    assert dataset.notes == ()


@pytest.mark.parametrize("form", FORMATS)
def test_captions_change_the_fingerprint_and_not_that_of_the_images(form: str, root: Path) -> None:
    """So that new captions need no new encoding of the images; a tar is hashed as a whole."""
    name = FORMATS[form](root)
    before = load(name)
    assert load(name).fingerprint == before.fingerprint
    for path in root.parent.rglob("*"):
        if path.is_file() and path.suffix != ".png":
            path.write_bytes(path.read_bytes().replace(b"the dog", b"the fox"))
    after = load(name)
    assert by_shade(after)[20] == ("the fox",)
    assert after.fingerprint != before.fingerprint
    if "shards" not in form:
        assert after.image_fingerprint == before.image_fingerprint


@pytest.mark.parametrize("form", sorted({*FORMATS} - {"absolute paths"}))
def test_a_folder_that_is_moved_is_the_same(form: str, root: Path, tmp_path: Path) -> None:
    name = FORMATS[form](root)
    before = load(name).fingerprint
    root.rename(tmp_path / "moved")
    assert load(name.replace(str(root), str(tmp_path / "moved"))).fingerprint == before


@pytest.mark.parametrize(
    "form",
    sorted(form for form in FORMATS if not form.startswith("shards") and "beside" not in form),
)
def test_a_missing_image_is_named(form: str, root: Path) -> None:
    name = FORMATS[form](root)
    next(root.rglob("c.png")).unlink()
    with pytest.raises(DatasetError, match=r"1 of 3 images that do not exist in .*c\.png"):
        load(name)


def test_names_of_datasets(root: Path) -> None:
    assert load(FORMATS["metadata.jsonl"](root)).name == "my_pets"
    assert load(FORMATS["shards of CLIP_benchmark"](root.parent / "wds_pets")).name == "wds_pets"
    assert load(FORMATS["Karpathy"](root.parent / "k")).name == "dataset_pets"


def test_the_shards_of_a_pattern(root: Path) -> None:
    FORMATS["shards of CLIP_benchmark"](root)
    assert shades(load(f"{root}/test/{{0..1}}.tar")) == SHADES
    assert load(f"{root}/test/*.tar").captions == CAPTIONS
    with pytest.raises(DatasetError, match="2 of 4 shards are missing"):
        load(f"{root}/test/{{0..3}}.tar")


def test_a_text_is_used_where_a_shard_has_both(root: Path) -> None:
    """As img2dataset writes them: the .json also holds the address and the status."""
    extra = {f"s{index:07d}.json": b'{"caption": "other"}' for index in range(3)}
    write_tar(root / "0.tar", shard_members() | extra)
    assert load(str(root)).captions == CAPTIONS


def test_the_split_folder_is_test_or_the_one_that_is_named(root: Path) -> None:
    FORMATS["metadata.jsonl"](root / "test")
    FORMATS["shards of img2dataset"](root / "val")
    assert len(load(str(root))) == len(load(f"{root}#val")) == len(load(f"{root}?split=val")) == 3
    with pytest.raises(DatasetError, match="has no split 'dev'"):
        load(f"{root}#dev")


def karpathy(root: Path, **changes: Any) -> str:
    """Write a file of Karpathy with one image changed."""
    name = FORMATS["Karpathy"](root)
    file = root / "dataset_pets.json"
    content = json.loads(file.read_text())
    content["images"][1] |= changes
    content["images"][1] = {
        key: value for key, value in content["images"][1].items() if value != ""
    }
    file.write_text(json.dumps(content))
    return name


def test_the_split_of_karpathys_files(root: Path) -> None:
    name = karpathy(root, split="restval")
    assert shades(load(name)) == [20, 30]
    with pytest.raises(DatasetError, match=r"no split 'tests'[\s\S]*did you mean 'test'"):
        load(f"{name}#tests")
    (root / "images" / "gone.png").write_bytes(picture(90))
    with pytest.raises(DatasetError, match="1 image"):  # one alone is no search
        load(f"{name}#train")


def test_the_folder_of_the_images_may_be_named(root: Path, tmp_path: Path) -> None:
    name = FORMATS["Karpathy"](root)
    (root / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"its first image a\.png is not there[\s\S]*images=DIR"):
        load(name)
    assert shades(load(f"{name}?images={tmp_path / 'elsewhere'}")) == SHADES
    with pytest.raises(DatasetError, match="is not a folder"):
        load(f"{name}?images={tmp_path / 'gone'}")


def test_columns_may_be_named(root: Path) -> None:
    write_images(root)
    rows = ["image,caption,alt", "a.png,one,A", "c.png,two,C"]
    (root / "mine.csv").write_text("\n".join(rows))
    assert load(f"{root}").captions == (("one",), ("two",))
    assert load(f"{root}?caption=alt").captions == (("A",), ("C",))
    with pytest.raises(DatasetError, match=r"image, caption, alt[\s\S]*'label'"):
        load(f"{root}?caption=label")


def test_rows_of_one_split(root: Path) -> None:
    write_images(root)
    rows = ["image,caption,split", "a.png,one,test", "in/b.png,two,train", "c.png,three,test"]
    (root / "mine.csv").write_text("\n".join(rows))
    assert shades(load(f"{root}")) == [10, 30], "test is the default, as elsewhere"
    (root / "mine.csv").write_text("\n".join(rows).replace("test", "val"))
    with pytest.warns(UserWarning, match="all rows are read, those of the splits train, val"):
        assert len(load(f"{root}")) == 3
    assert shades(load(f"{root}#val")) == [10, 30]
    with pytest.raises(DatasetError, match="did you mean 'val'"):
        load(f"{root}#vall")
    (root / "mine.csv").write_text("image,caption\na.png,one\n")
    with pytest.raises(DatasetError, match="no column split"):
        load(f"{root}#val")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("#test", "has no split 'test'"),
        ("?caption=text", "the option caption, and holds text files"),
        ("?captions=text", "did you mean 'caption'"),
        ("?images=", "option 'images='"),
    ],
)
def test_an_option_that_nothing_uses(name: str, message: str, root: Path) -> None:
    FORMATS[".txt beside"](root)
    with pytest.raises(DatasetError, match=message):
        load(f"{root}{name}")


def test_two_files_of_captions_are_a_choice_of_the_user(root: Path) -> None:
    FORMATS["metadata.jsonl"](root)
    FORMATS["image,caption"](root)
    with pytest.raises(DatasetError, match=r"metadata\.jsonl, .*results\.csv[\s\S]*name it"):
        load(str(root))
    assert len(load(str(root / "results.csv"))) == 3


def test_nothing_is_found(root: Path) -> None:
    (root / "readme.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError, match=r"no captions were found[\s\S]*captions_\*\.json"):
        load(str(root))
    with pytest.raises(DatasetError, match="there is no gone"):
        load("gone")
    (root / "notes.pdf").write_bytes(b"%PDF")
    with pytest.raises(DatasetError, match="not a file of captions by its ending"):
        load(str(root / "notes.pdf"))


def test_files_beside_that_are_left_out_are_named(root: Path) -> None:
    FORMATS[".txt beside"](root)
    (root / "LICENSE.txt").write_text("free")
    (root / "@eaDir").mkdir()
    (root / "@eaDir" / "a.png").write_bytes(picture(1))
    with pytest.warns(UserWarning, match=r"1 text files have no image beside.*LICENSE\.txt"):
        assert len(load(str(root))) == 3


def make_pipe(root: Path) -> None:
    (root / "a.txt").unlink()
    os.mkfifo(root / "a.txt")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "a.txt").unlink(), r"1 of 3 images have no captions.*a\.png"),
        (lambda root: (root / "a.txt").write_text(" \n"), r"a\.txt is empty"),
        (lambda root: (root / "a.caption").write_text("x"), r"a\.txt, a\.caption beside it"),
        (lambda root: (root / "a.txt").write_bytes(b"\xff\xfe"), r"a\.txt is not UTF-8"),
        (lambda root: (root / "a.txt").write_text("x" * 10_001), "a caption of 10,001 characters"),
        (lambda root: (root / "a.txt").write_text("x" * 1_000_001), "1,000,001 bytes"),
        (make_pipe, r"a\.txt cannot be read: not a regular file"),
        (
            lambda root: (root / "a.txt").write_text("version https://git-lfs.github.com/spec/v1"),
            "git-lfs pointer",
        ),
    ],
    ids=["missing", "blank", "two", "encoding", "long", "huge", "pipe", "pointer"],
)
def test_faults_beside_images(change: Callable[[Path], object], message: str, root: Path) -> None:
    FORMATS[".txt beside"](root)
    change(root)
    with pytest.raises(DatasetError, match=message):
        load(str(root))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.png": picture(1)}, r"a in .* has \.png only.*"),
        ({"a.txt": b"a cat"}, r"a in .* has \.txt only"),
        ({"a.png": picture(1), "a.txt": b"\n"}, r"a\.txt of .* is empty"),
        ({"a.png": picture(1), "a.txt": b"x", "a.caption": b"y"}, r"a\.txt and a\.caption"),
        ({"a.png": picture(1), "a.json": b"[1]"}, "has no keys"),
        ({"a.png": picture(1), "a.json": b'{"url": "x"}'}, "has url"),
        ({"a.png": picture(1), "a.json": b'{"caption": [1]}'}, "has caption"),
        ({"a.png": picture(1), "a.json": b"[" * 100_000}, "is not JSON"),
        ({"a.png": picture(1), "a.txt": b"x" * 1_000_001}, "1,000,001 bytes"),
    ],
)
def test_faults_of_shards(members: dict[str, bytes], message: str, root: Path) -> None:
    write_tar(root / "0.tar", shard_members() | members)
    with pytest.raises(DatasetError, match=message):
        load(str(root))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"file_name": "../secret.png", "text": "x"}', r"line 2: .*leads out of its folder"),
        ('{"file_name": "/etc/passwd", "text": "x"}', "leads out of its folder"),
        ('{"file_name": "a.png", "text": ""}', "the caption ''"),
        ('{"file_name": "a.png", "text": []}', r"the captions \[\]"),
        ('{"file_name": "a.png", "text": 7}', "the captions 7"),
        ('{"file_name": 7, "text": "x"}', "the image 7"),
        ('{"file_name": "a.png", "label": 1}', "has the columns file_name, label"),
        ('{"file_name": "a.png", "text": "\\ud800"}', "a text"),
        ('{"file_name": "a\\u0000.png", "text": "x"}', "leads out|do not exist"),
        ("[]", r"line 2: '\[\]'"),
        ("{", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
    ],
)
def test_faults_of_rows(row: str, message: str, root: Path) -> None:
    write_images(root)
    good = json.dumps({"file_name": "c.png", "text": "good"})
    (root / "metadata.jsonl").write_text(f"{good}\n{row}\n{good.replace('c.png', 'in/b.png')}\n")
    with pytest.raises(DatasetError, match=message):
        load(str(root))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"annotations": [{"image_id": 9, "caption": "x"}]}, "annotation 0 is of image 9"),
        ({"annotations": []}, "3 of 3 images have no caption"),
        ({"annotations": [{"image_id": 7}]}, "annotations 0 has no 'caption'"),
        ({"annotations": [{"image_id": [7], "caption": "x"}]}, r"the image_id \[7\]"),
        ({"images": [{"id": 7, "file_name": "a.png"}] * 2}, "two images have the id 7"),
        ({"images": "many"}, "has info, images, annotations"),
        ({"images": [{"id": 7, "file_name": "../a.png"}]}, "is of image 6"),
    ],
)
def test_faults_of_coco(change: dict[str, Any], message: str, root: Path) -> None:
    name = FORMATS["COCO"](root)
    file = root / "annotations" / "captions_val2017.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DatasetError, match=message):
        load(name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sentences": []}, r"the captions \[\]"),
        ({"sentences": [{"tokens": []}]}, "sentences 0 has no 'raw'"),
        ({"sentences": "x"}, "sentences 0 has no 'raw'"),
        ({"filename": "../../a.png"}, "leads out of its folder"),
        ({"filename": ""}, "images 1 has no 'filename'"),
        ({"split": ""}, "images 1 has no 'split'"),
    ],
)
def test_faults_of_karpathy(changes: dict[str, Any], message: str, root: Path) -> None:
    name = karpathy(root, **changes)
    with pytest.raises(DatasetError, match=message):
        load(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,caption\na.png\n", "cannot be read: line 2 has 1 cells"),
        ("image,caption\na.png, \n", "line 2: the caption ''"),
        ("image,caption\n", "lists no image"),
        ("image,caption\n" + '"' * 3 + "\n", "cannot be read"),
    ],
)
def test_faults_of_tables(text: str, message: str, root: Path) -> None:
    write_images(root)
    (root / "mine.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load(str(root / "mine.csv"))


def test_a_list_of_lines_without_an_image(root: Path) -> None:
    write_images(root)
    (root / "captions.txt").write_text('image,caption\na.png,"one, two"\nc.png,a "pet", x\noops\n')
    with pytest.raises(DatasetError, match=r"line 4: 'oops'"):
        load(str(root))
    (root / "captions.txt").write_text('image,caption\na.png,"one, two"\nc.png,a "pet", x\n')
    assert load(str(root)).captions == (("one, two",), ('a "pet", x',))


def test_one_image_under_two_spellings(root: Path) -> None:
    write_images(root)
    (root / "mine.csv").write_text("image,caption\na.png,one\n./a.png,two\nc.png,three\n")
    assert load(str(root)).captions == (("one", "two"), ("three",))


def test_files_of_the_hub_are_no_annotations(root: Path) -> None:
    """`dataset_infos.json` lies in many repositories."""
    FORMATS["metadata.jsonl"](root)
    (root / "dataset_infos.json").write_text("{}")
    assert len(load(str(root))) == len(FILES)
