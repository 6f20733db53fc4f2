"""Express rows of embeddings in the first axes of a rotation, with NumPy and in blocks.

This is `purescope.reduce.rotation.Rotation.apply` for collections of any size: the product is one
pass over the rows in float32, and only rows whose length float32 cannot square, rows of zeros and
rows that are not finite are looked at again, in float64.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from purescope.errors import InputError
from purescope.parallel import in_order

BLOCK = 1 << 20
"""How many numbers a block has, 4 MB of float32; a block for each core is in memory."""

_LEAST, _MOST = 1e-30, 1e30  # squared lengths that float32 holds with all its digits
_HALF = 2.0**-14  # the least number that float16 holds with all its digits


@dataclass
class Counts:
    """What was seen in a file; `crc32` and `bytes` of a source that was read from end to end."""

    rows: int = 0
    zeros: int = 0
    crc32: int | None = None
    bytes: int | None = None


def block_rows(neurons: int) -> int:
    """Return how many rows a block has.

    Examples:
        >>> block_rows(512), block_rows(1 << 30)
        (2048, 1)
    """
    return max(1, BLOCK // max(1, neurons))


def shorten(
    blocks: Iterable[np.ndarray],
    matrix: np.ndarray,
    *,
    dtype: np.dtype,
    normalise: bool,
    name: str,
    counts: Counts,
    first: int = 0,
) -> Iterator[np.ndarray]:
    """Return ``rows @ matrix`` block by block, in order, computed on all cores.

    Args:
        blocks: ``[row, neuron]``, floating point of any width and byte order; bfloat16 as the
            uint16 of its bits.
        matrix: ``[neuron, axis]`` float32, orthonormal columns.
        dtype: float16 or float32, of the result.
        normalise: scale the rows to unit length over the axes.
        name: name of the rows in an error.
        counts: gets the number of rows, and of those of zeros, which stay zeros.
        first: number of the first row, for errors.

    Raises:
        InputError: a row is not finite, or without `normalise` too long or short for `dtype`.

    Examples:
        >>> quarter = np.array([[0, -1], [1, 0]], np.float32)
        >>> block, counts = np.array([[0.6, 0.8], [0, 0]]), Counts()
        >>> options = {"dtype": np.dtype("float16"), "normalise": True, "name": "mine"}
        >>> [rows] = shorten([block], quarter[:, :1], counts=counts, **options)
        >>> rows.tolist(), counts.rows, counts.zeros
        ([[1.0], [0.0]], 2, 1)
    """

    def work(numbered: tuple[int, np.ndarray]) -> tuple[np.ndarray, int]:
        number, block = numbered
        return _shorten(block, matrix, dtype, normalise, name, number)

    cores = _cores()
    pool = ThreadPoolExecutor(cores, "shrink")
    try:
        for rows, zeros in in_order(pool, work, _numbered(blocks, counts, first), ahead=cores):
            counts.zeros += zeros
            yield rows
    finally:
        pool.shutdown(cancel_futures=True)


def _numbered(
    blocks: Iterable[np.ndarray], counts: Counts, first: int
) -> Iterator[tuple[int, np.ndarray]]:
    for block in blocks:
        yield first, block
        first += len(block)
        counts.rows += len(block)


def _cores() -> int:
    """Return the number of cores that this process may use, at most 8: memory is bounded."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(8, count or 1))


def _shorten(
    block: np.ndarray, matrix: np.ndarray, dtype: np.dtype, normalise: bool, name: str, first: int
) -> tuple[np.ndarray, int]:
    """Return the rows of a block in the axes, and how many of them are zeros."""
    with np.errstate(all="ignore"):  # what overflows or is not finite is looked at below
        rows = to_float32(block) @ matrix
        squares = np.einsum("ij,ij->i", rows, rows)
    odd = np.flatnonzero(~((squares >= _LEAST) & (squares <= _MOST)))  # also NaN
    zeros = 0
    if len(odd):
        again, power = _in_float64(block[odd], matrix, name, first + odd)
        lengths = np.sqrt(np.square(again).sum(axis=1, keepdims=True))
        zeros = int((lengths == 0).sum())
        if normalise:
            again /= np.where(lengths == 0, 1, lengths)
        else:
            again, lengths = np.ldexp(again, power), np.ldexp(lengths, power)
            _check_range(again, lengths[:, 0], np.dtype(np.float32), name, first + odd)
        rows[odd] = again
    if normalise:
        squares[odd] = 1
        rows *= (1 / np.sqrt(squares))[:, None]
    elif dtype == np.float16:
        squares[odd] = np.einsum("ij,ij->i", rows[odd], rows[odd])
        outside = np.flatnonzero((squares > 65_504.0**2) | (squares < _HALF**2))
        lengths = np.sqrt(squares[outside])
        _check_range(rows[outside], lengths, dtype, name, first + outside)
    return (to_float16(rows) if dtype == np.float16 else rows), zeros


