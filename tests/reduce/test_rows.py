"""Rows in the axes of a rotation, against loops, NumPy's own conversions and `Rotation.apply`."""

import math

import numpy as np
import pytest
import torch

from purescope.errors import InputError
from purescope.reduce.rotation import Rotation
from purescope.reduce.rows import Counts, _cores, shorten, to_float16, to_float32

RNG = np.random.default_rng(0)
AXES = np.linalg.qr(RNG.normal(size=(7, 7)))[0].astype(np.float32)
ROWS = RNG.normal(size=(20, 7))


def run(rows, *, keep=3, dtype="float32", normalise=True, counts=None, step=6):
    blocks = [rows[first : first + step] for first in range(0, len(rows), step)]
    made = shorten(
        blocks,
        AXES[:, :keep].copy(),
        dtype=np.dtype(dtype),
        normalise=normalise,
        name="mine",
        counts=counts if counts is not None else Counts(),
    )
    return np.concatenate(list(made))


def by_loops(rows, keep, normalise):
    result = []
    for row in rows.tolist():
        values = [
            sum(x * float(axis) for x, axis in zip(row, AXES[:, j], strict=True))
            for j in range(keep)
        ]
        length = math.sqrt(sum(value * value for value in values)) if normalise else 1.0
        result.append([value / length for value in values])
    return np.array(result)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", "g"])
def test_every_type_of_number_is_rotated_as_by_hand(kind: str, normalise: bool) -> None:
    rows = ROWS.astype(kind)
    expected = by_loops(rows.astype(np.float64), 3, normalise)
    for given in (rows, np.asfortranarray(rows)):
        np.testing.assert_allclose(run(given, normalise=normalise), expected, atol=2e-6)
    half = run(rows, normalise=normalise, dtype="float16")
    assert half.dtype == np.float16
    np.testing.assert_allclose(half, expected, rtol=2**-10, atol=1e-6)


@pytest.mark.parametrize("normalise", [True, False])
def test_the_rotation_itself_says_the_same(normalise: bool) -> None:
    axes = torch.from_numpy(AXES)
    rotation = Rotation(axes, axes, torch.ones(7)).keep(4)
    expected = rotation.apply(torch.from_numpy(ROWS), normalise=normalise)
    np.testing.assert_allclose(run(ROWS, keep=4, normalise=normalise), expected, atol=1e-6)


def test_the_bits_of_bfloat16_are_read_as_torch_reads_them() -> None:
    rows = torch.from_numpy(ROWS).bfloat16()
    bits = rows.view(torch.uint16).numpy()
    np.testing.assert_array_equal(to_float32(bits), rows.float())
    np.testing.assert_allclose(run(bits), by_loops(rows.double().numpy(), 3, True), atol=1e-6)


def test_every_number_of_half_precision_is_widened_as_numpy_does() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = halves[np.isfinite(halves)]
    for numbers in (
        halves,
        finite,
        finite[::2],
        finite.byteswap().view(finite.dtype.newbyteorder()),
    ):
        with np.errstate(invalid="ignore"):
            expected = numbers.astype(np.float32)
        assert to_float32(numbers).view(np.uint32).tolist() == expected.view(np.uint32).tolist()


def test_numbers_are_rounded_to_half_precision_as_numpy_does() -> None:
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = (halves[1:] + halves[:-1]) / 2
    near = np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(1e9))
    for numbers in (halves, ties[1024:], near[0][1024:], near[1][1024:]):
        for signed in (numbers, -numbers):
            expected = signed.astype(np.float16).view(np.uint16)
            assert (to_float16(signed.copy()).view(np.uint16) == expected).all()
    # Among the subnormal, a number may be rounded twice: to the last place at most.
    small = RNG.uniform(0, 2.0**-14, 5000).astype(np.float32)
    unit = 2.0**-24
    assert np.abs(to_float16(small.copy()).astype(np.float64) - small).max() <= unit * (0.5 + 1e-3)


def test_zeros_stay_zeros_and_are_counted() -> None:
    rows, counts = ROWS.copy(), Counts()
    rows[[2, 13]] = 0
    for dtype in ("float16", "float32"):
        for normalise in (True, False):
            counts = Counts()
            made = run(rows, dtype=dtype, normalise=normalise, counts=counts)
            assert not made[[2, 13]].any() and made[[1, 3, 12]].any(axis=1).all()
            assert (counts.rows, counts.zeros) == (20, 2)


@pytest.mark.parametrize("scale", [1e-300, 5e-324 * 2**40, 1e-40, 1e-20, 1e20, 1e38, 1e300])
def test_rows_of_any_length_keep_their_direction(scale: float) -> None:
    rows = ROWS.copy()
    rows[4] *= scale
    expected = by_loops(ROWS, 3, True)
    tolerance = 1e-6 if scale > 1e-310 else 1e-9 + 1e-3
    np.testing.assert_allclose(run(rows), expected, atol=tolerance)
    if 1e-38 < scale < 1e38:
        single = run(rows.astype(np.float32))
        np.testing.assert_allclose(single, expected, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["f2", "f4", "f8"])
