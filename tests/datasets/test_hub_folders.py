"""Test that a dataset leads `datasets` only to its own files, and not to the network."""

import bz2
import gzip
import io
import json
import lzma
import random
import socket
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from purescope.datasets import hub_folders, hub_tables, load_dataset
from purescope.errors import DatasetError
from tests.datasets.pictures import picture, shades

hub = pytest.importorskip("datasets")
pytestmark = pytest.mark.usefixtures("quiet_hub")

FEATURES = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=["cat", "dog"])})


def table(file: Path, first: int = 0, paths: list[str] | None = None) -> None:
    """Write two images of shades `first` and `first + 1`, or the paths of two images."""
    images = [{"bytes": picture(first + i), "path": None} for i in range(2)]
    named = [{"bytes": None, "path": path} for path in paths or ()]
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = {"image": named or images, "label": [0, 1]}
    pyarrow.parquet.write_table(pyarrow.table(rows, schema=FEATURES.arrow_schema), file)


def card(folder: Path, *configs: dict[str, Any], file: str = "README.md") -> Path:
    """Write a card with these configurations; JSON is YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"configs": list(configs)})
    (folder / file).write_text(f"---\n{content}\n---\n# Pets\n" if file == "README.md" else content)
    return folder


def config(path: object, **more: object) -> dict[str, Any]:
    return {"config_name": "default", "data_files": [{"split": "test", "path": path}], **more}


PATTERNS = (
    "OUTSIDE/secret.parquet",
    "../outside/secret.parquet",
    "data/../../outside/*.parquet",
    "~/secret.parquet",
    "file://OUTSIDE/secret.parquet",
    "local://OUTSIDE/secret.parquet",
    "http://localhost/x.parquet",
    "https://example.org/x.parquet",
    "hf://datasets/someone/else/x.parquet",
    "zip://x.parquet::http://localhost/x.zip",
    "zip://x.parquet::OUTSIDE/x.zip",
    "reference://a.parquet::file://OUTSIDE/refs.json",
    "reference://a.parquet::http://localhost/refs.json",
    "simplecache::http://localhost/x.parquet",
    "memory:x.parquet",
)
WAYS = {
    "the only one": lambda path: [config(path)],
    "in a list": lambda path: [config(["own.parquet", path])],
    "a text": lambda path: [{"config_name": "default", "data_files": path}],
    "a list of texts": lambda path: [
        {"config_name": "default", "data_files": ["own.parquet", path]}
    ],
    "a folder": lambda path: [{"config_name": "default", "data_dir": path}],
    "another configuration": lambda path: [
        config("own.parquet"),
        {**config(path), "config_name": "more"},
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize("way", WAYS)
def test_a_card_leads_to_files_beside_it(way: str, file: str, tmp_path: Path) -> None:
    table(tmp_path / "outside" / "secret.parquet")
    table(tmp_path / "pets" / "own.parquet")
    for pattern in PATTERNS:
        path = pattern.replace("OUTSIDE", str(tmp_path / "outside"))
        card(tmp_path / "pets", *WAYS[way](path), file=file)
        with pytest.raises(
            DatasetError, match=r"data_(files|dir) in .* leads to .*, which is no file beside it"
        ):
            load_dataset(f"hf:{tmp_path / 'pets'}")


@pytest.mark.parametrize("key", ["sep", "storage_options", "field"])
def test_nothing_else_in_a_card_is_an_address(key: str, tmp_path: Path) -> None:
    table(tmp_path / "pets" / "own.parquet")
    card(
        tmp_path / "pets",
        config("own.parquet", **{key: {"fo": ["reference://x::http://localhost/"]}}),
    )
    with pytest.raises(DatasetError, match=f"{key} in README.md leads to"):
        load_dataset(f"hf:{tmp_path / 'pets'}")


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_card_of_the_hub_leads_to_files_beside_it(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card is checked before `datasets` is called."""
    import huggingface_hub.constants

    card(tmp_path, config(pattern.replace("OUTSIDE", "/etc")))

    def fetched(_: str, name: str, **__: object) -> str:
        return str(tmp_path / name)

    def followed(*_: object, **__: object) -> None:
        raise AssertionError("followed it")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetched)
    monkeypatch.setattr(hub, "load_dataset_builder", followed)
    for module in (hub.config, huggingface_hub.constants):
        monkeypatch.setattr(module, "HF_HUB_OFFLINE", False)
    with pytest.raises(DatasetError, match=r"data_files in README\.md leads to"):
        load_dataset("hf:someone/pets")


