"""Axes are read without torch, and a file that holds others is refused by what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from purescope.errors import InputError
from purescope.reduce.axes import FILE, read_axes

EYE = np.eye(3, dtype=np.float32)
ONES = np.ones(3, dtype=np.float32)


def written(folder: Path, image: np.ndarray, text: np.ndarray, spectrum: np.ndarray) -> Path:
    tensors = {"image": image, "text": text, "spectrum": spectrum}
    safetensors.numpy.save_file(tensors, folder / FILE, {"axes": "mine"})
    return folder / FILE


@pytest.mark.parametrize(("neurons", "axes"), [(3, 3), (3, 1), (1, 1), (1 << 14, 1)])
def test_any_number_of_axes_is_read(neurons: int, axes: int, tmp_path: Path) -> None:
    image = np.eye(neurons, axes, dtype=np.float32)
    file = written(tmp_path, image, -image, ONES[:1].repeat(axes))
    for path in (file, tmp_path):
        read = read_axes(path)
        assert np.array_equal(read.image, image) and np.array_equal(read.text, -image)
        assert read.file == file and dict(read.recipe) == {"axes": "mine"}
        assert len(read.spectrum) == axes


def test_rounding_is_no_error(tmp_path: Path) -> None:
    """Products of different axes are 8e-5 here."""
    read_axes(written(tmp_path, EYE, EYE + np.float32(4e-5) * (1 - EYE), ONES))


@pytest.mark.parametrize(
    ("image", "text", "spectrum", "message"),
    [
        (EYE, EYE[:2, :2].copy(), ONES, r"axes of shape \[3, 3\] for images, \[2, 2\] for texts"),
        (EYE, EYE, ONES[:2], r"a spectrum of shape \[2\]"),
        (EYE, EYE, ONES[:, None].copy(), r"a spectrum of shape \[3, 1\]"),
        (EYE.astype(np.float64), EYE, ONES, r"image is float64 of shape \[3, 3\]"),
        (EYE, EYE.astype(np.float16), ONES, r"text is float16 of shape \[3, 3\]"),
        (ONES, ONES, ONES, r"image is float32 of shape \[3\]"),
        (EYE[None].copy(), EYE, ONES, r"image is float32 of shape \[1, 3, 3\]"),
        (EYE[:2].copy(), EYE[:2].copy(), ONES, r"image is float32 of shape \[2, 3\]"),
        (EYE[:, :0].copy(), EYE[:, :0].copy(), ONES[:0], r"image is float32 of shape \[3, 0\]"),
        (EYE, EYE * np.float32(1.001), ONES, "text holds axes whose products are wrong by 0.002"),
        (EYE * np.float32(np.nan), EYE, ONES, "image holds axes whose products are wrong by nan"),
        (EYE, EYE + np.float32(1e-4), ONES, r"text holds axes whose products are wrong by 0\.0002"),
        (
            np.eye((1 << 14) + 1, 1, dtype=np.float32),
            np.eye((1 << 14) + 1, 1, dtype=np.float32),
            ONES[:1],
            r"shapes \[16385, 1\](?s:.*)at most 16,384 neurons",
        ),
    ],
    ids=str,
)
def test_what_is_no_rotation_is_refused(
    image: np.ndarray, text: np.ndarray, spectrum: np.ndarray, message: str, tmp_path: Path
) -> None:
    file = written(tmp_path, image, text, spectrum)
    with pytest.raises(InputError, match=message) as caught:
        read_axes(file)
    assert caught.value.came.startswith(f"{file}: ")


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"image": EYE, "other": EYE}, tmp_path / FILE)
    with pytest.raises(InputError, match="no tensor text or spectrum"):
        read_axes(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        read_axes(tmp_path / "none")