def test_a_value_that_is_not_finite_is_refused_with_its_row(kind: str, value: float) -> None:
    rows = ROWS.astype(kind)
    rows[[14, 16], 3] = value
    for normalise in (True, False):
        with pytest.raises(InputError, match=r"mine: row 14 has a value that is NaN or infinite"):
            run(rows, normalise=normalise)


def test_what_a_type_cannot_hold_is_refused() -> None:
    rows = ROWS / np.linalg.norm(ROWS @ AXES[:, :3], axis=1, keepdims=True)
    for scale, dtype, length in (
        (1e6, "float16", "1e[+]06"),
        (1e-6, "float16", "1e-06"),
        (1e39, "float32", "1e[+]39"),
        (1e-39, "float32", "1e-39"),
    ):
        wrong = rows.copy()
        wrong[9] *= scale
        with pytest.raises(InputError, match=rf"row 9 has the length {length}, which {dtype}"):
            run(wrong, dtype=dtype, normalise=False)
        assert np.isfinite(run(wrong, dtype=dtype)).all()
    assert np.isfinite(run(rows * 6e4, dtype="float16", normalise=False)).all()
    assert np.isfinite(run(rows * 1e30, normalise=False)).all()


def test_the_largest_half_is_not_refused_and_the_next_is() -> None:
    eye = np.eye(2, dtype=np.float32)
    options = {"dtype": np.dtype("float16"), "normalise": False, "name": "mine"}
    for value, is_held in ((65_504, True), (65_519.9, True), (65_520, False)):
        block = np.array([[value, 1.0], [1.0, 1.0]], np.float32)
        if is_held:
            [rows] = shorten([block], eye, counts=Counts(), **options)
            assert rows[0].tolist() == [65_504, 1]
        else:
            with pytest.raises(InputError, match=r"row 0 has the length 6[.]55e"):
                list(shorten([block], eye, counts=Counts(), **options))


def test_blocks_come_in_order() -> None:
    rows = RNG.normal(size=(600, 7)).astype(np.float32)
    counts = Counts()
    # Axes of the numbers themselves, for some processors add up one row in another order than many.
    made = shorten(
        [row[None] for row in rows],
        np.eye(7, 3, dtype=np.float32),
        dtype=np.dtype("float32"),
        normalise=False,
        name="mine",
        counts=counts,
    )
    np.testing.assert_array_equal(np.concatenate(list(made)), rows[:, :3])
    assert counts.rows == 600


def test_blocks_are_not_read_far_ahead() -> None:
    read = []

    def blocks():
        for number in range(200):
            read.append(number)
            yield ROWS

    made = shorten(
        blocks(), AXES, dtype=np.dtype("f4"), normalise=True, name="mine", counts=Counts()
    )
    next(made)
    assert len(read) <= 20
    made.close()


def test_half_precision_holds_lengths_from_its_least_number_with_all_digits() -> None:
    eye = np.eye(2, dtype=np.float32)
    options = {"dtype": np.dtype("float16"), "normalise": False, "name": "mine"}
    for length, is_held in ((2.0**-14 * 1.001, True), (2.0**-14 * 0.999, False), (0.0, True)):
        block = np.array([[1.0, 0.0], [0.0, length]])
        if is_held:
            [rows] = shorten([block], eye, counts=Counts(), **options)
            assert rows[1, 1] == pytest.approx(length, rel=1e-3)
        else:
            with pytest.raises(InputError, match=r"row 1 has the length 6[.]1e-05"):
                list(shorten([block], eye, counts=Counts(), **options))


@pytest.mark.parametrize(("cores", "used"), [(1, 1), (5, 5), (8, 8), (9, 8), (64, 8)])
def test_at_most_eight_cores_are_used(
    cores: int, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def affinity(process: int) -> set[int]:
        asked.append(process)
        return set(range(cores))

    monkeypatch.setattr("os.sched_getaffinity", affinity, raising=False)
    assert _cores() == used and asked == [0]
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert _cores() == used
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert _cores() == 1


@pytest.mark.parametrize("normalise", [True, False])
def test_several_odd_rows_of_a_block_are_each_scaled_by_their_own_length(normalise: bool) -> None:
    rows = ROWS.copy()
    scales = np.array([1e-25, 1e-20, 1e-30, 1e20])
    rows[[0, 2, 3, 5]] *= scales[:, None]
    expected = by_loops(ROWS, 3, normalise)
    if not normalise:
        expected[[0, 2, 3, 5]] *= scales[:, None]
    np.testing.assert_allclose(run(rows, normalise=normalise), expected, rtol=1e-4, atol=1e-36)