GOOD: dict[str, tuple[list[dict[str, Any]], list[int]]] = {
    "no card": ([], [0, 1, 4, 5]),
    "one file": ([config("data/test-1.parquet")], [4, 5]),
    "a pattern": ([config("data/*.parquet")], [0, 1, 4, 5]),
    "a pattern of folders": ([config("**/test-*")], [0, 1, 4, 5]),
    "a list": ([config(["data/test-0.parquet", "./data/test-1.parquet"])], [0, 1, 4, 5]),
    "a folder": ([{"config_name": "default", "data_dir": "data"}], [0, 1, 4, 5]),
    "two configurations": (
        [config("data/test-0.parquet"), {**config("data/test-1.parquet"), "config_name": "b"}],
        [0, 1],
    ),
    "a description": (
        [config("data/test-0.parquet", description="from https://example.org::x")],
        [0, 1],
    ),
}


@pytest.mark.parametrize("kind", GOOD)
def test_cards_of_honest_folders(kind: str, tmp_path: Path) -> None:
    configs, expected_shades = GOOD[kind]
    for shard in (0, 1):
        table(tmp_path / "pets" / "data" / f"test-{shard}.parquet", 4 * shard)
    if configs:
        card(tmp_path / "pets", *configs)
    assert sorted(shades(load_dataset(f"hf:{tmp_path / 'pets'}"))) == expected_shades


def test_a_folder_of_the_hubs_own_cache(tmp_path: Path) -> None:
    """The files of a snapshot are links to blobs."""
    root = tmp_path / "datasets--someone--pets"
    table(root / "blobs" / "0a1b")
    (root / "snapshots" / "abc").mkdir(parents=True)
    (root / "snapshots" / "abc" / "test.parquet").symlink_to("../../blobs/0a1b")
    assert shades(load_dataset(f"hf:{root / 'snapshots' / 'abc'}")) == [0, 1]


def test_a_link_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    table(tmp_path / "secret.parquet")
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets" / "test.parquet").symlink_to("../secret.parquet")
    with pytest.raises(DatasetError, match=r"test\.parquet, which is not in its folder"):
        load_dataset(f"hf:{tmp_path / 'pets'}")


def test_formats_that_lead_elsewhere_are_not_read(tmp_path: Path) -> None:
    for name in ("a.h5", "b.txt", "c.xml"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"test{Path(name).suffix}").write_bytes(b"x")
        with pytest.raises(DatasetError, match="those of parquet, csv"):
            load_dataset(f"hf:{tmp_path / name}")


def test_rows_name_images_of_the_folder_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "private.png").write_bytes(picture(9))
    (tmp_path / "pets" / "img").mkdir(parents=True)
    (tmp_path / "pets" / "img" / "a.png").write_bytes(picture(7))
    monkeypatch.chdir(tmp_path)
    for path in (
        str(tmp_path / "private.png"),
        "../private.png",
        "img/../../private.png",
        "/etc/hostname",
    ):
        table(tmp_path / "pets" / "test.parquet", paths=["img/a.png", path])
        dataset = load_dataset(f"hf:{tmp_path / 'pets'}?split=test")
        assert dataset.images[0].getpixel((0, 0)) == (7, 7, 7)
        with pytest.raises(DatasetError, match="its path leads out of the dataset"):
            dataset.images[1]


# --- limits on what is unpacked


def bomb(file: Path, images: list[dict[str, Any]], **options: Any) -> None:
    rows = {"image": images, "label": [0] * len(images)}
    content = pyarrow.table(rows, schema=FEATURES.arrow_schema)
    pyarrow.parquet.write_table(content, file, compression="zstd", **options)


