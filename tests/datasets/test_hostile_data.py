"""Test that damaged and malicious data is refused at once, with an error that names the file."""

import io
import json
import os
import struct
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from purescope.datasets import decoding, load_dataset
from purescope.errors import DatasetError, PurescopeError
from tests.datasets.pictures import picture

# --- pipes, devices and links in place of a file


def pipe(file: Path) -> None:
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def loop(file: Path) -> None:
    file.symlink_to(file.name)


IN_PLACE: dict[str, Callable[[Path], None]] = {
    "a pipe": pipe,
    "an endless device": endless,
    "a loop": loop,
}


def folder(root: Path) -> tuple[str, list[str]]:
    for name in ("a/0.png", "b/0.png"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(picture(1))
    (root / "classes.txt").write_text("cat\ndog\n")
    return f"folder:{root}", ["classes.txt", "a/0.png"]


def manifest(root: Path) -> tuple[str, list[str]]:
    folder(root)
    (root / "list.csv").write_text("path,label\na/0.png,0\nb/0.png,1\n")
    (root / "classnames.txt").write_text("cat\ndog\n")
    return f"manifest:{root / 'list.csv'}", ["list.csv", "classnames.txt", "a/0.png"]


def parquet(root: Path) -> tuple[str, list[str]]:
    folder(root)
    columns = {"path": ["a/0.png", "b/0.png"], "class": ["cat", "dog"]}
    pyarrow.parquet.write_table(pyarrow.table(columns), root / "list.parquet")
    return f"manifest:{root / 'list.parquet'}", ["list.parquet"]


def shards(root: Path) -> tuple[str, list[str]]:
    root.mkdir()
    with tarfile.open(root / "0.tar", "w") as tar:
        for name, content in (
            ("a.png", picture(1)),
            ("a.cls", b"0"),
            ("b.png", picture(2)),
            ("b.cls", b"1"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (root / "classnames.txt").write_text("cat\ndog\n")
    (root / "zeroshot_classification_templates.txt").write_text("a {c}\n")
    (root / "nshards.txt").write_text("1")
    return f"wds:{root}", [
        "0.tar",
        "classnames.txt",
        "zeroshot_classification_templates.txt",
        "nshards.txt",
    ]


def saved(root: Path) -> tuple[str, list[str]]:
    hub = pytest.importorskip("datasets")
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["cat", "dog"])})
    content = {
        "image": [{"bytes": picture(i), "path": f"{i}.png"} for i in range(2)],
        "label": [0, 1],
    }
    hub.disable_progress_bars()
    hub.Dataset.from_dict(content, features=features).save_to_disk(root)
    return f"hf:{root}", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"]


def saved_splits(root: Path) -> tuple[str, list[str]]:
    saved(root / "test")
    (root / "dataset_dict.json").write_text('{"splits": ["test"]}')
    return f"hf:{root}", ["dataset_dict.json", "test/state.json"]


def stl10(root: Path) -> tuple[str, list[str]]:
    import torchvision.datasets  # noqa: F401  slow to import

    (root / "stl10_binary").mkdir(parents=True)
    for name in (
        "class_names.txt",
        "test_X.bin",
        "test_y.bin",
        "train_X.bin",
        "train_y.bin",
        "unlabeled_X.bin",
    ):
        (root / "stl10_binary" / name).write_bytes(b"")
    return "stl10", ["stl10_binary/class_names.txt", "stl10_binary/test_X.bin"]


