"""Signs and the second ranking are those of their definitions."""

import numpy as np
import pytest

from purescope.reduce.coding import draw_rotation, rescore, signs, unit

RNG = np.random.default_rng(0)


def test_signs_are_bits_of_turned_rows() -> None:
    rows, turn = RNG.normal(size=(5, 11)), draw_rotation(11, 3)
    bits = np.unpackbits(signs(rows, turn), axis=1)
    for row, found in zip(rows, bits, strict=True):
        for axis in range(16):
            is_positive = axis < 11 and sum(row[j] * turn[j, axis] for j in range(11)) > 0
            assert found[axis] == is_positive


def test_a_drawn_rotation_is_orthonormal_and_repeats() -> None:
    turn = draw_rotation(9, 1)
    assert np.allclose(turn.T @ turn, np.eye(9), atol=1e-6)
    assert (turn == draw_rotation(9, 1)).all() and (turn != draw_rotation(9, 2)).any()
    # Each entry has mean 0: the algorithm does not choose the signs.
    mean = np.mean([draw_rotation(3, seed) for seed in range(400)], axis=0)
    assert np.abs(mean).max() < 5 * np.sqrt(1 / 3 / 400)


def test_the_second_ranking_is_by_whole_vectors() -> None:
    vectors, queries = RNG.normal(size=(30, 6)), RNG.normal(size=(70, 6))
    candidates = np.array([RNG.permutation(30)[:12] for _ in queries])
    candidates[3, 5:] = -1
    best = rescore(candidates, vectors, queries, 4)
    for query, found, ranked in zip(queries, candidates, best, strict=True):
        scores = {int(row): float(vectors[row] @ query) for row in found if row >= 0}
        assert ranked.tolist() == sorted(scores, key=lambda row: -scores[row])[:4]


def test_rows_get_length_one() -> None:
    rows = RNG.normal(size=(4, 3)).astype(np.float32)
    rows[2] = 0
    assert np.linalg.norm(unit(rows), axis=1).tolist() == pytest.approx([1, 1, 0, 1])
    assert unit(rows).dtype == np.float32


def test_zeros_have_no_sign_and_no_row_is_special() -> None:
    assert signs(np.zeros((2, 9)), np.eye(9)).tolist() == [[0, 0], [0, 0]]
    best = rescore(np.array([[0, 2, -1]]), np.eye(3), np.array([[0.9, 0, 0.1]]), 2)
    assert best.tolist() == [[0, 2]]