def zipped(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("test.csv", "image,label\n")


BOMBS: dict[str, tuple[Callable[[Path], object], str]] = {
    "csv.xz": (
        lambda file: file.write_bytes(lzma.compress(b"image,label\n" * 9)),
        r"packed \(xz\)",
    ),
    "csv.gz": (
        lambda file: file.write_bytes(gzip.compress(b"image,label\n" * 9)),
        r"packed \(gzip\)",
    ),
    "csv.bz2": (
        lambda file: file.write_bytes(bz2.compress(b"image,label\n" * 9)),
        r"packed \(bz2\)",
    ),
    "csv": (lambda file: file.write_bytes(lzma.compress(b"image,label\n" * 9)), r"packed \(xz\)"),
    "json.gz": (
        lambda file: file.write_bytes(gzip.compress(b'{"label": 0}' * 9)),
        r"packed \(gzip\)",
    ),
    "csv.zip": (zipped, r"packed \(zip\)|no .*data files|those of"),
    "parquet": (
        lambda file: bomb(
            file, [{"bytes": bytes(30_000_000), "path": None}] * 10, use_dictionary=False
        ),
        "declares 300 MB in a file of",
    ),
    "1.parquet": (
        lambda file: bomb(
            file,
            [{"bytes": bytes(30_000_000), "path": None}] * 10,
            use_dictionary=False,
            row_group_size=2,
        ),
        "unpacks to 300,",
    ),
    "2.parquet": (
        lambda file: bomb(
            file,
            [{"bytes": bytes(3_000_000), "path": None}] * 100,
            dictionary_pagesize_limit=1 << 30,
        ),
        "unpacks to 300,",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BOMBS)
def test_files_that_unpack_to_far_more(kind: str, tmp_path: Path) -> None:
    make, message = BOMBS[kind]
    (tmp_path / "pets").mkdir()
    make(tmp_path / "pets" / f"test.{kind}")
    with pytest.raises(DatasetError, match=message):
        load_dataset(f"hf:{tmp_path / 'pets'}")
    kept = [
        file
        for file in (tmp_path / "cache").rglob("*")
        if file.is_file() and file.stat().st_size > 10_000
    ]
    assert not kept


def test_an_honest_table_that_names_its_values_by_numbers(tmp_path: Path) -> None:
    """It would be too large if each value were as long as the longest one."""
    (tmp_path / "pets").mkdir()
    large = io.BytesIO()
    Image.frombytes("RGB", (400, 400), random.Random(0).randbytes(480_000)).save(large, "PNG")
    images = [{"bytes": large.getvalue(), "path": None}] + [
        {"bytes": picture(3), "path": None}
    ] * 999
    bomb(tmp_path / "pets" / "test.parquet", images)
    dataset = load_dataset(f"hf:{tmp_path / 'pets'}")
    assert (len(dataset), dataset.images[0].size) == (1000, (400, 400))
    assert dataset.images[999].getpixel((0, 0)) == (3, 3, 3)


def test_tar_shards_are_not_unpacked_and_are_read(tmp_path: Path) -> None:
    label = {"name": "cls", "dtype": {"class_label": {"names": {"0": "cat", "1": "dog"}}}}
    features = [{"name": "png", "dtype": "image"}, label]
    (tmp_path / "README.md").write_text(
        f"---\n{json.dumps({'dataset_info': {'features': features}})}\n---\n"
    )
    with tarfile.open(tmp_path / "test-0.tar", "w") as archive:
        for index in range(2):
            for name, content in (
                (f"{index}.png", picture(index)),
                (f"{index}.cls", str(index).encode()),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    dataset = load_dataset(f"hf:{tmp_path}")
    assert (dataset.classes, dataset.labels.tolist(), shades(dataset)) == (
        ("cat", "dog"),
        [0, 1],
        [0, 1],
    )


def test_a_packed_file_in_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "test-0.tar", "w") as archive:
        content = gzip.compress(b"{}")
        member = tarfile.TarInfo("0.json.gz")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    with pytest.raises(DatasetError, match=r"0\.json\.gz in .* is packed"):
        load_dataset(f"hf:{tmp_path}")


def test_a_sparse_file_in_a_tar(tmp_path: Path) -> None:
    """Write a sparse file of GNU, whose header declares its size."""
    member = tarfile.TarInfo("0.bin")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % 500_000_000
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "test-0.tar").write_bytes(bytes(header) + bytes(10240 - 512))
    with pytest.raises(DatasetError, match=r"ends within '0\.bin'"):
        load_dataset(f"hf:{tmp_path}")


def test_images_with_a_table_beside_them(tmp_path: Path) -> None:
    """Links of images may lead out, as those of ``folder:`` may."""
    (tmp_path / "elsewhere.png").write_bytes(picture(1))
    root = tmp_path / "pets"
    root.mkdir()
    (root / "a.png").write_bytes(picture(0))
    (root / "b.png").symlink_to("../elsewhere.png")
    rows = [{"file_name": "a.png", "label": 0}, {"file_name": "b.png", "label": 1}]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    label = {"name": "label", "dtype": {"class_label": {"names": {"0": "cat", "1": "std::dog"}}}}
    features = [{"name": "image", "dtype": "image"}, label]
    card(root, {"config_name": "default", "features": features})
    dataset = load_dataset(f"hf:{root}?split=train")
    assert dataset.classes == ("cat", "std::dog")
    assert (dataset.labels.tolist(), shades(dataset)) == ([0, 1], [0, 1])


def test_the_guard_holds_where_a_card_has_led_astray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Test the guard without the check of cards.

    `reference://` puts an environment variable into the address that fsspec asks.
    """
    monkeypatch.undo()  # allow the network
    monkeypatch.setattr(hub.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(hub_tables, "check_cards", list)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x?q={{{{u.__globals__[os].environ[HOME]}}}}"
        references = {"version": 1, "templates": {"u": "{{ 1 }}"}, "refs": {"a.parquet": [address]}}
        (tmp_path / "references.json").write_text(json.dumps(references))
        card(
            tmp_path / "pets",
            config(f"reference://a.parquet::file://{tmp_path / 'references.json'}"),
        )
        with pytest.raises(DatasetError, match=r"refused, it wanted to connect to 127\.0\.0\.1"):
            load_dataset(f"hf:{tmp_path / 'pets'}")
        with pytest.raises(BlockingIOError):  # no client has connected
            server.accept()


def test_folders_of_the_system_are_named(tmp_path: Path) -> None:
    """`datasets` would count the thumbnails in such folders."""
    for name in ("cat/1.png", "dog/1.png", "dog/@eaDir/1.png/thumb.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture(1))
    with pytest.raises(DatasetError, match=r"dog/@eaDir is made by a system.*remove it"):
        load_dataset(f"hf:{tmp_path}")


def test_values_of_a_card_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_folders, "_MAX_VALUES", 7)
    nested = {"a": ["b", 1], "c": "d"}  # the dictionary, its keys and values, and the list's
    assert sorted(hub_folders._all_texts(nested)) == ["a", "b", "c", "d"]
    endless: list[object] = ["x"]
    endless.append(endless)
    for value in (["x"] * 8, endless, [["x"] * 4, ["y"] * 2]):
        with pytest.raises(ValueError, match="more than 7 values"):
            list(hub_folders._all_texts(value))


def test_a_file_lies_in_a_folder_by_its_name_and_by_where_it_leads(tmp_path: Path) -> None:
    root, snapshot = tmp_path / "pets", tmp_path / "datasets--a--b" / "snapshots" / "abc"
    blobs = tmp_path / "datasets--a--b" / "blobs"
    for folder in (root, snapshot, blobs):
        folder.mkdir(parents=True)
    for file in (root / "in", tmp_path / "out", blobs / "kept"):
        file.write_text("x")
    (root / "link").symlink_to(tmp_path / "out")
    (root / "inner").symlink_to(root / "in")
    (snapshot / "link").symlink_to(blobs / "kept")
    (snapshot / "stray").symlink_to(tmp_path / "out")
    for file, folder, expected in (
        (root / "in", root, (True, True)),
        (root / "inner", root, (True, True)),
        (root / "link", root, (False, True)),
        (tmp_path / "out", root, (False, False)),
        (root / ".." / "out", root, (False, False)),
        (snapshot / "link", snapshot, (True, True)),
        (snapshot / "stray", snapshot, (False, True)),
    ):
        found = tuple(
            hub_folders._lies_in(file, folder, may_link=may_link) for may_link in (False, True)
        )
        assert found == expected, file
