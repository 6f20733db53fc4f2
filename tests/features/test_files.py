import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from purescope.errors import InputError, OutputError
from purescope.features.features import Features, unit_rows
from purescope.features.files import read_features, save_features

SUFFIXES = [".npz", ".safetensors"]
ARRAYS: dict[str, Any] = {
    "image": np.array([[0.6, -0.8], [0, 0], [1, 0]], dtype=np.float32),
    "text": np.array([[1, 0], [0, 1]], dtype=np.float32),
    "labels": np.array([0, 1, 1]),
}


def example() -> Features:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(50, 7, generator=generator)
    image[3] = 0
    return Features(
        image=unit_rows(image),
        text=unit_rows(torch.randn(4, 7, generator=generator)),
        labels=torch.arange(50) % 4,
        classes=("a", "b c", "é|\n", "\t.\U0010ffff"),  # the last character that there is
        model="CC3M LaCLIP",
        dataset="pets",
        identity={"weights": "abc", "prompts": "ü"},
        seconds=1.25,
    )


def write(file: Path, arrays: dict[str, Any], classes: list[str] | None = None) -> Path:
    """As someone else would write it, without purescope."""
    if file.suffix == ".npz":
        named: dict[str, Any] = {"classes": np.array(classes)} if classes else {}
        np.savez(file, **arrays, **named)
    else:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        safetensors.torch.save_file(
            tensors, file, {"classes": json.dumps(classes)} if classes else None
        )
    return file


@pytest.fixture(params=SUFFIXES)
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"mine{request.param}"


def test_what_was_saved_is_read_to_the_bit(file: Path) -> None:
    saved = example()
    assert save_features(saved, file) == file
    read = read_features(file)
    for name in ("image", "text", "labels"):
        assert torch.equal(getattr(read, name), getattr(saved, name)), name
        assert getattr(read, name).dtype == getattr(saved, name).dtype
    for name in ("classes", "model", "dataset", "identity", "seconds"):
        assert getattr(read, name) == getattr(saved, name), name
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_bare_arrays_are_enough(file: Path) -> None:
    features = read_features(write(file, ARRAYS))
    assert torch.equal(features.image, torch.from_numpy(ARRAYS["image"]))
    assert (features.classes, features.dataset, features.model) == (("0", "1"), "mine", "features")
    assert features.identity == {}


def test_class_names_of_others(file: Path) -> None:
    assert read_features(write(file, ARRAYS, ["cat", "dog"])).classes == ("cat", "dog")


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_precisions(file: Path, dtype: type) -> None:
    arrays = {
        **ARRAYS,
        "image": ARRAYS["image"].astype(dtype),
        "labels": ARRAYS["labels"].astype(np.uint8),
    }
    features = read_features(write(file, arrays))
    assert features.image.dtype == torch.float32
    assert features.labels.dtype == torch.int64
    torch.testing.assert_close(features.image, torch.from_numpy(ARRAYS["image"]), atol=1e-3, rtol=0)


