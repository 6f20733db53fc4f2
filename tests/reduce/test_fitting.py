"""Sums over blocks of embeddings give the axes that all rows together give."""

import numpy as np
import pytest
import torch

from purescope.errors import InputError
from purescope.features.features import unit_rows
from purescope.maths.overlaps import activation_space
from purescope.maths.scores import StrategyInput
from purescope.reduce.fitting import fit_to_moments, measure_moments
from purescope.reduce.rotation import fit_rotation
from tests.maths.test_overlaps import signed

IMAGE = (signed(90, 7) * torch.linspace(1, 3, 7).double() + 0.5).float()
TEXT = signed(11, 7, seed=1).float()


@pytest.mark.parametrize("axes", ["svd", "cross", "pca", "svd@2", "pca@1", "random_rotation"])
@pytest.mark.parametrize("block", [1, 32, 90])
def test_blocks_give_the_axes_of_all_rows(axes: str, block: int) -> None:
    image, text = unit_rows(IMAGE), unit_rows(TEXT)
    whole = fit_rotation(axes, StrategyInput(activation_space(image, text), image=image), seed=5)
    fitted = fit_to_moments(
        axes, measure_moments(IMAGE.split(block)), measure_moments([TEXT]), seed=5
    )
    torch.testing.assert_close(fitted.image, whole.image, rtol=0, atol=1e-5)
    torch.testing.assert_close(fitted.spectrum, whole.spectrum, rtol=0, atol=1e-6)


def test_pca_is_numpys_and_subtracts_no_mean_from_what_it_rotates() -> None:
    rows = IMAGE + 20
    fitted = fit_to_moments("pca", measure_moments([rows], normalise=False))
    centred = rows.double().numpy() - rows.double().numpy().mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2].T
    np.testing.assert_allclose(np.abs(np.sum(axes * fitted.image.numpy(), axis=0)), 1, atol=1e-4)
    turned = fitted.apply(rows, normalise=False)
    torch.testing.assert_close(turned @ turned.T, rows @ rows.T, rtol=1e-5, atol=1e-2)


def test_rows_of_any_length_count_the_same_unless_they_are_taken_as_they_are() -> None:
    rows = torch.tensor([[100.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    scaled, plain = (measure_moments([rows], normalise=normalise) for normalise in (True, False))
    assert fit_to_moments("svd", scaled).image[:, 0].tolist() == [0, 1]
    assert fit_to_moments("svd", plain).image[:, 0].tolist() == [1, 0]


def test_sums_add_up() -> None:
    first, second = (measure_moments([rows]) for rows in (IMAGE[:40], IMAGE[40:]))
    both, whole = first + second, measure_moments([IMAGE])
    assert both.rows == whole.rows == 90
    torch.testing.assert_close(both.products, whole.products)
    torch.testing.assert_close(both.total, whole.total)
    assert len({first.digest, second.digest, both.digest, (second + first).digest}) == 4


def test_a_part_is_drawn_by_its_seed() -> None:
    parts = [measure_moments(IMAGE.split(8), part=0.5, seed=seed) for seed in (0, 0, 1)]
    assert parts[0].digest == parts[1].digest != parts[2].digest
    assert 25 < parts[0].rows < 65
    # Each row that is drawn is there as it was: the sum of all parts of one is the whole.
    assert measure_moments(IMAGE.split(8), part=1.0).digest == measure_moments([IMAGE]).digest


@pytest.mark.parametrize("part", [0.0, -1.0, 1.5, float("nan")])
def test_a_part_beyond_the_whole_is_refused(part: float) -> None:
    with pytest.raises(InputError, match="of the rows to fit on"):
        measure_moments([IMAGE], part=part)


def test_what_cannot_be_fitted_is_refused() -> None:
    one = measure_moments([IMAGE[:1]])
    with pytest.raises(InputError, match="cross of one collection"):
        fit_to_moments("cross", one)
    with pytest.raises(InputError, match="pca of one embedding"):
        fit_to_moments("pca", one)
    with pytest.raises(InputError, match="7 dimensions for images, 2 for texts"):
        fit_to_moments("svd", one, measure_moments([torch.eye(2)]))
    with pytest.raises(InputError, match="no rows among 1e-09 of the embeddings"):
        measure_moments([IMAGE], part=1e-9)
    with pytest.raises(InputError, match="unknown axes 'best'"):
        fit_to_moments("best", one)


@pytest.mark.parametrize("axes", ["svd", "pca"])
def test_fewer_rows_than_dimensions_are_fitted(axes: str) -> None:
    """Two rows span a plane: their difference, and for the svd their sum."""
    rows = torch.zeros(2, 7)
    rows[0, 2], rows[1, 2], rows[:, 4] = 3, -3, 4
    fitted = fit_to_moments(axes, measure_moments([rows], normalise=False))
    assert fitted.image.isfinite().all()
    first, second = fitted.image.abs()[:, :2].T
    strongest, weaker = (4, 2) if axes == "svd" else (2, None)
    assert first[strongest].item() == pytest.approx(1)
    assert weaker is None or second[weaker].item() == pytest.approx(1)


def test_rows_are_scaled_and_the_seed_is_zero_unless_said() -> None:
    assert measure_moments([IMAGE]).digest == measure_moments([IMAGE], normalise=True).digest
    assert measure_moments([IMAGE]).products.trace().item() == pytest.approx(len(IMAGE))
    half = {seed: measure_moments([IMAGE], part=0.5, seed=seed).digest for seed in (0, 1)}
    assert measure_moments([IMAGE], part=0.5).digest == half[0] != half[1]
    moments = measure_moments([IMAGE])
    turns = [fit_to_moments("random_rotation", moments, seed=seed).image for seed in (0, 1)]
    assert fit_to_moments("random_rotation", moments).image.equal(turns[0])
    assert not turns[0].equal(turns[1])
