"""Test that every kind of file is recognized where only its git-lfs pointer was fetched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from purescope.datasets import load_dataset
from purescope.errors import PurescopeError
from purescope.features.files import read_features
from purescope.files.npz import Npz
from purescope.tables.files import read_parquet
from tests.datasets.pictures import picture

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(POINTER)
    return path


def images(place: Path) -> str:
    for name in ("cat/1.png", "dog/1.png"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_bytes(picture(1))
    return f"folder:{place}"


def names_of_classes(place: Path) -> object:
    return load_dataset(images(place / "set"), classnames=put(place / "classnames.json"))


def shard(place: Path) -> object:
    put(place / "0.tar")
    (place / "classnames.txt").write_text("cat\ndog\n")
    return load_dataset(f"wds:{place}")


KINDS: dict[str, Callable[[Path], object]] = {
    "csv": lambda place: load_dataset(f"manifest:{put(place / 'table.csv')}"),
    "parquet": lambda place: load_dataset(f"manifest:{put(place / 'table.parquet')}"),
    "tar": shard,
    "names": names_of_classes,
    "npz": lambda place: read_features(put(place / "features.npz")),
    "safetensors": lambda place: read_features(put(place / "features.safetensors")),
    "results": lambda place: read_parquet(put(place / "results.parquet")),
    "datasets, arrow": lambda place: load_dataset(
        f"hf:{put(place / 'test' / 'data-00000-of-00001.arrow').parents[1]}"
    ),
    "datasets, parquet": lambda place: load_dataset(
        f"hf:{put(place / 'data' / 'test.parquet').parent}"
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pointer_is_named(kind: str, tmp_path: Path) -> None:
    if kind.startswith("datasets"):
        pytest.importorskip("datasets")
    with pytest.raises(
        PurescopeError,
        match=r"(?s)a git-lfs pointer, not the file that it stands for.*git lfs pull",
    ):
        KINDS[kind](tmp_path)


def test_an_image_that_is_one(tmp_path: Path) -> None:
    spec = images(tmp_path / "set")
    put(tmp_path / "set" / "cat" / "1.png")
    with pytest.raises(PurescopeError, match=r"cat/1\.png: a git-lfs pointer, .*git lfs pull"):
        load_dataset(spec).images[0]


def test_arrays_of_results(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="a git-lfs pointer"):
        Npz(put(tmp_path / "cosines.npz"), ("image",))
