"""The parts of codes that need NumPy only: an index, signs, and a second ranking."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_RESCORED = 64  # queries whose candidates are scored at a time


class Built(NamedTuple):
    """An index.

    Args:
        search: returns the nearest rows to queries, the nearest first.
        row_bytes: bytes of each vector.
        shared_bytes: those of what all vectors share, such as codebooks.
    """

    search: Callable[[np.ndarray, int], np.ndarray]
    row_bytes: int
    shared_bytes: int


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale float32 rows to length 1; rows of zeros stay zeros.

    Examples:
        >>> unit(np.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    scaled: np.ndarray = rows / lengths
    return scaled


def draw_rotation(size: int, seed: int) -> np.ndarray:
    """Draw a rotation ``[dimension, axis]``, float32, all equally likely."""
    normal = np.random.default_rng(seed).standard_normal((size, size))
    axes, triangle = np.linalg.qr(normal)
    # Without the signs, those of the axes would follow from the algorithm.
    return (axes * np.sign(np.diag(triangle))).astype(np.float32)


def signs(rows: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return the signs of turned rows as bits, eight in a byte, the first highest.

    Examples:
        >>> signs(np.array([[1.0, -1.0, 2.0]]), np.eye(3)).tolist()
        [[160]]
    """
    return np.packbits(rows @ turn > 0, axis=1)


def rescore(
    candidates: np.ndarray, vectors: np.ndarray, queries: np.ndarray, count: int
) -> np.ndarray:
    """Return the best candidates by the products of whole vectors, the best first.

    Args:
        candidates: ``[query, candidate]``, rows of `vectors`; -1 for none.
        vectors: ``[row, dimension]``.
        queries: ``[query, dimension]``.
        count: number of rows to return for each query.
    """
    best = np.empty((len(candidates), count), candidates.dtype)
    for first in range(0, len(candidates), _RESCORED):
        block = slice(first, first + _RESCORED)
        found = candidates[block]
        scores = np.einsum("qcd,qd->qc", vectors[np.maximum(found, 0)], queries[block])
        scores[found < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        best[block] = np.take_along_axis(found, order, axis=1)
    return best