def test_rows_that_are_not_unit_are_scaled_and_it_is_said(file: Path) -> None:
    arrays = {**ARRAYS, "text": np.array([[3.0, 4.0], [0.0, -2.0]])}
    features = read_features(write(file, arrays))
    torch.testing.assert_close(features.text, torch.tensor([[0.6, 0.8], [0.0, -1.0]]))
    assert features.identity["scaled_to_unit"] == "text"
    assert torch.equal(features.image, torch.from_numpy(ARRAYS["image"])), (
        "a zero row is no reason to scale"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": None}, "no array text, only image, labels"),
        ({"text": None, "txt": ARRAYS["text"]}, "to fix:   write it with "),
        ({"labels": np.array([1, 2, 2])}, "to fix:   subtract 1: labels count from 0"),
        ({"image": np.zeros(3)}, "image is torch.float64 of shape [3]"),
        ({"image": np.zeros((3, 4))}, "image has 4 neurons, text has 2"),
        ({"image": np.array([[0, 0], [0, np.nan], [0, 0]])}, "image row 1 has a value that is NaN"),
        (
            {"text": np.array([[0, 1], [np.inf, 0]])},
            "text row 1 has a value that is NaN or infinite",
        ),
        (
            {"labels": np.array([0, 1, 2**64 - 1], dtype=np.uint64)},
            "the label 18446744073709551615 of image 2",
        ),
        ({"image": np.zeros((3, 2), dtype=np.int32)}, "image is torch.int32"),
        ({"labels": np.array([0.0, 1.0, 1.0])}, "labels is torch.float64"),
        ({"labels": np.array([True, False, True])}, "labels is torch.bool"),
        ({"labels": np.array([0, 1])}, "labels is torch.int64 of shape [2]"),
        ({"labels": np.array([0, 1, 2])}, "the label 2 of image 2"),
        ({"labels": np.array([0, -1, 2])}, "the label -1 of image 1"),
    ],
)
def test_what_is_refused_with_the_file_named(
    file: Path, changes: dict[str, Any], message: str
) -> None:
    arrays = {name: array for name, array in {**ARRAYS, **changes}.items() if array is not None}
    with pytest.raises(InputError) as caught:
        read_features(write(file, arrays))
    assert str(caught.value).startswith(f"{file}: ")
    assert message in str(caught.value)


