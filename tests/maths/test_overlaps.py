"""Overlap, purity and totals: the definition as loops, invariances, and refused input."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from purescope.errors import InputError
from purescope.maths.overlaps import (
    Projections,
    activation_space,
    cosine_gram,
    dead_neurons,
    overlap,
    purity,
    random_overlap,
    relative_overlap,
    total_overlap,
    unit_rows,
)
from tests import oracles


def signed(rows: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(
        rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


BASE = signed(5, 7)
MATRICES = {
    "random": signed(9, 6),
    "more neurons than width": signed(12, 2),
    "width 1": signed(6, 1),
    "one neuron": signed(1, 4),
    "one dead neuron": torch.zeros(1, 3).double(),
    "duplicates": torch.cat([BASE, BASE[1:4], BASE[:2]]),
    "sign-flipped duplicates": torch.cat([BASE, -BASE, 2 * BASE[:2]]),
    "zero rows": torch.cat([torch.zeros(2, 7).double(), BASE, torch.zeros(1, 7).double()]),
    "all rows equal": BASE[:1].repeat(6, 1),
    "all dead": torch.zeros(4, 3).double(),
    "orthogonal": torch.diag(torch.tensor([1.0, -2.0, 3.0, -0.5]).double()),
    "tiny and huge": BASE
    * torch.tensor([1e-300, 1e300, 1e-5, 1.0, -1e150], dtype=torch.float64)[:, None],
    "subnormal": torch.tensor([[5e-324, 0.0], [1.0, 0.0], [1.0, 1.0]], dtype=torch.float64),
}


seeds = st.integers(0, 2**31)


@st.composite
def matrices(draw: st.DrawFn, rows: int | None = None) -> Tensor:
    """Draw signed matrices: small whole numbers, which give duplicates, flips and zero rows, or
    noise around them.
    """
    rows = draw(st.integers(1, 7)) if rows is None else rows
    width = draw(st.integers(1, 5))
    entries = draw(st.lists(st.integers(-3, 3), min_size=rows * width, max_size=rows * width))
    noise = draw(st.sampled_from([0.0, 0.0, 1.0, 1e6])) * signed(rows, width, draw(seeds))
    return torch.tensor(entries, dtype=torch.float64).view(rows, width) + noise


def plain(rows: Tensor) -> list[list[float]]:
    """Scale the largest entry of each row to 1 for the oracles, which square numbers without
    scaling.
    """
    return [[value / (max(map(abs, row)) or 1.0) for value in row] for row in rows.tolist()]


@pytest.mark.parametrize("name", MATRICES)
def test_overlap_is_the_definition(name: str) -> None:
    rows = MATRICES[name]
    assert overlap(rows).tolist() == pytest.approx(
        oracles.overlap(plain(rows)), abs=1e-12, nan_ok=True
    )


def test_overlap_worked_by_hand() -> None:
    # Angles: 0 and 1 at 60 degrees (cos 1/2), 2 opposite to 0 (|cos| 1), so 1 and 2 at 120 (|cos|
    # 1/2). Means of the two others: (1/2 + 1)/2, (1/2 + 1/2)/2, (1 + 1/2)/2.
    rows = torch.tensor([[2.0, 0.0], [1.0, math.sqrt(3)], [-5.0, 0.0]])
    assert overlap(rows).tolist() == pytest.approx([0.75, 0.5, 0.75])
    assert purity(rows).tolist() == pytest.approx([4 / 3, 2, 4 / 3])


def test_the_diagonal_is_never_counted() -> None:
    assert overlap(torch.eye(4)).tolist() == [0, 0, 0, 0]
    assert purity(torch.eye(4)).tolist() == [math.inf] * 4


def test_overlap_of_a_dead_neuron_is_nan_and_adds_nothing_to_the_others() -> None:
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    assert overlap(rows).tolist() == pytest.approx([0.5, math.nan, 0.5], nan_ok=True)
    assert purity(rows).tolist() == pytest.approx([2, math.nan, 2], nan_ok=True)
    assert dead_neurons(rows).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_precision_is_measured_in_float64(dtype: torch.dtype) -> None:
    rows = signed(8, 5).to(dtype)
    assert overlap(rows).dtype == torch.float64
    assert overlap(rows).equal(overlap(rows.double()))


def test_no_argument_is_changed() -> None:
    rows = signed(4, 3)
    before = rows.clone()
    overlap(rows), cosine_gram(rows), total_overlap(Projections(rows, rows))
    assert rows.equal(before)


@pytest.mark.parametrize("name", MATRICES)
def test_gram_holds_every_cosine(name: str) -> None:
    rows = MATRICES[name]
    gram = cosine_gram(rows)
    for i, a in enumerate(plain(rows)):
        for j, b in enumerate(plain(rows)):
            assert gram[i, j].item() == pytest.approx(oracles.cosine(a, b), abs=1e-12)
    assert gram.abs().max() <= 1


@pytest.mark.parametrize("name", MATRICES)
def test_total_is_the_sum_over_both_towers(name: str) -> None:
    image = MATRICES[name]
    text = signed(len(image), 3, seed=1)
    text[0] = 0
    expected = oracles.total_overlap(plain(image), plain(text))
    assert total_overlap(Projections(image, text)).tolist() == pytest.approx(
        expected, abs=1e-11, nan_ok=True
    )


@settings(max_examples=50)
@given(matrices(), seeds)
def test_permuting_neurons_permutes_overlap(rows: Tensor, seed: int) -> None:
    permutation = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(
        overlap(rows[permutation]), overlap(rows)[permutation], rtol=0, atol=1e-12
    )


@settings(max_examples=50)
@given(
    matrices(),
    st.lists(st.floats(1e-3, 1e3), min_size=7, max_size=7),
    st.lists(st.booleans(), min_size=7, max_size=7),
)
def test_scaling_or_flipping_a_row_changes_no_overlap(
    rows: Tensor, scales: list[float], flips: list[bool]
) -> None:
    factors = torch.tensor(
        [-s if flip else s for s, flip in zip(scales, flips, strict=True)], dtype=torch.float64
    )
    changed = rows * factors[: len(rows), None]
    np.testing.assert_allclose(overlap(changed), overlap(rows), rtol=0, atol=1e-12)


@settings(max_examples=50)
@given(matrices())
def test_overlap_is_from_zero_to_one(rows: Tensor) -> None:
    live = overlap(rows)[~dead_neurons(rows)]
    assert ((live >= 0) & (live <= 1)).all()


@settings(max_examples=50)
@given(matrices(), seeds)
def test_rotating_the_input_space_changes_no_overlap(rows: Tensor, seed: int) -> None:
    rotation = torch.linalg.qr(signed(rows.shape[1], rows.shape[1], seed)).Q
    np.testing.assert_allclose(overlap(rows @ rotation), overlap(rows), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("width", "expected"), [(1, 1.0), (2, 2 / math.pi), (3, 0.5), (5, 3 / 8)])
def test_random_overlap_has_its_known_values(width: int, expected: float) -> None:
    # E|cos| on the circle is the mean of |cos t|, 2/pi; on the sphere the height is uniform, 1/2;
    # in one dimension 1.
    assert random_overlap(width) == pytest.approx(expected)


def test_random_overlap_is_what_gaussian_neurons_have() -> None:
    assert overlap(signed(400, 64)).mean().item() == pytest.approx(random_overlap(64), rel=0.01)


def test_random_overlap_of_a_wide_layer_is_finite() -> None:
    assert random_overlap(100_000) == pytest.approx(math.sqrt(2 / (math.pi * 100_000)), rel=1e-4)


BAD_PROJECTIONS = {
    "vector": (torch.ones(3), r"shape \[3\]"),
    "empty": (torch.ones(0, 3), r"shape \[0, 3\]"),
    "no width": (torch.ones(3, 0), r"shape \[3, 0\]"),
    "whole numbers": (torch.ones(3, 2).long(), "torch.int64"),
    "NaN": (torch.tensor([[1.0], [math.nan], [1.0]]), "NaN or infinite, first in neuron 1"),
    "infinite": (torch.tensor([[1.0], [1.0], [-math.inf]]), "NaN or infinite, first in neuron 2"),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", BAD_PROJECTIONS)
def test_bad_projections_are_refused(name: str) -> None:
    bad, message = BAD_PROJECTIONS[name]
    with pytest.raises(InputError, match=f"the image projection.*{message}"):
        Projections(bad, torch.ones(3, 2))
    with pytest.raises(InputError, match=f"the text projection.*{message}"):
        Projections(torch.ones(3, 2), bad)
    with pytest.raises(InputError, match=message):
        overlap(bad)


@pytest.mark.usefixtures("unchecked")
def test_towers_must_have_the_same_neurons() -> None:
    with pytest.raises(
        InputError, match=r"3 neurons in the image projection, 2 in the text(?s:.*)transpose"
    ):
        Projections(torch.ones(3, 2), torch.ones(2, 2))
    # Each pair of shapes fits once one tower, or both, are transposed; or never.
    for image, text, tower in (
        ((2, 5), (5, 4), "the image projection"),
        ((5, 2), (4, 5), "the text projection"),
        ((3, 5), (4, 5), "both"),
        ((2, 3), (4, 5), "the one that is"),
    ):
        with pytest.raises(InputError, match=f"transpose {tower}"):
            Projections(torch.ones(image), torch.ones(text))


def test_activation_space_has_a_row_of_activations_for_each_neuron() -> None:
    image, text = signed(20, 4).float(), signed(3, 4, seed=1).float()
    space = activation_space(image, text)
    assert space.image.equal(image.T.double())
    assert space.text.equal(text.T.double())
    assert space.image.dtype == space.text.dtype == torch.float64
    expected = [[abs(oracles.cosine(a, b)) for b in image.T.tolist()] for a in image.T.tolist()]
    np.testing.assert_allclose(cosine_gram(space.image).abs(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shift", [0.0, 3.0, 1e6])
def test_centred_cosines_are_pearsons_r(shift: float) -> None:
    image, text = signed(50, 6) + shift, signed(7, 6, seed=1) - shift
    space = activation_space(image, text, centred=True)
    np.testing.assert_allclose(
        cosine_gram(space.image), np.corrcoef(image.numpy(), rowvar=False), rtol=0, atol=1e-8
    )
    np.testing.assert_allclose(
        cosine_gram(space.text), np.corrcoef(text.numpy(), rowvar=False), rtol=0, atol=1e-8
    )


def test_centring_matters() -> None:
    """Neurons of one sign have a large cosine if uncentred, whatever they respond to."""
    image = signed(50, 6) + 10
    assert overlap(activation_space(image, image).image).min() > 0.9
    assert overlap(activation_space(image, image, centred=True).image).max() < 0.5


def test_a_neuron_that_never_changes_is_dead_once_centred() -> None:
    image = signed(10, 3)
    image[:, 1] = 0.1  # ten of them do not sum to 1 in floating point
    centred = activation_space(image, image, centred=True)
    assert dead_neurons(centred.image).tolist() == [False, True, False]
    assert not dead_neurons(activation_space(image, image).image).any()


def test_activations_are_left_as_they_were() -> None:
    image = signed(5, 3)
    before = image.clone()
    activation_space(image, image, centred=True)
    assert image.equal(before)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_activation_space() -> None:
    two = signed(2, 3)
    with pytest.raises(InputError, match="1 text features to centre"):
        activation_space(two, two[:1], centred=True)
    assert activation_space(two, two[:1]).neurons == 3
    with pytest.raises(InputError, match="the image projection"):
        activation_space(two[:0], two)
    with pytest.raises(InputError, match="3 neurons in the image projection, 2 in the text"):
        activation_space(two, signed(4, 2))
    with pytest.raises(InputError, match="NaN or infinite, first in neuron 1"):
        activation_space(torch.tensor([[0.0, math.nan, 1.0]]).double(), two)


def test_strategies_take_an_activation_space() -> None:
    from purescope.maths.strategies import STRATEGIES, order_neurons

    image, text = signed(30, 8), signed(4, 8, seed=1)
    space = activation_space(image, text, centred=True)
    for strategy in STRATEGIES:
        order = order_neurons(
            space, strategy=strategy, image=image, text=text, labels=torch.arange(30) % 4
        )
        assert sorted(order.tolist()) == list(range(8))


def test_overlap_relative_to_random_is_one_for_random_weights_of_any_width() -> None:
    for width in (8, 64):
        rows = signed(400, width)
        assert relative_overlap(rows).mean().item() == pytest.approx(1, rel=0.02)
        np.testing.assert_allclose(relative_overlap(rows) * random_overlap(width), overlap(rows))


def test_unit_rows_keep_the_direction_of_any_row() -> None:
    np.testing.assert_allclose(
        unit_rows(MATRICES["tiny and huge"]).abs(), unit_rows(BASE).abs(), atol=1e-12
    )
    assert unit_rows(torch.zeros(2, 3)).equal(torch.zeros(2, 3).double())


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_some_columns_at_a_time_give_the_same_cosines(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Activations over many images are read in blocks; rows of images are passed without a copy."""
    rows = MATRICES[name].clamp(-torch.finfo(dtype).max, torch.finfo(dtype).max).to(dtype)
    before = rows.clone()
    at_once = cosine_gram(rows)
    monkeypatch.setattr(sys.modules["purescope.maths.overlaps"], "_WIDE", 2)
    monkeypatch.setattr(sys.modules["purescope.maths.overlaps"], "_BLOCK", 2)
    for matrix in (rows, rows.T.contiguous().T):
        torch.testing.assert_close(cosine_gram(matrix), at_once, atol=1e-14, rtol=0)
    assert rows.equal(before)
    rows = rows.clone()
    rows[-1, -1] = torch.nan
    with pytest.raises(InputError, match=f"first in neuron {len(rows) - 1}"):
        cosine_gram(rows)


def test_some_columns_may_be_tiny_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is scaled by its largest entry over all columns, not over a block."""
    rows = torch.tensor(
        [[1e-300, 2e-300, 1e300], [0.0, 1e300, 1e-300], [-1.0, 1.0, 1.0]], dtype=torch.float64
    )
    monkeypatch.setattr(sys.modules["purescope.maths.overlaps"], "_WIDE", 2)
    monkeypatch.setattr(sys.modules["purescope.maths.overlaps"], "_BLOCK", 2)
    third = 1 / math.sqrt(3)
    expected = torch.tensor([[1, 0, third], [0, 1, third], [third, third, 1]], dtype=torch.float64)
    torch.testing.assert_close(cosine_gram(rows), expected, atol=1e-14, rtol=0)
