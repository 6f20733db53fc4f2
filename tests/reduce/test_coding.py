"""Signs, parts and the second ranking are those of their definitions."""

import numpy as np
import pytest

from purescope.reduce.coding import allocate, draw_rotation, refine, rescore, signs, unit, weigh

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


@pytest.mark.parametrize(("axes", "parts"), [(16, 4), (10, 4), (5, 4), (7, 7), (9, 1)])
def test_each_axis_is_in_one_part(axes: int, parts: int) -> None:
    places = allocate(RNG.random(axes), parts)
    assert len(places) % parts == 0 and len(places) >= axes
    assert sorted(places[places >= 0]) == list(range(axes))
    assert ((places.reshape(parts, -1) >= 0).sum(axis=1) >= 1).all()


def test_the_number_of_places_can_be_a_multiple() -> None:
    variances = RNG.random(10)
    plain, more = allocate(variances, 4), allocate(variances, 4, multiple=8)
    assert len(more) == 32
    assert more.reshape(4, 8)[:, :3].tolist() == plain.reshape(4, 3).tolist()
    assert (more.reshape(4, 8)[:, 3:] == -1).all()


def test_parts_have_about_the_same_product() -> None:
    """Of variances that fall by half from axis to axis, one after the other would be 2^48 apart."""
    variances = 2.0 ** -np.arange(16)
    logs = np.log2(variances[allocate(variances, 4)].reshape(4, 4)).sum(axis=1)
    assert np.ptp(logs) <= 4
    assert (allocate(np.zeros(6), 3) >= 0).all()  # no variance at all: any parts will do


@pytest.mark.parametrize(("width", "parts"), [(8, 4), (7, 3), (5, 5)])
def test_weights_change_no_product(width: int, parts: int) -> None:
    rows = RNG.normal(size=(200, width)) @ np.diag(0.5 ** np.arange(width))
    mean = RNG.normal(size=width)
    turn_rows, turn_queries = weigh(rows - rows.mean(axis=0), mean, parts)
    assert turn_rows.shape == turn_queries.shape and turn_rows.shape[1] % parts == 0
    assert np.allclose(turn_rows @ turn_queries.T, np.eye(width), atol=1e-3)


def test_a_squared_error_is_what_it_does_to_queries() -> None:
    """A rounding error of any place counts as much as it changes products with queries."""
    rows = (RNG.normal(size=(4000, 3)) * (3, 1, 0.3)).astype(np.float32)
    queries = rows + np.array([2, 0, 1], np.float32)
    turn_rows, turn_queries = weigh(rows - rows.mean(axis=0), queries.mean(axis=0), 1)
    # The second moment of turned queries is that of a sphere: no direction weighs more.
    turned = queries @ turn_queries
    assert np.allclose(turned.T @ turned / len(turned), np.eye(3), atol=0.05)
    # And rows stand in their principal axes.
    covariance = np.cov((rows @ turn_rows).T)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)


def test_rows_that_do_not_fill_the_space_are_weighed() -> None:
    rows = np.zeros((20, 4), np.float32)
    rows[:, 0] = np.arange(20) - 9.5
    for given in (rows, 0 * rows):
        turned = [given @ matrix for matrix in weigh(given, np.zeros(4), 2)]
        assert all(np.isfinite(array).all() for array in turned)


@pytest.mark.parametrize("threads", [1, 3])
def test_codewords_are_chosen_by_the_cost_of_the_definition(threads: int) -> None:
    """Part by part, in order, each codeword is tried with those of the other parts as they are."""
    count, parts, words, width = 600, 3, 5, 2
    rows, towards = RNG.normal(size=(2, count, parts * width)).astype(np.float32)
    towards[7] = 0  # of no direction
    centroids = RNG.normal(size=(parts, words, width)).astype(np.float32)
    codes = RNG.integers(0, words, (count, parts)).astype(np.uint8)
    found = refine(rows, towards, centroids, codes, threads=threads)

    def error(row: int, code: np.ndarray) -> np.ndarray:
        made = np.concatenate([centroids[part, code[part]] for part in range(parts)])
        return made.astype(np.float64) - rows[row]

    mean = np.mean([towards[row] @ error(row, codes[row]) for row in range(count)])

    def cost(row: int, code: np.ndarray) -> float:
        e, u = error(row, code), towards[row].astype(np.float64)
        return float(e @ e + 5 * (u @ e - mean) ** 2 / (u @ u)) if u.any() else float(e @ e)

    for row in range(0, count, 7):
        code = codes[row].copy()
        for part in range(parts):
            tried = [np.where(np.arange(parts) == part, word, code) for word in range(words)]
            code = min(tried, key=lambda each: cost(row, each))
        assert cost(row, found[row]) == pytest.approx(cost(row, code), rel=1e-4)
        assert cost(row, found[row]) <= cost(row, codes[row]) * (1 + 1e-6)
    assert (codes != found).any() and found.dtype == np.uint8


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


def test_directions_without_variance_have_a_ten_thousandth_of_the_mean_weight() -> None:
    """Rows of one direction, with the variance 4: the weights are 4 and 1e-4, and the roots are
    those of 4.0001 and 0.0001.
    """
    rows = np.zeros((2, 4))
    rows[:, 2] = 2, -2
    turn_rows, turn_queries = weigh(rows, np.zeros(4), 1)
    lengths = np.array([4.0001, 0.0001, 0.0001, 0.0001]) ** 0.5
    assert np.linalg.svd(turn_rows)[1] == pytest.approx(lengths, rel=1e-4)
    assert np.linalg.svd(turn_queries)[1] == pytest.approx(1 / lengths[::-1], rel=1e-4)


def test_each_axis_goes_to_the_part_with_the_least_product() -> None:
    """Eight axes in two parts, by hand: logarithms above the least, plus one."""
    variances = 2.0 ** np.array([3, 9, 0, 5, 7, 1, 0, 2])
    # 9 | 7, 5 | 3 after 13 to 10, 2 to 14 and 10, ...
    parts = allocate(variances, 2).reshape(2, 4)
    logs = np.log2(variances)[parts].sum(axis=1)
    assert logs.tolist() == [14, 13]
