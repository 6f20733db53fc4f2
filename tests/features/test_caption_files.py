"""Test files of features of captions, those of others, and folders of clip-retrieval."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import safetensors.numpy
import torch

from purescope.datasets.captions.dataset import MAX_CAPTION_LENGTH
from purescope.errors import InputError
from purescope.features import clip_retrieval as clip_retrieval_module
from purescope.features.caption_files import read_caption_features, save_caption_features
from purescope.features.caption_sources import load_captions
from purescope.features.captions import CaptionFeatures
from purescope.features.features import unit_rows
from purescope.files.npz import Npz

RNG = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "image": RNG.standard_normal((3, 4)),
    "text": RNG.standard_normal((5, 4)),
    "image_of": np.array([0, 1, 1, 2, 0]),
}
CAPTIONS = ("a cat", "a dog", "é", "x" * 300, "a cat, again")


def features(**changes: Any) -> CaptionFeatures:
    image, text = (unit_rows(torch.from_numpy(ARRAYS[name])) for name in ("image", "text"))
    fields: dict[str, Any] = {
        "image": image,
        "text": text,
        "image_of": torch.from_numpy(ARRAYS["image_of"]),
        "captions": CAPTIONS,
        "model": "clip",
        "dataset": "pets",
        "identity": {"model_weights": "w"},
        "seconds": 1.5,
    }
    return CaptionFeatures(**{**fields, **changes})


def test_a_caption_has_at_most_so_many_characters(tmp_path: Path) -> None:
    for more in (0, 1):
        captions = ("x" * (MAX_CAPTION_LENGTH + more), *CAPTIONS[1:])
        save_caption_features(features(captions=captions), tmp_path / f"{more}.npz")
    assert read_caption_features(tmp_path / "0.npz").captions[0] == "x" * MAX_CAPTION_LENGTH
    with pytest.raises(InputError, match="caption 0 has 10,001 characters"):
        read_caption_features(tmp_path / "1.npz")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_what_was_written_is_read_to_the_bit(suffix: str, tmp_path: Path) -> None:
    written = features()
    file = save_caption_features(written, tmp_path / f"pets{suffix}")
    read = load_captions(f"captions:{file}")
    assert isinstance(read, CaptionFeatures)
    for name in ("image", "text", "image_of"):
        assert torch.equal(getattr(read, name), getattr(written, name)), name
    for name in ("captions", "model", "dataset", "identity", "seconds"):
        assert getattr(read, name) == getattr(written, name), name
    named = load_captions(f" mine =captions:{file}")
    assert isinstance(named, CaptionFeatures) and named.dataset == "mine"


def test_equal_captions_of_a_file_are_said(tmp_path: Path) -> None:
    file = save_caption_features(features(captions=("a", "a", "b", "c", "d")), tmp_path / "p.npz")
    with pytest.warns(UserWarning, match="2 of 3 images have a caption that another"):
        load_captions(f"captions:{file}")


def test_arrays_of_others(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    arrays = {**ARRAYS, "image_of": ARRAYS["image_of"].astype(np.uint8)}
    np.savez(file, **arrays, captions=np.array(CAPTIONS))
    read = read_caption_features(file)
    assert (read.captions, read.dataset, read.model) == (CAPTIONS, "mine", "features")
    assert read.identity["scaled_to_unit"] == "image, text"
    torch.testing.assert_close(read.image, features().image)
    np.savez(file, **ARRAYS)
    assert read_caption_features(file).captions == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_of": None}, "no array image_of, only image, text"),
        ({"image_of": None, "labels": np.arange(3)}, "read as features:FILE"),
        ({"image_of": np.arange(4)}, "image_of has 4 entries for 5 rows"),
        (
            {"image_of": np.full(5, 2**64 - 1, np.uint64)},
            "image 18446744073709551615 of caption 0",
        ),
        ({"image_of": np.zeros(5)}, r"image_of is torch\.float64"),
        ({"image_of": np.array(["0"] * 5)}, "holds <U1 and no numbers"),
        ({"image": np.array([[1, "x"]], dtype=object)}, "Python objects, which can run code"),
        ({"captions": np.array(["a"])}, "captions has 1 entries for 5 rows"),
        ({"captions": np.arange(5)}, "an array of texts"),
        ({"captions": np.array(["x" * 10_001] * 5)}, "caption 0 has 10,001 characters"),
        ({"metadata": np.array('{"captions": "[1, 2, 3, 4, 5]"}')}, "caption 0 is 1"),
        ({"metadata": np.array('{"captions": ["a"]}')}, "its metadata captions is"),
        ({"metadata": np.array("[]")}, "no object in JSON"),
    ],
)
def test_what_is_refused_with_the_file_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.npz"
    arrays = {name: array for name, array in {**ARRAYS, **changes}.items() if array is not None}
    np.savez(file, **arrays)
    with pytest.raises(InputError, match=message) as caught:
        read_caption_features(file)
    assert str(caught.value).startswith(str(file))


def test_files_that_are_no_files_of_captions(tmp_path: Path) -> None:
    whole = save_caption_features(features(), tmp_path / "a.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-40])
    (tmp_path / "pointer.npz").write_text("version https://git-lfs.github.com/spec/v1\n")
    safetensors.numpy.save_file({"image": np.eye(2)}, tmp_path / "few.safetensors")
    for name, message in (
        ("cut.npz", "cannot be read"),
        ("none.npz", "there is no file .*none.npz"),
        ("pointer.npz", "git-lfs pointer"),
        ("few.safetensors", "no array text or image_of"),
        ("mine.csv", r"ends in \.npz or \.safetensors"),
    ):
        with pytest.raises(InputError, match=message):
            read_caption_features(tmp_path / name)
    with pytest.raises(InputError, match=r"ends in \.npz or \.safetensors"):
        save_caption_features(features(), tmp_path / "mine.csv")


def test_a_small_file_of_many_zeros_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (2_000_000, 512)}
    )
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("image.npy", "w", force_zip64=True) as stream:
            stream.write(header.getvalue())
            for _ in range(4):
                stream.write(bytes(1_024_000))
        for name in ("text", "image_of"):
            buffer = io.BytesIO()
            np.save(buffer, ARRAYS[name])
            archive.writestr(f"{name}.npy", buffer.getvalue())
    with pytest.raises(InputError, match=r"declares \[2000000, 512\] of float32"):
        read_caption_features(tmp_path / "bomb.npz")


def clip_retrieval(
    folder: Path, shards: list[int], dtype: str = "float16", captions: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Write a folder as clip-retrieval does, and return its unit rows."""
    towers = [RNG.standard_normal((sum(shards), 6)) for _ in range(2)]
    units = [tower / np.linalg.norm(tower, axis=1, keepdims=True) for tower in towers]
    for kind, unit in zip(("img_emb", "text_emb"), units, strict=True):
        (folder / kind).mkdir(parents=True)
        first = 0
        for number, rows in enumerate(shards):
            part = unit[first : first + rows].astype(dtype)
            np.save(folder / kind / f"{kind}_{number}.npy", part)
            first += rows
    if captions:
        (folder / "metadata").mkdir()
        first = 0
        for number, rows in enumerate(shards):
            texts = [f"caption {first + row}" for row in range(rows)]
            table = {"image_path": [f"{row}.jpg" for row in range(rows)], "caption": texts}
            path = folder / "metadata" / f"metadata_{number}.parquet"
            pyarrow.parquet.write_table(pyarrow.table(table), path)
            first += rows
    return units[0], units[1]


