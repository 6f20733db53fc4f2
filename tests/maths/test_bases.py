"""Bases are orthogonal, sorted as they say, and have no effect on logits over all axes."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from torch import Tensor

from purescope.errors import InputError
from purescope.formats import is_axes
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.bases import BASES, Basis, is_basis, make_basis, random_rotations, rotate
from purescope.maths.overlaps import Projections, overlap, side_by_side
from purescope.maths.scores import StrategyInput
from purescope.maths.silhouette import silhouette_by_k
from purescope.maths.strategies import STRATEGIES
from tests.maths.test_overlaps import seeds, signed
from tests.maths.test_strategies import given_for, projection_pairs

PROJECTIONS = Projections(signed(12, 9), signed(12, 20, seed=1))
GIVEN = given_for(PROJECTIONS)
FIXED = sorted(name for name, basis in BASES.items() if not basis.seeded)


def test_the_table_says_what_bases_need() -> None:
    for name, basis in BASES.items():
        assert isinstance(basis, Basis) and basis.what
        without = StrategyInput(PROJECTIONS)
        if basis.needs == "features":
            with pytest.raises(InputError, match=f"{name} without image features(?s:.*)image="):
                basis.of(without, 0)
        else:
            assert basis.of(without, 0).equal(basis.of(GIVEN, 0))


# --- what holds for every basis


@pytest.mark.parametrize("name", BASES)
@settings(max_examples=25)
@given(projections=projection_pairs(), seed=seeds)
def test_every_basis_is_orthogonal_and_the_same_again(
    name: str, projections: Projections, seed: int
) -> None:
    basis = BASES[name].of(given_for(projections), seed)
    assert basis.dtype == torch.float64
    np.testing.assert_allclose(basis.T @ basis, np.eye(projections.neurons), atol=1e-10)
    assert BASES[name].of(given_for(projections), seed).equal(basis)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_axes_together_give_the_same_logits_accuracy_and_silhouette(
    name: str, dtype: torch.dtype
) -> None:
    image, text, labels = (GIVEN.image.to(dtype), GIVEN.text.to(dtype), GIVEN.labels)  # type: ignore[union-attr]
    basis = BASES[name].of(GIVEN, 5)
    turned_image, turned_text = rotate(image, basis), rotate(text, basis)
    assert turned_image.dtype == dtype
    np.testing.assert_allclose(turned_image @ turned_text.T, image @ text.T, atol=1e-6)
    every, ks = torch.arange(12), [12]
    before, after = (silhouette_by_k(x, labels, every, ks).item() for x in (image, turned_image))
    assert after == pytest.approx(before, abs=1e-6)
    right = [
        accuracy_by_k(x, t, labels, every, ks).top1.item()
        for x, t in ((image, text), (turned_image, turned_text))
    ]
    assert right[0] == right[1]


@pytest.mark.parametrize("name", BASES)
def test_features_are_rotated_as_the_projections_that_make_them(name: str) -> None:
    basis, inputs = BASES[name].of(GIVEN, 2), signed(6, 9, seed=3)
    turned = rotate(PROJECTIONS, basis)
    np.testing.assert_allclose(
        inputs @ turned.image.T, rotate(inputs @ PROJECTIONS.image.T, basis), atol=1e-12
    )
    np.testing.assert_allclose(turned.text, basis.T @ PROJECTIONS.text, atol=1e-12)


@pytest.mark.parametrize("name", BASES)
def test_rotating_changes_what_single_neurons_have(name: str) -> None:
    turned = rotate(PROJECTIONS, BASES[name].of(GIVEN, 2))
    assert (overlap(turned.image) - overlap(PROJECTIONS.image)).abs().max() > 0.01


# --- single bases


def test_random_rotations_are_uniform() -> None:
    """Each entry of a Haar matrix of size d is a coordinate of a point on the sphere: its square is
    Beta(1/2, (d - 1)/2).
    """
    tiny = StrategyInput(Projections(torch.eye(3), torch.eye(3)))
    drawn = torch.stack([BASES["random_rotation"].of(tiny, seed) for seed in range(600)])
    for entry in drawn.flatten(1).T:
        assert (
            scipy.stats.kstest(entry.square().numpy(), scipy.stats.beta(0.5, 1).cdf).pvalue > 1e-3
        )
        assert scipy.stats.binomtest(int((entry > 0).sum()), 600).pvalue > 1e-3
    assert scipy.stats.binomtest(int((torch.linalg.det(drawn) > 0).sum()), 600).pvalue > 1e-3


def test_random_rotations_neither_read_nor_move_the_global_generator() -> None:
    torch.manual_seed(1)
    first, state = BASES["random_rotation"].of(GIVEN, 4), torch.get_rng_state()
    assert not BASES["random_rotation"].of(GIVEN, 5).equal(first)
    torch.manual_seed(2)
    assert BASES["random_rotation"].of(GIVEN, 4).equal(first)
    torch.manual_seed(1)
    assert torch.get_rng_state().equal(state)


def test_a_prefix_of_random_axes_keeps_lengths_as_random_projections_do() -> None:
    """The share of a vector's squared length in k of d random axes has mean k / d (Johnson and
    Lindenstrauss 1984).
    """
    vector = torch.nn.functional.normalize(signed(1, 12), dim=1)
    shares = [
        rotate(vector, BASES["random_rotation"].of(GIVEN, seed))[0, :3].square().sum()
        for seed in range(300)
    ]
    assert float(torch.stack(shares).mean()) == pytest.approx(3 / 12, abs=0.03)


def same_axes(basis: Tensor, expected: np.ndarray) -> None:
    """Compare axes up to the sign of each."""
    np.testing.assert_allclose(np.abs((basis.numpy() * expected).sum(0)), 1, atol=1e-9)


def test_svd_is_numpys_on_both_towers_of_equal_weight() -> None:
    towers = [
        tower / np.linalg.norm(tower)
        for tower in (PROJECTIONS.image.numpy(), PROJECTIONS.text.numpy())
    ]
    left, _, _ = np.linalg.svd(np.hstack(towers))
    same_axes(BASES["svd"].of(GIVEN, 0), left)
    scaled = StrategyInput(Projections(1e200 * PROJECTIONS.image, 1e-200 * PROJECTIONS.text))
    same_axes(BASES["svd"].of(scaled, 0), left)


def test_cross_is_numpys_svd_of_the_product_where_the_towers_share_their_axes() -> None:
    """A = Q diag(a) U and B = Q diag(b) V have the logit operator U.T diag(a b) V."""
    axes = np.linalg.qr(signed(12, 12).numpy())[0]
    image_scale, text_scale = np.linspace(1, 4, 12), np.linspace(3, 1, 12) ** 2
    towers = [
        axes * scale @ np.linalg.qr(signed(20, 12, seed=seed).numpy())[0].T
        for seed, scale in ((2, image_scale), (3, text_scale))
    ]
    basis = BASES["cross"].of(StrategyInput(Projections(*map(torch.tensor, towers))), 0)
    same_axes(basis, axes[:, np.argsort(-image_scale * text_scale)])
    kept = np.linalg.svd(towers[0].T @ towers[1], compute_uv=False)
    turned = rotate(Projections(*map(torch.tensor, towers)), basis)
    strengths = turned.image.norm(dim=1) * turned.text.norm(dim=1)
    np.testing.assert_allclose(strengths, kept[:12], rtol=1e-9)


def test_a_prefix_of_cross_loses_less_of_the_logits_than_one_of_svd() -> None:
    """The towers' strengths fall along different neurons, so the strongest of one is weak in the
    other.
    """
    fall, draw = torch.linspace(1, 0.05, 64)[:, None], torch.Generator().manual_seed(0)
    image = torch.randn(64, 96, generator=draw).double() * fall
    text = torch.randn(64, 80, generator=draw).double() * fall.roll(16)
    given = StrategyInput(Projections(image, text))
    axes = {name: BASES[name].of(given, 0) for name in ("svd", "cross")}
    best = torch.linalg.svdvals(image.T @ text)
    for k in (8, 16, 32):
        lost = {}
        for name, basis in axes.items():
            prefix = basis[:, :k]
            lost[name] = float((image.T @ (text - prefix @ (prefix.T @ text))).norm())
        assert float(best[k:].norm()) < lost["cross"] < lost["svd"]


def test_cross_takes_towers_without_weights() -> None:
    zeros = StrategyInput(Projections(torch.zeros(3, 2), torch.zeros(3, 2)))
    basis = BASES["cross"].of(zeros, 0)
    torch.testing.assert_close(basis.T @ basis, torch.eye(3, dtype=torch.float64))


def test_pca_is_numpys_and_most_variance_comes_first() -> None:
    image = signed(40, 12) * torch.arange(1, 13) + 50
    basis = BASES["pca"].of(StrategyInput(PROJECTIONS, image=image), 0)
    values, vectors = np.linalg.eigh(np.cov(image.T.numpy()))
    same_axes(basis, vectors[:, ::-1])
    np.testing.assert_allclose(rotate(image, basis).var(0), values[::-1], rtol=1e-9)


@pytest.mark.parametrize("name", FIXED)
def test_the_largest_entry_of_a_fixed_axis_is_positive(name: str) -> None:
    basis = BASES[name].of(GIVEN, 0)
    assert (basis.gather(0, basis.abs().argmax(0, keepdim=True)) > 0).all()
    assert BASES[name].of(GIVEN, 1).equal(basis)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("pca", True),
        ("pca@0", True),
        ("pca@3", True),
        ("pca@", False),
        ("pca@-1", False),
        ("pca@1.5", False),
        ("pca@\u0663", False),
        ("high_purity@1", False),
    ],
)
def test_a_band_is_a_basis_and_a_count(name: str, known: bool) -> None:
    assert is_basis(name) == known
    assert is_axes(name) == known  # the same, without torch


def test_every_basis_is_known_without_torch() -> None:
    assert all(is_axes(name) for name in BASES) and not any(map(is_axes, STRATEGIES))


def test_a_band_drops_the_strongest_axes_and_takes_them_back_last() -> None:
    whole, band = make_basis("svd", GIVEN), make_basis("svd@3", GIVEN)
    assert whole.equal(BASES["svd"].of(GIVEN, 0)) and make_basis("svd@0", GIVEN).equal(whole)
    assert band[:, :9].equal(whole[:, 3:])
    assert band[:, 9:].equal(whole[:, [2, 1, 0]])
    drawn = make_basis("random_rotation", GIVEN, seed=4)
    assert drawn.equal(BASES["random_rotation"].of(GIVEN, 4))


def test_a_band_of_no_axes_is_refused() -> None:
    with pytest.raises(InputError, match=r"'svd@12' of 12 axes(?s:.*)at most 11"):
        make_basis("svd@12", GIVEN)


def test_towers_side_by_side_count_alike() -> None:
    stacked = side_by_side(PROJECTIONS)
    assert stacked.shape == (12, 29)
    assert stacked[:, :9].norm().item() == pytest.approx(1)
    assert stacked[:, 9:].norm().item() == pytest.approx(1)
    assert side_by_side(Projections(torch.zeros(2, 2), torch.eye(2)))[:, :2].equal(
        torch.zeros(2, 2).double()
    )
    for scale in (1e-200, 1e200):  # the squares of which are no numbers
        scaled = side_by_side(
            Projections(PROJECTIONS.image.double() * scale, PROJECTIONS.text.double() / scale)
        )
        torch.testing.assert_close(scaled, stacked, atol=1e-12, rtol=0)


@pytest.mark.usefixtures("unchecked")
def test_a_basis_of_another_model_is_refused() -> None:
    quarter = torch.eye(2, dtype=torch.float64)
    with pytest.raises(InputError, match="a basis of 2 axes for 12 neurons"):
        rotate(PROJECTIONS, quarter)
    with pytest.raises(InputError, match="a basis of 2 axes for 3 neurons"):
        rotate(signed(5, 3), quarter)


def test_a_turn_by_hand() -> None:
    """A rotation by 30 degrees has the new axes (cos, sin) and (-sin, cos)."""
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    basis = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    np.testing.assert_allclose(rotate(basis.T.contiguous(), basis), np.eye(2), atol=1e-12)


def test_random_rotations_are_orthogonal_and_independent_in_pairs() -> None:
    """In 225 products of 30 matrices of 6 axes, entries of any two correlate as those of
    independent matrices do.
    """
    bases = random_rotations(6, draws=200, seed=0).double()
    assert bases.dtype == torch.float64 and len(bases) == 200
    torch.testing.assert_close(
        bases @ bases.mT, torch.eye(6, dtype=torch.float64).expand(200, 6, 6), atol=1e-6, rtol=0
    )
    assert bases.mean(0).abs().max() < 4 / math.sqrt(
        200 * 6
    )  # each entry has mean 0 and variance 1 / 6
    assert bases.square().mean().item() == pytest.approx(1 / 6)
    flat = bases.flatten(1)
    inner = (flat @ flat.T)[
        *torch.triu_indices(200, 200, 1)
    ]  # traces of B^T C, which are traces of a Haar matrix
    assert abs(inner.mean()) < 0.02 and inner.var().item() == pytest.approx(1, abs=0.1)
    assert random_rotations(6, draws=5, seed=3).equal(random_rotations(6, draws=5, seed=3))
    six = StrategyInput(Projections(torch.eye(6), torch.eye(6)))
    factors = [BASES["random_rotation"].of(six, 3 + place).float() for place in range(6)]
    products = [
        factors[0] @ factors[3],
        factors[0] @ factors[4],
        factors[0] @ factors[5],
        factors[1] @ factors[3],
    ]
    assert random_rotations(6, draws=5, seed=3)[:4].equal(torch.stack(products))
    assert random_rotations(6, draws=1, seed=3)[0].equal(factors[0] @ factors[1])
    assert not random_rotations(6, draws=5, seed=3).equal(random_rotations(6, draws=5, seed=4))