def _in_float64(
    block: np.ndarray, matrix: np.ndarray, name: str, numbers: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows in the axes, in float64 and divided by a power of two, and its exponent.

    A power of two changes no digit, and keeps every product and square in the range of float64.

    Raises:
        InputError: a row is not finite.
    """
    rows = (to_float32(block) if block.dtype == np.uint16 else block).astype(np.float64)
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(broken):
        raise InputError(
            f"{name}: row {numbers[broken[0]]:,} has a value that is NaN or infinite",
            expected="finite numbers",
            fix="leave that row out, or encode it again; rows are counted from 0",
        )
    power = np.frexp(np.abs(rows).max(axis=1, keepdims=True))[1].clip(-1000, 1000)
    return np.ldexp(rows, -power) @ matrix.astype(np.float64), power


def _check_range(
    rows: np.ndarray, lengths: np.ndarray, dtype: np.dtype, name: str, numbers: np.ndarray
) -> None:
    """Refuse rows that a type cannot hold; a row of zeros it can.

    Raises:
        InputError: a number is too large, or a whole row too small.
    """
    limits = np.finfo(dtype)
    # Half of the last place above the largest number is where rounding reaches infinity.
    too_large = np.abs(rows).max(axis=1, initial=0) >= float(limits.max) * (
        1 + float(limits.eps) / 4
    )
    least = _HALF if dtype == np.float16 else float(limits.tiny)
    wrong = np.flatnonzero(too_large | ((lengths > 0) & (lengths < least)))
    if len(wrong):
        place = wrong[0]
        raise InputError(
            f"{name}: row {numbers[place]:,} has the length {lengths[place]:.3g}, which {dtype} "
            f"cannot hold",
            expected=f"lengths from {least:.1e} to {float(limits.max):,.6g}",
            fix="leave --no-normalise out (normalise=True), which scales rows to length 1"
            + ("; or --dtype float32" if dtype == np.float16 else ""),
        )


def to_float32(block: np.ndarray) -> np.ndarray:
    """Return rows in float32; what it cannot hold becomes infinite or zero.

    Args:
        block: floating point, or uint16 for the bits of bfloat16.

    Examples:
        >>> to_float32(np.array([1.5, -2.0**-24, np.inf], np.float16)).tolist()
        [1.5, -5.960464477539063e-08, inf]
        >>> to_float32(np.array([0x3FC0], np.uint16)).tolist()
        [1.5]
    """
    if block.dtype == np.uint16:
        widened: np.ndarray = np.left_shift(block, 16, dtype=np.uint32)
        return widened.view(np.float32)
    if block.dtype != np.float16 or not block.dtype.isnative:
        return block.astype(np.float32, copy=False)
    if (block.view(np.uint16) & 0x7FFF).max(initial=0) >= 0x7C00:  # NaN or infinite
        return block.astype(np.float32)
    # Eight times as fast as NumPy: the bits of float16 are moved to where float32 has sign,
    # exponent and digits, and the power of two makes up for the exponents' different biases.
    bits = block.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(-0x7000_2000)  # 0x8fffe000: without the copies of the sign
    rows: np.ndarray = bits.view(np.float32)
    rows *= np.float32(2.0**112)
    return rows


def to_float16(rows: np.ndarray) -> np.ndarray:
    """Round float32 below 65,520 to the nearest float16; the rows are overwritten.

    Examples:
        >>> to_float16(np.array([[0.1, -1.0, 2.0**-24]], np.float32)).tolist()
        [[0.0999755859375, -1.0, 5.960464477539063e-08]]
    """
    # Four times as fast as NumPy, see `to_float32`.
    rows *= np.float32(2.0**-112)
    bits = rows.view(np.int32)
    half = bits >> 13
    half &= 1  # a tie goes to the even neighbour
    half += 0xFFF
    half += bits
    half >>= 13
    half &= 0x7FFF
    bits >>= 16
    bits &= 0x8000
    half |= bits
    return half.astype(np.uint16).view(np.float16)