DOORS = {
    door.__name__: door for door in (folder, manifest, parquet, shards, saved, saved_splits, stl10)
}


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("door", DOORS)
def test_only_regular_files_are_read(door: str, kind: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    spec, names = DOORS[door](root)
    for name in names:
        whole = (root / name).read_bytes()
        (root / name).unlink()
        IN_PLACE[kind](root / name)
        start = time.process_time()
        with pytest.raises(PurescopeError) as caught:
            dataset = load_dataset(spec, data_root=root)
            [dataset.images[index] for index in range(len(dataset))]
        assert time.process_time() - start < 2, name
        assert Path(name).stem in str(caught.value)
        (root / name).unlink()
        (root / name).write_bytes(whole)


@pytest.mark.parametrize("kind", IN_PLACE)
@pytest.mark.parametrize("option", ["classnames", "templates"])
def test_words_too(option: str, kind: str, tmp_path: Path) -> None:
    IN_PLACE[kind](tmp_path / "words.json")
    spec, _ = folder(tmp_path / "data")
    with pytest.raises(DatasetError, match=r"words\.json cannot be read"):
        load_dataset(spec, **{option: tmp_path / "words.json"})  # type: ignore[arg-type]


def test_pipes_and_devices_among_images_are_left_out_as_broken_ones_are(tmp_path: Path) -> None:
    spec, _ = folder(tmp_path / "data")
    endless(tmp_path / "data" / "a" / "1.png")
    pipe(tmp_path / "data" / "b" / "1.png")
    dataset = load_dataset(spec, on_bad_image="skip")
    assert dataset.labels.tolist() == [0, 1]
    assert ["not a regular file" in reason for reason in dataset.skipped] == [True, True]
    assert "a/1.png" in dataset.skipped[0] and "b/1.png" in dataset.skipped[1]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """A program that waits to write into the pipe must keep waiting."""
    spec, _ = folder(tmp_path / "data")
    pipe(tmp_path / "data" / "a" / "1.png")
    load_dataset(spec, on_bad_image="skip")
    with pytest.raises(OSError, match="No such device"):  # there is no reader
        os.open(tmp_path / "data" / "a" / "1.png", os.O_WRONLY | os.O_NONBLOCK)


# --- links in folders of images


def count(spec: str) -> dict[str, int]:
    dataset = load_dataset(spec)
    return {
        name: int((dataset.labels == label).sum()) for label, name in enumerate(dataset.classes)
    }


LINKS: dict[str, list[tuple[str, str]]] = {
    "to the root": [("a/all", "..")],
    "to a folder above the root": [("a/all", "../..")],
    "to itself": [("a/self", ".")],
    "to each other": [("a/b", "../b"), ("b/a", "../a")],
    "as classes": [("again", "."), ("up", ".."), ("a2", "a")],
    "to images that are counted": [("a/more.png", "0.png"), ("b/same.png", "../a/0.png")],
    "back from where a link led to": [
        ("b/sub", "../../elsewhere"),
        ("../elsewhere/back", "../data"),
    ],
}


@pytest.mark.parametrize("kind", LINKS)
def test_every_image_is_counted_once(kind: str, tmp_path: Path) -> None:
    spec, _ = folder(tmp_path / "data")
    (tmp_path / "data" / "classes.txt").unlink()
    (tmp_path / "elsewhere").mkdir()
    for name, target in LINKS[kind]:
        (tmp_path / "data" / name).symlink_to(target)
    with pytest.warns(
        UserWarning, match=r"lead to what is counted already are left out: "
    ) as caught:
        assert count(spec) == {"a": 1, "b": 1}
    for name, _ in LINKS[kind]:
        if not name.startswith(".."):
            assert Path(name).name in str(caught[0].message)


def test_links_that_lead_elsewhere_are_followed(tmp_path: Path) -> None:
    spec, _ = folder(tmp_path / "data")
    (tmp_path / "data" / "classes.txt").unlink()
    for name in ("cats/1.png", "cats/deep/2.png", "more/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(3))
    (tmp_path / "data" / "cat").symlink_to("../cats")
    (tmp_path / "data" / "b" / "more").symlink_to("../../more")
    (tmp_path / "data" / "b" / "one.png").symlink_to(tmp_path / "more" / "none.png")
    assert count(spec) == {"a": 1, "b": 3, "cat": 2}
    with pytest.raises(DatasetError, match=r"image b/one\.png: No such file"):
        load_dataset(spec).images[2]
    (tmp_path / "data" / "b" / "two.png").symlink_to(tmp_path / "more" / "3.png")
    # The file is reached by its folder, and by a link to it.
    with pytest.warns(UserWarning, match="1 links that lead to"):
        assert count(spec) == {"a": 1, "b": 3, "cat": 2}


# --- labels


def table(root: Path, suffix: str, column: str, cells: list[Any]) -> str:
    folder(root)
    (root / "classnames.txt").write_text("cat\ndog\n")
    paths = ["a/0.png", "b/0.png", "a/0.png"][: len(cells)]
    if suffix == "csv":
        rows = "".join(f"{path},{cell}\n" for path, cell in zip(paths, cells, strict=True))
        (root / "list.csv").write_text(f"path,{column}\n{rows}")
    else:
        pyarrow.parquet.write_table(
            pyarrow.table({"path": paths, column: cells}), root / "list.parquet"
        )
    return f"manifest:{root / f'list.{suffix}'}"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_whole_numbers_with_points_are_labels(suffix: str, tmp_path: Path) -> None:
    dataset = load_dataset(table(tmp_path / "data", suffix, "label", [1.0, 0.0, 1.0]))
    assert (dataset.classes, dataset.labels.tolist()) == (("cat", "dog"), [1, 0, 1])


NO_LABELS: dict[str, tuple[str, list[Any]]] = {
    "negative": ("label", [0, 1, -1]),
    "all negative": ("label", [-1, -1, -1]),
    "negative with points": ("label", [0.0, 1.0, -1.0]),
    "fractions": ("label", [0.5, 1.5, 0.5]),
    "nan": ("label", [0.0, 1.0, float("nan")]),
    "inf": ("label", [0.0, 1.0, float("inf")]),
    "negative words": ("label", ["cat", "dog", "-1"]),
    "nan among words": ("label", ["cat", "dog", "nan"]),
    "powers": ("label", ["1e3", "2e3", "1e3"]),
    "hexadecimal": ("label", ["0x0", "0x1", "0x0"]),
    "groups of digits": ("label", ["1_000", "1_001", "1_000"]),
    "signs": ("label", ["+1", "+2", "+1"]),
    "a real minus": ("label", ["\u22121", "\u22122", "\u22121"]),
    "missing": ("label", ["<NA>", "cat", "dog"]),
    "more than int64": ("label", [0, 1, 2**63 - 1]),
    "a negative class": ("class", ["cat", "dog", "-1"]),
    "a class with points": ("class", ["0.0", "1.0", "0.0"]),
    "classes of numbers": ("class", ["0", "1", "-1"]),
    "an empty class": ("class", ["cat", "dog", " "]),
}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("kind", NO_LABELS)
def test_an_invalid_label_is_refused_with_its_line(kind: str, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"list\.(csv|parquet), line \d: (the (label|class name)|an empty cell)"
    ):
        load_dataset(table(tmp_path / "data", suffix, *NO_LABELS[kind]))


def test_digits_are_names_of_classes(tmp_path: Path) -> None:
    assert load_dataset(table(tmp_path / "data", "csv", "class", ["7", "3", "7"])).classes == (
        "3",
        "7",
    )


@pytest.mark.parametrize("name", ["", " ", "\t"])
def test_a_class_without_a_name_in_a_list(name: str, tmp_path: Path) -> None:
    spec, _ = folder(tmp_path / "data")
    (tmp_path / "data" / "classes.txt").write_text(f"a\tcat\nb\t{name}\n")
    with pytest.raises(DatasetError, match="class 1 has the name ''"):
        load_dataset(spec)


EQUAL: dict[str, Callable[[Path], str]] = {
    "folder": lambda root: folder(root)[0],
    "manifest": lambda root: manifest(root)[0],
    "shards": lambda root: shards(root)[0],
}


@pytest.mark.parametrize("door", EQUAL)
def test_equal_class_names_give_a_warning(door: str, tmp_path: Path) -> None:
    spec = EQUAL[door](tmp_path / "data")
    for name in ("classes.txt", "classnames.txt"):
        (tmp_path / "data" / name).write_text("crane\ncrane\n")
    with pytest.warns(UserWarning, match=r"2 classes share a name, 'crane' \(0, 1\)"):
        assert load_dataset(spec).classes == ("crane", "crane")


def test_names_that_are_equal_in_prompts_give_a_warning(tmp_path: Path) -> None:
    for name in ("hot dog", "hot_dog", "cat"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(picture(1))
    with pytest.warns(UserWarning, match="in prompts: 2 classes share a name, 'hot dog'"):
        load_dataset(f"folder:{tmp_path}")


def test_an_image_under_two_classes_gives_a_warning(tmp_path: Path) -> None:
    folder(tmp_path / "data")
    (tmp_path / "data" / "list.csv").write_text(
        "path,class\na/0.png,cat\nb/0.png,dog\n./a/../a/0.png,dog\n"
    )
    with pytest.warns(
        UserWarning, match=r"several classes, in 1 of its rows: \./a/\.\./a/0\.png \(line 4\)"
    ):
        load_dataset(f"manifest:{tmp_path / 'data' / 'list.csv'}")


WORDS: dict[str, tuple[dict[str, str], str]] = {
    "a long name": (
        {"classnames.txt": "cat\n" + "x" * 2000},
        "class 1 has a name of 2,000 characters",
    ),
    "a long template": (
        {"zeroshot_classification_templates.txt": "{c} " + "x" * 2000},
        "of 2,003 characters",
    ),
    "too many names": ({"classnames.txt": "a\n" * 1_000_001}, "there are 1,000,001 classes"),
    "too many templates": (
        {"zeroshot_classification_templates.txt": "a {c}\n" * 10_001},
        "there are 10,001 templates",
    ),
}


@pytest.mark.parametrize("kind", WORDS)
def test_words_that_are_too_long_or_too_many(kind: str, tmp_path: Path) -> None:
    spec, _ = shards(tmp_path / "data")
    files, message = WORDS[kind]
    for name, text in files.items():
        (tmp_path / "data" / name).write_text(text)
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(spec)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("option", ["classnames", "templates"])
def test_words_of_the_users_own_too(option: str, tmp_path: Path) -> None:
    spec, _ = folder(tmp_path / "data")
    (tmp_path / "words.json").write_text(json.dumps(["x" * 2000 + " {}"] * 2))
    with pytest.raises(DatasetError, match="of 2,003 characters"):
        load_dataset(spec, **{option: tmp_path / "words.json"})  # type: ignore[arg-type]


# --- malicious tables


def wide(file: Path) -> None:
    header = ",".join(f"c{number}" for number in range(60_000))
    file.write_text(f"path,{header}\na.png,{',' * 59_999}\n")


def wide_and_twice(file: Path) -> None:
    header = ",".join(f"c{number}" for number in range(60_000))
    file.write_text(f"path,label,{header},c59999\n")


def rows(file: Path, number: int = 30_000_000, **columns: Any) -> None:
    """Write row groups of one dictionary entry: a byte for thousands of rows."""
    schema = pyarrow.schema([("path", pyarrow.int8()), ("label", pyarrow.int8())])
    batch = pyarrow.RecordBatch.from_arrays(
        [pyarrow.array(np.zeros(number // 30, "i1"))] * 2, schema=schema
    )
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for _ in range(30):
            writer.write_batch(batch)


def parquet_of(compression: str = "snappy", **columns: Any) -> Callable[[Path], None]:
    return lambda file: pyarrow.parquet.write_table(
        pyarrow.table(
            {name: column() if callable(column) else column for name, column in columns.items()}
        ),
        file,
        compression=compression,
        use_dictionary=compression == "snappy",
    )


TABLES: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "60,000 columns": ("t.csv", wide, "has the columns path, c0, c1, .* and 59,989 more"),
    "60,000 columns, one twice": ("t.csv", wide_and_twice, "two columns are called 'c59999'"),
    "30 million rows": ("t.parquet", rows, "with 30,000,000 rows, declares"),
    "shared megabytes": (
        "t.parquet",
        parquet_of(
            path=lambda: pyarrow.DictionaryArray.from_arrays([0] * 400, ["x" * 1_000_000]),
            label=[0] * 400,
        ),
        "a cell of 1,000,000 bytes",
    ),
    "megabytes of text": (
        "t.parquet",
        parquet_of(
            "zstd",
            path=["a.png"] * 30,
            class_name=lambda: [f"{row}" + "x" * 10**7 for row in range(30)],
        ),
        "t.parquet, with 30 rows, declares 300 MB in a file of",
    ),
    "one cell of megabytes": (
        "t.parquet",
        parquet_of("zstd", path=["a.png"] * 2, class_name=lambda: ["y", "x" * 10**7]),
        "the column class_name has a cell of 10,000,000 bytes",
    ),
    "lists": ("t.parquet", parquet_of(path=[["a"]], label=[0]), "the column path holds list"),
    "structs": (
        "t.parquet",
        parquet_of(path=[{"bytes": b"x"}], label=[0]),
        "the column path holds struct",
    ),
    "wide Parquet": (
        "t.parquet",
        parquet_of(**{f"c{number}": [0] for number in range(3000)}),
        "has the columns c0, c1, .* and 2,988 more",
    ),
    "a huge cell": (
        "t.csv",
        lambda file: file.write_text(f"path,label\n{'x' * 200_000},0\n"),
        "field larger than",
    ),
    "UTF-16": (
        "t.csv",
        lambda file: file.write_text("path,label\n", encoding="utf-16"),
        "save it as CSV in UTF-8",
    ),
    "binary": ("t.csv", lambda file: file.write_bytes(bytes(range(256)) * 40), "cannot be read"),
    "NUL": ("t.csv", lambda file: file.write_bytes(b"path,class\na\0.png,0\n"), "do not exist"),
    "no Parquet": (
        "t.parquet",
        lambda file: file.write_bytes(b"PAR1" + bytes(90)),
        "cannot be read",
    ),
    "a footer of 2 GB": (
        "t.parquet",
        lambda file: file.write_bytes(b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1"),
        "cannot be read",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    name, make, message = TABLES[kind]
    make(tmp_path / name)
    start = time.process_time()
    with pytest.raises(DatasetError, match=message) as caught:
        load_dataset(f"manifest:{tmp_path / name}")
    assert time.process_time() - start < 1.5
    assert name in str(caught.value) and len(str(caught.value)) < 2000


# --- pictures


def chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(
    width: int, height: int, *chunks: bytes, kind: int = 0, bits: int = 8, body: bytes = b""
) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + b"".join(chunks)
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def webp(width: int, height: int) -> bytes:
    """Return a lossless WebP of one colour that declares this size."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(buffer, "WEBP", lossless=True)
    content = bytearray(buffer.getvalue())
    at = content.index(b"VP8L") + 9
    packed = int.from_bytes(content[at : at + 4], "little") & ~0xFFFFFFF
    content[at : at + 4] = (packed | (width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(content)


def extended(width: int, height: int) -> bytes:
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sizes + webp(width, height)[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def gif(width: int, height: int) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", width, height, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHB", 0, 0, width, height, 0)
        + b"\2\2\x4c\1\0;"
    )


def tiff(width: int, height: int) -> bytes:
    entries = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, height),
        (279, 9),
    ]
    listed = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries)) + listed + bytes(4)


def jpeg(scans: int, *, embedded: bytes = b"") -> bytes:
    """Return a progressive JPEG that repeats its last scan."""
    buffer = io.BytesIO()
    Image.new("L", (64, 64), 99).save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content[content.rindex(b"\xff\xda") : -2]
    segment = b"\xff\xe5" + struct.pack(">H", len(embedded) + 2) + embedded
    return content[:2] + segment + content[2:-2] + last * scans + content[-2:] + embedded


PICTURES: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "WebP": (webp(16_383, 8_192), "16,383 x 8,192 pixels in"),
    "larger WebP": (webp(16_383, 16_383), "where Pillow decodes at most"),
    "extended WebP": (extended(16_383, 8_192), "16,383 x 8,192 pixels in"),
    "PNG": (png(10_000, 9_000, body=bytes(500)), "10,000 x 9,000 pixels in"),
    "PNG of 4,000,000 km": (png(2**31 - 1, 2**31 - 1), "where Pillow decodes at most"),
    "text of 100 MB in a PNG": (
        lambda: png(
            4, 4, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 1)), body=bytes(20)
        ),
        "MAX_TEXT_CHUNK",
    ),
    "a profile of 100 MB in a PNG": (
        lambda: png(
            4, 4, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8), 1)), body=bytes(20)
        ),
        "image a/1.png",
    ),
    "GIF": (gif(65_535, 65_535), "where Pillow decodes at most"),
    "smaller GIF": (gif(10_000, 9_000), "10,000 x 9,000 pixels in"),
    "TIFF": (tiff(10_000, 9_000), "10,000 x 9,000 pixels in"),
    "BMP": (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 9000, 9000, 1, 24, 0, 0, 0, 0, 0, 0),
        "9,000 x 9,000 pixels in",
    ),
    "PPM": (b"P6 99999 99999 255\n", "where Pillow decodes at most"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
    "JPEG of many scans": (jpeg(300), "scans, where at most 100 are decoded"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_larger_than_its_file_can_mean(kind: str, tmp_path: Path) -> None:
    content, message = PICTURES[kind]
    spec, _ = folder(tmp_path / "data")
    (tmp_path / "data" / "a" / "1.png").write_bytes(content() if callable(content) else content)
    dataset = load_dataset(spec)
    start = time.process_time()
    with pytest.raises(DatasetError, match=r"image a/1\.png: ") as caught:
        dataset.images[1]
    assert message in str(caught.value)
    assert time.process_time() - start < 1
    assert len(load_dataset(spec, on_bad_image="skip")) == 2


def test_what_looks_like_scans_and_is_none(tmp_path: Path) -> None:
    """The bytes of a scan's marker are in a profile, and behind the image."""
    spec, _ = folder(tmp_path / "data")
    (tmp_path / "data" / "a" / "1.jpg").write_bytes(jpeg(20, embedded=b"\xff\xda" * 9000))
    assert load_dataset(spec).images[1].size == (64, 64)


def test_a_blank_page_is_no_bomb(tmp_path: Path) -> None:
    """A4 at 600 dots an inch with one bit a pixel takes a few kilobytes."""
    spec, _ = folder(tmp_path / "data")
    Image.new("1", (4960, 7016), 1).save(tmp_path / "data" / "a" / "1.tif", compression="group4")
    assert (tmp_path / "data" / "a" / "1.tif").stat().st_size < 4000
    assert load_dataset(spec).images[1].size == (4960, 7016)


@pytest.mark.slow
def test_a_photograph_of_a_hundred_megapixels_is_read_without_a_warning(tmp_path: Path) -> None:
    spec, _ = folder(tmp_path / "data")
    Image.effect_noise((1000, 9500), 90).resize((10_000, 9500), Image.Resampling.NEAREST).save(
        tmp_path / "data" / "a" / "1.jpg"
    )
    assert load_dataset(spec).images[1].size == (10_000, 9500)


def test_large_pictures_are_decoded_one_at_a_time_and_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, _ = folder(tmp_path / "data")
    for number in range(4):
        Image.new("L", (5000, 4000), number).save(tmp_path / "data" / "a" / f"1{number}.png")
    at_once, most, convert = [0], [0], Image.Image.convert

    def counted(image: Image.Image, *arguments: Any) -> Image.Image:
        if image.size[0] < 100:
            return convert(image, *arguments)
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.02)
        at_once[0] -= 1
        return Image.new("RGB", (1, 1))

    monkeypatch.setattr(Image.Image, "convert", counted)
    images = load_dataset(spec).images
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(images.__getitem__, range(1, 5)))) == 4
    assert most[0] == 1
    monkeypatch.setattr(decoding, "available_memory", lambda: 10**8)
    with pytest.raises(
        DatasetError, match=r"a/10\.png: 5,000 x 4,000 pixels take 160,000,000 bytes to decode"
    ):
        images[1]


# --- tars


def header_of(size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo("x")
    info.type = kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.REGTYPE]
)
@pytest.mark.parametrize("size", [2**30, 2**60, 2**70])
def test_sizes_in_a_tar_are_not_believed(size: int, kind: bytes, tmp_path: Path) -> None:
    spec, _ = shards(tmp_path / "data")
    file = tmp_path / "data" / "0.tar"
    file.write_bytes(header_of(size, kind) + file.read_bytes())
    start = time.process_time()
    with pytest.raises(DatasetError, match=r"0\.tar cannot be read"):
        load_dataset(spec)
    assert time.process_time() - start < 1


def attributes(kind: bytes, count: int, first: int = 0) -> bytes:
    """Return a header with this number of attributes, of 8 bytes each."""
    info, content = (
        tarfile.TarInfo("x"),
        b"".join(b"8 %04x=\n" % number for number in range(first, first + count)),
    )
    info.type, info.size = kind, len(content)
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)


ATTRIBUTES: dict[str, tuple[bytes, str]] = {
    "for all members": (attributes(tarfile.XGLTYPE, 5000), "attributes for all of its members"),
    "for all, in parts": (
        b"".join(
            attributes(tarfile.XGLTYPE, 900, block * 900) + attributes(tarfile.XHDTYPE, 1)
            for block in range(5)
        ),
        "",
    ),
    "of digits": (attributes(tarfile.XHDTYPE, 64)[:512] + b"1" * 512, "a number of 300 digits"),
    "for one": (attributes(tarfile.XHDTYPE, 10_000), "a name or its attributes have"),
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_attributes_of_members_in_a_tar_are_few(kind: str, tmp_path: Path) -> None:
    spec, _ = shards(tmp_path / "data")
    file, (start, message) = tmp_path / "data" / "0.tar", ATTRIBUTES[kind]
    file.write_bytes(start + file.read_bytes())
    with pytest.raises(DatasetError, match=r"0\.tar cannot be read: .*" + message):
        load_dataset(spec)


def test_attributes_of_members_are_not_kept(tmp_path: Path) -> None:
    """Each member also has the attributes for all members, such as a comment of git."""
    spec, _ = shards(tmp_path / "data")
    file = tmp_path / "data" / "0.tar"
    more = attributes(tarfile.XHDTYPE, 1) + tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT)
    file.write_bytes(attributes(tarfile.XGLTYPE, 900) + more * 400 + file.read_bytes())
    tracemalloc.start()
    dataset = load_dataset(spec)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(dataset) == 2 and peak < 10e6, peak


# --- folders saved by datasets


def change(file: str, **content: Any) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / file).write_text(json.dumps({**json.loads((root / file).read_text()), **content}))

    return write


def link_out(root: Path) -> None:
    (root / "data-00000-of-00001.arrow").rename(root.parent / "out.arrow")
    (root / "data-00000-of-00001.arrow").symlink_to("../out.arrow")


def split_out(root: Path) -> None:
    saved(root.parent / "other")
    (root / "dataset_dict.json").write_text('{"splits": ["../other"]}')


def pipe_beside(root: Path) -> None:
    os.mkfifo(root / "more.bin")


LEADS_OUT: dict[str, Callable[[Path], Any]] = {
    "above": change("state.json", _data_files=[{"filename": "../x.arrow"}]),
    "absolute": change("state.json", _data_files=[{"filename": "/etc/passwd"}]),
    "of Windows": change("state.json", _data_files=[{"filename": "..\\x.arrow"}]),
    "an address": change("state.json", _data_files=[{"filename": "https://x/y.arrow"}]),
    "indices": change("state.json", _indices_data_files=[{"filename": "../x.arrow"}]),
    "a link": link_out,
    "a split": split_out,
    "a split that is absolute": lambda root: (root / "dataset_dict.json").write_text(
        '{"splits": ["/etc"]}'
    ),
    "splits that are a text": lambda root: (root / "dataset_dict.json").write_text(
        '{"splits": "test"}'
    ),
    "no list": change("state.json", _data_files="x"),
    "no names": change("state.json", _data_files=[{"filename": 3}]),
    "no objects": change("state.json", _data_files=["x"]),
    "none": change("state.json", _data_files=None),
    "deep": lambda root: (root / "state.json").write_text("[" * 100_000),
    "deep info": lambda root: (root / "dataset_info.json").write_text('{"a":' * 100_000),
    "a list": lambda root: (root / "dataset_info.json").write_text("[]"),
    "a pipe beside": pipe_beside,
    "a link to itself": lambda root: (root / "self").symlink_to("."),
    "a link to above": lambda root: (root / "up").symlink_to(".."),
}


@pytest.mark.parametrize("kind", LEADS_OUT)
def test_a_folder_that_leads_out_is_refused_before_it_is_opened(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = pytest.importorskip("datasets")
    spec, _ = saved(tmp_path / "data")
    LEADS_OUT[kind](tmp_path / "data")

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("opened")

    monkeypatch.setattr(hub, "load_from_disk", opened)
    with pytest.raises(DatasetError, match="data cannot be read") as caught:
        load_dataset(spec)
    assert "opened" not in str(caught.value)