@pytest.mark.parametrize("shards", [[7], [4, 3]])
def test_only_several_shards_are_copied_and_need_room_for_it(
    shards: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(
        clip_retrieval_module, "require_room", lambda _, needed, **about: asked.append(needed)
    )
    clip_retrieval(tmp_path, shards, dtype="float32")
    load_captions(f"captions:{tmp_path}")
    assert asked == [7 * 6 * 4] * 2 * (len(shards) - 1)


@pytest.mark.parametrize("shards", [[7], [2] * 12])
def test_a_folder_of_clip_retrieval(shards: list[int], tmp_path: Path) -> None:
    """Shard 10 follows shard 9, and row i of all of them is a pair."""
    image, text = clip_retrieval(tmp_path / "pets", shards)
    read = load_captions(f"captions:{tmp_path / 'pets'}")
    assert isinstance(read, CaptionFeatures)
    assert read.image.dtype == read.text.dtype == torch.float16
    torch.testing.assert_close(read.image.double().numpy(), image, atol=1e-3, rtol=0)
    torch.testing.assert_close(read.text.double().numpy(), text, atol=1e-3, rtol=0)
    assert read.image_of.tolist() == list(range(sum(shards)))
    assert read.captions == tuple(f"caption {row}" for row in range(sum(shards)))
    assert (read.dataset, "scaled_to_unit" in read.identity) == ("pets", False)


def test_rows_of_clip_retrieval_are_not_copied_and_never_written(tmp_path: Path) -> None:
    image, _ = clip_retrieval(tmp_path, [7])
    before = (tmp_path / "img_emb" / "img_emb_0.npy").read_bytes()
    with pytest.warns(UserWarning, match="no captions"):
        (tmp_path / "metadata" / "metadata_0.parquet").unlink()
        read = load_captions(f"captions:{tmp_path}")
    assert isinstance(read, CaptionFeatures) and read.captions == ()
    identity = read.identity["embeddings"]
    read.image.zero_()
    assert (tmp_path / "img_emb" / "img_emb_0.npy").read_bytes() == before
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", np.roll(image, 1).astype("float16"))
    with pytest.warns(UserWarning, match="no captions"):
        other = load_captions(f"captions:{tmp_path}")
    assert isinstance(other, CaptionFeatures) and other.identity["embeddings"] != identity


def test_other_rows_of_clip_retrieval_become_unit_rows(tmp_path: Path) -> None:
    image, text = clip_retrieval(tmp_path, [7])
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", np.asfortranarray(3 * image))
    read = load_captions(f"captions:{tmp_path}")
    assert isinstance(read, CaptionFeatures)
    assert read.identity["scaled_to_unit"] == "image" and read.image.dtype == torch.float32
    torch.testing.assert_close(read.image.double().numpy(), image, atol=1e-6, rtol=0)
    torch.testing.assert_close(read.text.double().numpy(), text, atol=1e-3, rtol=0)


def test_damaged_folders_of_clip_retrieval(tmp_path: Path) -> None:
    clip_retrieval(tmp_path, [4, 3])
    file = tmp_path / "img_emb" / "img_emb_1.npy"
    whole = file.read_bytes()
    faults = {
        "declares \\[3, 6\\]": whole[:-2],
        "Python objects": _npy(np.array([[1, None]], dtype=object)),
        "it holds int64": _npy(np.eye(3, 6, dtype=np.int64)),
        "it holds >f4": _npy(np.eye(3, 6).astype(">f4")),
        "it is of shape \\[6\\]": _npy(np.ones(6)),
        "is of shape \\[2, 6\\]": _npy(np.ones((2, 6))),
        "is not a NumPy array": b"PK\3\4" + whole,
        "git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "NaN or infinite": _npy(np.full((3, 6), np.nan)),
    }
    for message, content in faults.items():
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_captions(f"captions:{tmp_path}")
    file.unlink()
    with pytest.raises(InputError, match="1 files in img_emb and 2 in text_emb"):
        load_captions(f"captions:{tmp_path}")
    file.write_bytes(whole)
    table = tmp_path / "metadata" / "metadata_1.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"caption": ["a"]}), table)
    with pytest.raises(InputError, match="1 rows for 3 of embeddings"):
        load_captions(f"captions:{tmp_path}")
    table.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"metadata_1\.parquet cannot be read"):
        load_captions(f"captions:{tmp_path}")
    table.unlink()
    with pytest.raises(InputError, match="1 files for 2 of embeddings"):
        load_captions(f"captions:{tmp_path}")


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_metadata_in_safetensors_is_checked(tmp_path: Path) -> None:
    arrays = {**ARRAYS, "image_of": ARRAYS["image_of"].astype(np.int64)}
    file = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(arrays, file, {"captions": json.dumps(["a", "b"])})
    with pytest.raises(InputError, match="2 captions for 5 rows"):
        read_caption_features(file)


