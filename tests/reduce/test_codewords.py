"""Parts and codewords are those of their definitions."""

import numpy as np
import pytest

from purescope.reduce.codewords import allocate, improve, refine, weigh

RNG = np.random.default_rng(0)


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
    centred = rows - rows.mean(axis=0)
    turn_rows, turn_queries = weigh(centred, mean, centred, parts)
    assert turn_rows.shape == turn_queries.shape and turn_rows.shape[1] % parts == 0
    assert np.allclose(turn_rows @ turn_queries.T, np.eye(width), atol=1e-3)


def test_a_squared_error_is_what_it_does_to_queries() -> None:
    """A rounding error of any place counts as much as it changes products with queries."""
    rows = (RNG.normal(size=(4000, 3)) * (3, 1, 0.3)).astype(np.float32)
    queries = rows + np.array([2, 0, 1], np.float32)
    centred = rows - rows.mean(axis=0)
    turn_rows, turn_queries = weigh(centred, queries.mean(axis=0), centred, 1)
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
        turned = [given @ matrix for matrix in weigh(given, np.zeros(4), given, 2)]
        assert all(np.isfinite(array).all() for array in turned)


def test_what_is_quantized_stands_in_its_principal_axes() -> None:
    """The weights are those of whole rows, and the axes those of what is left of them."""
    rows = RNG.normal(size=(3000, 4)) * (4, 3, 2, 1)
    rest = rows @ np.linalg.qr(RNG.normal(size=(4, 4)))[0]
    turn_rows, turn_queries = weigh(rows, np.zeros(4), rest, 2)
    covariance = np.cov((rest @ turn_rows).T)
    variances = np.diag(covariance)
    assert np.allclose(covariance, np.diag(variances), atol=0.02 * covariance.max())
    assert np.ptp(np.log(variances.reshape(2, 2)).sum(axis=1)) < np.ptp(np.log(variances)) / 2
    moment = (rows @ turn_queries).T @ (rows @ turn_queries) / len(rows)
    assert np.allclose(moment, np.eye(4), atol=0.05)


class Drawn:
    """Rows, directions, codewords and codes, and what they cost by the definition."""

    def __init__(self, *, empty: int = 0) -> None:
        self.count, self.parts, self.words, self.width = 600, 3, 5, 2
        shape = 2, self.count, self.parts, self.width + empty
        drawn = RNG.normal(size=shape).astype(np.float32)
        drawn[..., self.width :] = 0
        self.rows, self.towards = drawn.reshape(2, self.count, -1)
        self.towards[7] = 0  # of no direction
        self.centroids = np.zeros((self.parts, self.words, self.width + empty), np.float32)
        self.centroids[..., : self.width] = RNG.normal(size=(self.parts, self.words, self.width))
        self.codes = RNG.integers(0, self.words, (self.count, self.parts)).astype(np.uint8)
        along = [self.towards[row] @ self.error(row, self.codes[row]) for row in range(self.count)]
        self.mean = np.mean(along)

    def error(self, row: int, code: np.ndarray, centroids: np.ndarray | None = None) -> np.ndarray:
        words = self.centroids if centroids is None else centroids
        made = np.concatenate([words[part, code[part]] for part in range(self.parts)])
        return made.astype(np.float64) - self.rows[row]

    def cost(self, row: int, code: np.ndarray, centroids: np.ndarray | None = None) -> float:
        e, u = self.error(row, code, centroids), self.towards[row].astype(np.float64)
        return float(e @ e + 5 * (u @ e - self.mean) ** 2 / (u @ u)) if u.any() else float(e @ e)

    def total(self, centroids: np.ndarray) -> float:
        return sum(self.cost(row, self.codes[row], centroids) for row in range(self.count))


@pytest.mark.parametrize(("threads", "empty"), [(1, 0), (3, 1)])
def test_codewords_are_chosen_by_the_cost_of_the_definition(threads: int, empty: int) -> None:
    """Part by part, in order, each codeword is tried with those of the other parts as they are."""
    drawn = Drawn(empty=empty)
    found = refine(drawn.rows, drawn.towards, drawn.centroids, drawn.codes, threads=threads)
    for row in range(0, drawn.count, 7):
        code = drawn.codes[row].copy()
        for part in range(drawn.parts):
            tried = [
                np.where(np.arange(drawn.parts) == part, word, code) for word in range(drawn.words)
            ]
            code = min(tried, key=lambda each: drawn.cost(row, each))
        assert drawn.cost(row, found[row]) == pytest.approx(drawn.cost(row, code), rel=1e-4)
        assert drawn.cost(row, found[row]) <= drawn.cost(row, drawn.codes[row]) * (1 + 1e-6)
    assert (drawn.codes != found).any() and found.dtype == np.uint8


@pytest.mark.parametrize("empty", [0, 2])
def test_codewords_move_to_the_least_cost_of_the_definition(empty: int) -> None:
    """After the last part was solved, no step of one of its words makes the cost less; every part
    makes it less than before; and a word without rows stays.
    """
    drawn = Drawn(empty=empty)
    drawn.codes[drawn.codes[:, 1] == 4, 1] = 0
    moved = improve(drawn.rows, drawn.towards, drawn.centroids, drawn.codes)
    along = [drawn.towards[row] @ drawn.error(row, drawn.codes[row]) for row in range(drawn.count)]
    drawn.mean = np.mean(along)
    least = drawn.total(moved)
    for word in range(drawn.words):
        for place in range(drawn.width):
            for step in (-0.01, 0.01):
                other = moved.copy()
                other[-1, word, place] += step
                assert drawn.total(other) > least
    costs = [
        drawn.total(np.concatenate([moved[:part], drawn.centroids[part:]]))
        for part in range(drawn.parts + 1)
    ]
    assert costs == sorted(costs, reverse=True) and costs[0] > 1.1 * costs[-1]
    assert (moved[1, 4] == drawn.centroids[1, 4]).all()
    assert moved.dtype == np.float32 and not moved[..., drawn.width :].any()


def test_directions_without_variance_have_a_ten_thousandth_of_the_mean_weight() -> None:
    """Rows of one direction, with the variance 4: the weights are 4 and 1e-4, and the roots are
    those of 4.0001 and 0.0001.
    """
    rows = np.zeros((2, 4))
    rows[:, 2] = 2, -2
    turn_rows, turn_queries = weigh(rows, np.zeros(4), rows, 1)
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