def test_too_few_class_names(file: Path) -> None:
    with pytest.raises(InputError, match="1 class names for 2 rows"):
        read_features(write(file, ARRAYS, ["cat"]))


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(file: Path, kept: float) -> None:
    save_features(example(), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_features(file)
    assert file.name in str(caught.value)


def test_every_damaged_byte_is_an_input_error_or_harmless(file: Path) -> None:
    write(file, ARRAYS, ["cat", "dog"])
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        file.write_bytes(damaged)
        try:
            features = read_features(file)
        except InputError:
            continue
        assert features.image.shape == (3, 2)


def test_a_file_of_another_kind(file: Path) -> None:
    file.write_text("image,text,labels\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_features(file)


def test_a_bare_numpy_array_is_no_npz(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    with file.open("wb") as stream:
        np.save(stream, np.eye(2))
    with pytest.raises(InputError, match="cannot be read"):
        read_features(file)


def test_pickled_objects_are_not_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path(tmp_path, "sprung").touch, ())

    file = tmp_path / "mine.npz"
    np.savez(file, **ARRAYS, classes=np.array([Trap(), Trap()], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        read_features(file)
    assert not Path(tmp_path, "sprung").exists()


def test_labels_that_are_words(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    np.savez(file, **{**ARRAYS, "labels": np.array(["cat", "dog", "dog"])})
    with pytest.raises(InputError, match=r"mine\.npz: labels holds <U3 and no numbers") as caught:
        read_features(file)
    assert "whole numbers from 0" in str(caught.value) and "the array classes" in str(caught.value)


def test_arrays_the_wrong_way_round_are_told_to_be_turned(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    np.savez(file, image=np.ones((4, 9)), text=np.ones((4, 3)), labels=np.arange(9) % 3)
    with pytest.raises(InputError, match="transpose both"):
        read_features(file)
    np.savez(file, image=np.ones((9, 5)), text=np.ones((3, 4)), labels=np.arange(9) % 3)
    with pytest.raises(InputError, match="take both of one model"):
        read_features(file)


def test_no_file_and_other_suffixes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_features(tmp_path / "none.npz")
    with pytest.raises(InputError, match=r"\.npz or \.safetensors") as caught:
        read_features(tmp_path / "mine.csv")
    assert "np.savez('mine.npz', image=..., text=..., labels=...)" in str(caught.value)
    with pytest.raises(InputError, match=r"\.npz or \.safetensors"):
        save_features(example(), tmp_path / "mine.pt")


def test_a_failed_write_harms_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_features(example(), file)
    before = file.read_bytes()

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        save_features(example(), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        save_features(example(), tmp_path / "file" / "mine.npz")
    assert save_features(example(), tmp_path / "new" / "deep" / "mine.npz").is_file()


def test_names_stand_in_an_npz_as_strings(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    np.savez(
        file,
        image=np.eye(2),
        text=np.eye(2),
        labels=np.array([0, 1]),
        model="My encoder",
        dataset="pets",
    )
    features = read_features(file)
    assert (features.model, features.dataset) == ("My encoder", "pets")
    saved = save_features(features, tmp_path / "again.npz")
    with np.load(saved) as content:
        assert {*content.files} == {"image", "text", "labels", "classes", "metadata"}
    again = read_features(saved)
    assert (again.model, again.dataset) == ("My encoder", "pets")


@pytest.mark.parametrize(
    ("dtype", "scale"), [("f8", 1e-300), ("f8", 1e300), ("f4", 1e-42), ("f4", 8e37), ("f2", 1e-7)]
)
def test_lengths_that_float32_does_not_hold(file: Path, dtype: str, scale: float) -> None:
    """Scaled first and cast then: neither zeros, nor infinite, and rows of zeros stay."""
    rows = (np.array([[4, -3], [0, 0], [1, 0]]) * scale).astype(dtype)
    features = read_features(write(file, {**ARRAYS, "image": rows}))
    torch.testing.assert_close(
        features.image, torch.tensor([[0.8, -0.6], [0, 0], [1, 0]]), atol=0.06, rtol=0
    )
    assert features.image.norm(dim=1).tolist() == pytest.approx([1, 0, 1], abs=1e-6)
    assert features.identity["scaled_to_unit"] == "image"


PEAK = """
import os, resource, sys, torch
from purescope.features.files import read_features
torch.set_num_threads(1)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
for file in sys.argv[1:]:
    if os.fork():
        assert not os.wait()[1]
        continue
    before = peak()
    features = read_features(file)
    print(peak() - before, features.image[:, 0].sum().item(), flush=True)
    os._exit(0)
"""


@pytest.mark.slow
def test_a_large_file_is_in_memory_once(tmp_path: Path) -> None:
    """Rows that must be scaled too; measured in a process of its own for each format."""
    rows = (200_000 if os.environ.get("PURESCOPE_TORTURE") else 60_000, 512)
    image = np.random.default_rng(0).standard_normal(rows, dtype=np.float32)
    arrays = {**ARRAYS, "image": image, "text": image[:2], "labels": np.arange(len(image)) % 2}
    files = [write(tmp_path / f"mine{suffix}", arrays) for suffix in SUFFIXES]
    told = subprocess.run(
        [sys.executable, "-c", PEAK, *files], capture_output=True, text=True, check=True
    )
    expected = (image[:, 0] / np.linalg.norm(image, axis=1)).sum()
    for line in told.stdout.splitlines():
        peak, total = map(float, line.split())
        assert 0.9 * image.nbytes < peak < 1.2 * image.nbytes + 80e6
        assert total == pytest.approx(expected, abs=0.01)
    assert told.stdout.count("\n") == len(SUFFIXES)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_there_must_be_memory_for_what_becomes_another_type(
    dtype: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.ones((1000, 10), dtype)
    file = write(
        tmp_path / "mine.npz",
        {**ARRAYS, "image": image, "text": image[:2], "labels": np.zeros(1000, int)},
    )
    monkeypatch.setattr(
        "purescope.files.reading.available_memory", lambda: int(1.2 * (image.nbytes + 8 * 1000))
    )
    if dtype is np.float32:
        assert len(read_features(file).image) == 1000
    else:
        with pytest.raises(InputError, match=r"and working with them takes 129 KB"):
            read_features(file)


def test_a_header_is_not_longer_than_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "mine.safetensors", ARRAYS, ["cat", "dog"])
    length = int.from_bytes(file.read_bytes()[:8], "little")
    monkeypatch.setattr("purescope.files.reading.CONFIGURATION", length)
    assert read_features(file).classes == ("cat", "dog")
    monkeypatch.setattr("purescope.files.reading.CONFIGURATION", length - 1)
    with pytest.raises(InputError, match=f"its header has {length} bytes"):
        read_features(file)