@pytest.mark.parametrize(("length", "is_scaled"), [(1.0015, False), (1.003, True), (0.997, True)])
def test_rows_of_nearly_length_one_were_scaled_before(
    length: float, is_scaled: bool, tmp_path: Path
) -> None:
    """Half precision rounds lengths by less than 0.002."""
    image, _ = clip_retrieval(tmp_path, [7])
    rows = (length * image).astype(np.float32)
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", rows)
    np.save(tmp_path / "text_emb" / "text_emb_0.npy", image.astype(np.float32))
    read = load_captions(f"captions:{tmp_path}")
    assert isinstance(read, CaptionFeatures)
    assert ("scaled_to_unit" in read.identity) is is_scaled
    assert read.image.norm(dim=1).mean().item() == pytest.approx(
        1 if is_scaled else length, abs=1e-4
    )


def test_captions_need_room_for_each_letter_and_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = features(captions=("a", "bb", "ccc", "dddd", "eeeee"))
    file = save_caption_features(given, tmp_path / "a.npz")
    asked: list[int] = []
    monkeypatch.setattr(Npz, "require_room", lambda self, needed: asked.append(needed))
    load_captions(f"captions:{file}")
    with np.load(file) as content:
        arrays = {name: content[name] for name in content.files}
    texts = ("captions", "metadata", "model", "dataset")
    letters = sum(array.nbytes for name, array in arrays.items() if name in texts)
    numbers = sum(8 * arrays[name].size for name in ("image", "text", "image_of"))
    whole = sum(array.nbytes for array in arrays.values())
    assert letters > 0
    assert asked == [whole + numbers + 6 * letters + 200 * len(given.text)]
