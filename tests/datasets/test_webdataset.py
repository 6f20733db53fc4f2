"""Test tar shards in the layout of the CLIP benchmark, and damage to them."""

import io
import random
import tarfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from purescope.datasets import load_dataset, webdataset
from purescope.datasets.decoding import Colours
from purescope.errors import DatasetError
from tests.datasets.pictures import picture, shades

Files = list[tuple[str, bytes]]


def shard(file: Path, files: Files, **attributes: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))


def sample(key: str, shade: int, label: int | str) -> Files:
    return [(f"{key}.png", picture(shade)), (f"{key}.cls", str(label).encode())]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make twelve shards with one image each, three in the first; shades follow the samples."""
    root = tmp_path / "wds_pets"
    for i in range(12):
        files = sample(f"s{i:04d}", 10 + i, i % 2)
        shard(
            root / "test" / f"{i}.tar",
            files if i else [*sample("a", 1, 1), *sample("b/a", 2, 0), *files],
        )
    (root / "classnames.txt").write_text("Maine Coon\nbasset_hound\n")
    (root / "zeroshot_classification_templates.txt").write_text("a photo of a {c}.\n{c}, a pet.\n")
    (root / "test" / "nshards.txt").write_text("12")
    return root


SHADES = [1, 2, *range(10, 22)]
LABELS = [1, 0, *([0, 1] * 6)]


@pytest.mark.parametrize("pattern", ["", "/test", "/test/*.tar", "/*/*.tar", "/test/{0..11}.tar"])
def test_every_way_to_name_the_shards(root: Path, pattern: str) -> None:
    dataset = load_dataset(f"wds:{root}{pattern}")
    assert (dataset.name, dataset.spec) == ("wds_pets", f"wds:{root}{pattern}")
    assert dataset.classes == dataset.display_names == ("Maine Coon", "basset_hound")
    assert dataset.templates == ("a photo of a {}.", "{}, a pet.")
    assert dataset.labels.tolist() == LABELS
    assert shades(dataset) == SHADES, "shard 10 comes after shard 9"
    assert (dataset.source["split"], dataset.source["shards"]) == ("test", "12")


def test_a_range_names_only_so_many_shards(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = f"wds:{root}/test/{{0..11}}.tar"
    monkeypatch.setattr(webdataset, "_MAX_SHARDS", 12)
    assert load_dataset(pattern).source["shards"] == "12"
    monkeypatch.setattr(webdataset, "_MAX_SHARDS", 11)
    with pytest.raises(DatasetError, match=r"over 11 shards, the first is .*0\.tar"):
        load_dataset(pattern)


def test_some_of_the_shards(root: Path) -> None:
    assert shades(load_dataset(f"wds:{root}/test/{{9..10}}.tar")) == [19, 20]
    assert shades(load_dataset(f"wds:{root}/test/7.tar")) == [17]
    (root / "test" / "00008.tar").write_bytes((root / "test" / "8.tar").read_bytes())
    assert shades(load_dataset(f"wds:{root}/test/{{00008..00008}}.tar")) == [18]


def test_a_folder_whose_name_is_a_pattern(root: Path, tmp_path: Path) -> None:
    root.rename(tmp_path / "pets[1]{0..1}*")
    assert shades(load_dataset(f"wds:{tmp_path}/pets[1]{{0..1}}*")) == SHADES


def test_shards_of_several_splits(root: Path, tmp_path: Path) -> None:
    shard(root / "train" / "0.tar", sample("a", 5, 1))
    assert shades(load_dataset(f"wds:{root}/*/*.tar")) == [*SHADES, 5], (
        "each folder has as many as it says"
    )
    dataset = load_dataset(f"wds:{root}/t*/0.tar")
    assert shades(dataset) == [1, 2, 10, 5]
    assert dataset.source["split"] == "test, train"
    root.rename(tmp_path / "moved")
    assert load_dataset(f"wds:{tmp_path / 'moved'}/t*/0.tar").fingerprint == dataset.fingerprint


def test_class_names_may_lie_beside_the_shards_and_templates_may_be_missing(root: Path) -> None:
    (root / "classnames.txt").rename(root / "test" / "classnames.txt")
    dataset = load_dataset(f"wds:{root}")
    assert (dataset.name, dataset.templates) == ("test", ("a photo of a {}.",))


def test_every_thread_reads_its_own_image(root: Path) -> None:
    dataset = load_dataset(f"wds:{root}")
    with ThreadPoolExecutor(8) as pool:
        images = pool.map(
            dataset.images.__getitem__, [i for _ in range(20) for i in range(len(dataset))]
        )
        assert [image.getpixel((0, 0))[1] for image in images] == SHADES * 20  # type: ignore[index]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("/train", "there are no shards"),
        ("/gone", "there are no shards"),
        ("/test/gone.tar", "there are no shards"),
        ("/test/{0..13}.tar", r"2 of 14 shards are missing, the first is .*12\.tar"),
        ("/test/{5..3}.tar", r"\{5\.\.3\} in "),
        ("/test/" + "x" * 300 + ".tar", "cannot be read: .*too long|there are no shards"),
    ],
)
def test_shards_that_are_not_there(root: Path, pattern: str, message: str) -> None:
    (root / "train").mkdir()
    with pytest.raises(DatasetError, match=message):
        load_dataset(f"wds:{root}{pattern}")


def test_a_shard_less_than_counted(root: Path) -> None:
    (root / "test" / "3.tar").unlink()
    with pytest.raises(
        DatasetError, match=r"11 shards are in .*test\n.*12, as nshards\.txt has it"
    ):
        load_dataset(f"wds:{root}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"no classnames\.txt in .*test or in the folder above(?s:.*) are captions:.*test"),
        ("", r"line 1 of .*classnames\.txt is empty"),
        ("cat\n\ndog\n", r"line 2 of .*classnames\.txt is empty"),
        (
            "cat\n",
            r"1\.cls in .*1\.tar is '1'\n.*0 to 0, for the 1 names|a\.cls in .*0\.tar is '1'",
        ),
        (b"caf\xe9\nth\xe9\n", r"classnames\.txt cannot be read: .*utf-8"),
    ],
)
def test_class_names_that_do_not_fit(root: Path, text: str | bytes | None, message: str) -> None:
    file = root / "classnames.txt"
    if text is None:
        file.unlink()
    else:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=message):
        load_dataset(f"wds:{root}")


@pytest.mark.parametrize("template", ["a photo.", "{c} and {c}", "{c} {}"])
def test_a_template_that_does_not_fit(root: Path, template: str) -> None:
    (root / "zeroshot_classification_templates.txt").write_text(f"a {{c}}.\n{template}\n")
    with pytest.raises(
        DatasetError, match=r"the template .* of .*zeroshot_classification_templates\.txt"
    ):
        load_dataset(f"wds:{root}")


@pytest.mark.parametrize("label", ["", "2", "-1", "cat", "0.5", "9" * 30, "٣", "0\n1"])
def test_a_label_that_is_none(root: Path, label: str) -> None:
    shard(root / "test" / "5.tar", sample("key", 1, label))
    with pytest.raises(DatasetError, match=r"key\.cls in .*5\.tar is ") as caught:
        load_dataset(f"wds:{root}")
    assert "0 to 1, for the 2 names" in str(caught.value)


@pytest.mark.parametrize(("length", "is_read"), [(1, True), (20, True), (21, False)])
def test_a_label_has_at_most_twenty_bytes(root: Path, length: int, is_read: bool) -> None:
    shard(root / "test" / "5.tar", sample("key", 1, "1".ljust(length)))
    if is_read:
        assert load_dataset(f"wds:{root}/test/5.tar").labels.tolist() == [1]
    else:
        with pytest.raises(DatasetError, match=r"key\.cls in .*5\.tar is '\.\.\.'"):
            load_dataset(f"wds:{root}/test/5.tar")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([("key.cls", b"0")], r"key in .*5\.tar has \.cls only"),
        ([("key.png", picture(1)), ("key.txt", b"0")], r"key in .*5\.tar has \.png only"),
        ([("a/key.png", picture(1)), ("b/key.cls", b"0")], r"a/key in .*5\.tar has \.png only"),
        ([*sample("key", 1, 0), ("key.PNG", picture(2))], r"key\.PNG is twice in .*5\.tar"),
    ],
)
def test_a_sample_that_is_not_whole(root: Path, files: Files, message: str) -> None:
    shard(root / "test" / "5.tar", files)
    with pytest.raises(DatasetError, match=message):
        load_dataset(f"wds:{root}")


def test_what_else_is_in_a_shard_is_left_alone(root: Path) -> None:
    files = [
        ("._key.png", b""),
        ("readme.md", b""),
        ("key.json", b"{}"),
        *sample("key", 7, 1),
        ("key.jpg", picture(8)),
    ]
    shard(root / "test" / "5.tar", files)
    assert shades(load_dataset(f"wds:{root}/test/5.tar")) == [7], "png goes before jpg"


def test_a_broken_image_is_named_or_skipped(root: Path) -> None:
    shard(root / "test" / "0.tar", [("key.png", b"\x89PNG"), ("key.cls", b"0")])
    dataset = load_dataset(f"wds:{root}")
    with pytest.raises(DatasetError, match=r"image key\.png of .*0\.tar"):
        dataset.images[0]
    assert shades(load_dataset(f"wds:{root}", on_bad_image="skip")) == [*range(11, 22)]


def test_a_shard_that_shrinks_after_its_headers_were_read(root: Path) -> None:
    dataset = load_dataset(f"wds:{root}/test/1.tar")
    file = root / "test" / "1.tar"
    file.write_bytes(file.read_bytes()[:520])
    with pytest.raises(DatasetError, match=r"s0001\.png of .*1\.tar has 8 bytes"):
        dataset.images[0]
    file.unlink()
    with pytest.raises(DatasetError, match=r"s0001\.png of .*1\.tar cannot be read"):
        dataset.images[0]


# A tar of one sample: header, one block of image, header, one block of label, zeros.
ENDS: Mapping[str, tuple[int, str]] = {
    "nothing": (0, "cannot be read"),
    "within the first header": (100, "cannot be read"),
    "within an image": (520, r"the file ends within '\S+\.png'"),
    "within its block": (1020, "cannot be read"),
    "after an image": (1024, "cut short at byte 1024"),
    "within a header": (1200, "cut short at byte 1200"),
    "without an end": (2048, "cut short at byte 2048"),
    "within the end": (2300, "cut short at byte 2300"),
}


@pytest.mark.parametrize("where", ENDS)
def test_a_shard_cut_short(root: Path, where: str) -> None:
    length, message = ENDS[where]
    file = root / "test" / "5.tar"
    assert len(picture(15)) <= 512
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(DatasetError, match=rf"5\.tar cannot be read: .*{message}|5\.tar {message}"):
        load_dataset(f"wds:{root}")


def test_a_damaged_header_in_the_middle_is_not_taken_for_the_end(root: Path) -> None:
    file = root / "test" / "0.tar"
    content = bytearray(file.read_bytes())
    content[2048] ^= 1  # the first byte of the second sample's name: its checksum is wrong now
    file.write_bytes(content)
    with pytest.raises(
        DatasetError, match=r"0\.tar cannot be read: the header at byte 2048 is damaged"
    ):
        load_dataset(f"wds:{root}")


def test_tars_one_after_the_other_are_not_cut_at_the_first(root: Path) -> None:
    first, second = root / "test" / "0.tar", root / "test" / "1.tar"
    first.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(DatasetError, match=r"0\.tar cannot be read: it continues after its end"):
        load_dataset(f"wds:{root}")


def test_a_compressed_shard(root: Path) -> None:
    with tarfile.open(root / "test" / "5.tar", "w:gz"):
        pass
    with pytest.raises(DatasetError, match=r"5\.tar cannot be read.*\n.*uncompressed"):
        load_dataset(f"wds:{root}")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
)
def test_links_and_devices_are_no_images(root: Path, kind: bytes) -> None:
    file = root / "test" / "5.tar"
    with tarfile.open(file, "w") as tar:
        info = tarfile.TarInfo("key.png")
        info.type, info.linkname = kind, str(root / "test" / "0.tar")
        tar.addfile(info)
        for name, content in sample("key", 1, 1)[1:]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(DatasetError, match=r"key in .*5\.tar has \.cls only"):
        load_dataset(f"wds:{root}")


def test_names_that_lead_elsewhere_write_nothing(root: Path) -> None:
    names = ["../../evil", "/tmp/purescope-evil", "a/../../../evil"]
    shard(
        root / "test" / "5.tar",
        [file for i, name in enumerate(names) for file in sample(name, i, 0)],
    )
    before = sorted(root.parent.rglob("*"))
    dataset = load_dataset(f"wds:{root}/test/5.tar")
    assert shades(dataset) == [0, 1, 2]
    assert sorted(root.parent.rglob("*")) == before
    assert not Path("/tmp/purescope-evil.png").exists()


def test_long_names_and_pax_headers(root: Path) -> None:
    key = "é" * 90 + "x" * 120
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(root / "test" / "5.tar", "w", format=form) as tar:
            for name, content in sample(key, 3, 1):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        assert shades(load_dataset(f"wds:{root}/test/5.tar")) == [3]


def test_a_chain_of_extended_headers_is_an_error(root: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 4
    link = info.tobuf(tarfile.GNU_FORMAT) + b"abc\0".ljust(512, b"\0")
    (root / "test" / "5.tar").write_bytes(link * 5000)
    with pytest.raises(DatasetError, match=r"5\.tar cannot be read"):
        load_dataset(f"wds:{root}")


def test_fingerprint_is_of_the_content(root: Path, tmp_path: Path) -> None:
    before = load_dataset(f"wds:{root}").fingerprint
    assert load_dataset(f"wds:{root}/test/*.tar").fingerprint == before
    shard(root / "test" / "5.tar", sample("s0005", 99, 1))
    assert load_dataset(f"wds:{root}").fingerprint != before


def test_a_damaged_shard_is_an_error_of_ours_or_reads_as_it_says(root: Path) -> None:
    file = root / "test" / "0.tar"
    whole, rng, refused = file.read_bytes(), random.Random(0), 0
    headers = [
        start + i for start in range(0, len(whole), 1024) for i in range(512) if start < 6 * 1024
    ]
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.choice(headers)] = rng.randrange(256)
        if rng.random() < 0.5:  # a checksum that fits the damage
            checksum = sum(damaged[:148]) + 8 * 32 + sum(damaged[156:512])
            damaged[148:156] = b"%06o\0 " % checksum
        file.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
        try:
            for image in (dataset := load_dataset(f"wds:{file}")).images:
                image.load()
            assert set(dataset.labels.tolist()) <= {0, 1}
        except DatasetError:
            refused += 1
    assert refused > 150


def bare(root: Path, files: Files) -> str:
    shard(root / "0.tar", files)
    (root / "classnames.txt").write_text("cat\ndog\n")
    return f"wds:{root}"


@pytest.mark.parametrize(
    "keys", [["a", "b 2.0 (copy)"], ["img_0.v2", "img_1.v2"], ["a", "a.1"], ["t.v1/0", "t.v1/1"]]
)
def test_dots_in_the_names_of_files(tmp_path: Path, keys: list[str]) -> None:
    dataset = load_dataset(bare(tmp_path, [*sample(keys[0], 3, 0), *sample(keys[1], 4, 1)]))
    assert (shades(dataset), dataset.labels.tolist()) == ([3, 4], [0, 1])


def test_pictures_and_labels_with_endings_of_two_words(tmp_path: Path) -> None:
    """webdataset writes such names for {"image.png": ..., "cls": ...}."""
    first = [("0.image.png", picture(3)), ("0.cls", b"1")]
    second = [("1.png", picture(4)), ("1.label.cls", b"0")]
    dataset = load_dataset(bare(tmp_path, [*first, *second]))
    assert (shades(dataset), dataset.labels.tolist()) == ([3, 4], [1, 0])


def test_further_parts_of_an_image_are_left_out_with_a_note(tmp_path: Path) -> None:
    spec = bare(tmp_path, [*sample("0", 3, 1), ("0.mask.png", picture(9)), *sample("1", 4, 0)])
    with pytest.warns(UserWarning, match=r"0\.tar: 1 files are left out: they are further parts"):
        dataset = load_dataset(spec)
    assert (shades(dataset), dataset.labels.tolist()) == ([3, 4], [1, 0])


def test_two_pictures_of_one_key(tmp_path: Path) -> None:
    files = [("0.left.png", picture(3)), ("0.right.png", picture(4)), ("0.cls", b"1")]
    with pytest.raises(DatasetError, match=r"0 in .* has the images 0\.left\.png, 0\.right\.png"):
        load_dataset(bare(tmp_path, files))


def test_a_picture_without_a_label_is_named_with_its_dots(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has \.png only: b 2\.0 \(copy\)\.png"):
        load_dataset(bare(tmp_path, [*sample("a", 3, 0), ("b 2.0 (copy).png", picture(4))]))


def test_transparency_in_a_shard_is_noted_and_in_the_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2)).save(buffer, "PNG")
    spec = bare(tmp_path, [("0.png", buffer.getvalue()), ("0.cls", b"1"), *sample("1", 4, 0)])
    with pytest.warns(UserWarning, match="1 of 2 images have transparency"):
        dataset = load_dataset(spec)
    assert shades(dataset) == [255, 4]
    monkeypatch.setattr("purescope.datasets.images.read_colours", lambda file, formats: Colours())
    assert load_dataset(spec).fingerprint != dataset.fingerprint


def test_what_macos_makes_beside_shards_is_none(root: Path) -> None:
    (root / "test" / "._0.tar").write_bytes(b"AppleDouble")
    assert load_dataset(f"wds:{root}").labels.tolist() == LABELS
