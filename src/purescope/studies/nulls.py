"""Is it purity? Compare the statistics of a model with nulls, in which purity can mean nothing.

Each null takes one thing away and keeps the rest:

- ``gaussian weights`` of the same shape have no structure.
- ``rotation``: a random (Haar) rotation of both towers together keeps every logit of the full
  embedding. It has other axes, so other neurons and another purity, and no axis is special. What
  the same rule gains or loses there is due to the embedding and not to the model's own axes.
- ``norms``: random orders with a neuron of about the same norms, in both towers, at each place.
  Purity depends on the length of the rows of the weights; what such orders gain or lose is due to
  the norms.
- ``shuffled purity`` keeps the neurons and breaks the tie between a neuron and its purity;
  ``shuffled towers`` does the same for the agreement of the two towers.

The attribution of a verdict holds its statistic against ``rotation`` and ``norms``: the mean
accuracy over the ks of high purity, minus that of the random orders. On random axes a random order
keeps a uniformly drawn subspace, whatever the axes are. So the mean over one such order for each
basis is the baseline of high purity in all bases.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.maths.bases import BASES, random_rotations, rotate
from purescope.maths.cells import mean_over_k
from purescope.maths.intervals import percentile_interval
from purescope.maths.layer_measures import LAYER_MEASURES, Reference, gaussian_reference
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections, centre, overlap
from purescope.maths.scores import StrategyInput, best_first, redundancy
from purescope.maths.significance import percentile_of, permutation_p, spearman
from purescope.parallel import on_each_core
from purescope.studies.bench import Bench
from purescope.studies.sweeps import Measured
from purescope.tables.files import check_table
from purescope.tables.schemas import ATTRIBUTIONS, NULLS

ROTATIONS = 200
TOWER_SHUFFLES = 1000
GROUP_SIZE = 8  # neurons of about the same norms, which are exchanged with each other

# Layers of Gaussian weights, for measures of neurons and for the slower ones that take a spectrum.
_NEURON_LAYERS, _SPECTRUM_LAYERS = 20, 10
_ROUNDING = 1e-12  # smaller standard deviations are rounding errors
_CHEAP = 4e11  # multiplications that a sweep may spend unasked: about ten seconds on two cores

_bases = lru_cache(maxsize=1)(random_rotations)  # shared by models of the same number of neurons


@dataclass(frozen=True, eq=False)
class Rotations:
    """A model's neurons in random bases, which serve every dataset.

    Args:
        bases: one random basis for each draw; float32, as features are.
        orders: orders of high and of low purity in each basis.
        overlaps: mean and spread of the overlaps in each basis, and the agreement of the towers.
    """

    bases: Float[Tensor, "draw neuron neuron"]
    orders: Int64[Tensor, "draw 2 neuron"]
    overlaps: list[dict[str, float]]


def rotate_model(projections: Projections, *, draws: int = ROTATIONS, seed: int = 0) -> Rotations:
    """Rotate both projections together at random: other axes for the same logits.

    All bases are kept, 4 d^2 bytes each: 210 MB for 200 of 512 neurons.
    """
    bases = _bases(projections.neurons, draws, seed)

    def measure(basis: Tensor) -> tuple[Tensor, dict[str, float]]:
        return _orders_and_overlaps(rotate(projections, basis))

    orders, overlaps = zip(*on_each_core(measure, bases), strict=True)
    return Rotations(bases, torch.stack(orders), list(overlaps))


_rotate_weights = lru_cache(maxsize=16)(rotate_model)  # a model is rotated once for all datasets


def rotations_of(bench: Bench, rotations: Rotations | None, *, draws: int) -> Rotations:
    """Return the rotations for a sweep: the given ones if they rotate weights, or new ones.

    Rotations of activations are not kept, because no other dataset has the same activations.
    """
    options = bench.options
    if options.space != "weights":
        return rotate_model(bench.space, draws=draws, seed=options.seed)
    return rotations or _rotate_weights(bench.space, draws=draws, seed=options.seed)


def null_table(
    measured: Measured,
    rotations: Rotations | None = None,
    *,
    attributions: pd.DataFrame | None = None,
    draws: int = ROTATIONS,
) -> pd.DataFrame:
    """Compare purity and pruning curves with their values under nulls.

    - ``gaussian weights``: every measure of weights, as the mean over neurons and of the whole
      layer, for each tower.
    - ``rotation``: mean overlap and its spread over the neurons for each tower, Spearman's
      correlation of the towers' overlaps, and the areas under the curves of high and low purity and
      between them, against random rotations; and the difference between high purity and random
      orders, if attributions are given.
    - ``svd basis``: the same in the basis of the singular vectors.
    - ``shuffled purity``: the area between high and low purity, against that between a random order
      and its reverse.
    - ``shuffled towers``: Spearman's correlation of the towers' overlaps, against one tower's
      neurons in a random order.

    Purity is that of the experiment here, by l1 and of both towers, whatever the sweep ranks by.

    Args:
        measured: the sweep of a model on a dataset.
        rotations: rotations of the same projections, if they exist already.
        attributions: attributions of the same sweep, see `attribution_table`; their purity is that
            of the sweep.
        draws: number of rotations, if none are given, and of shuffles of purity.

    Returns:
        The table `purescope.tables.schemas.NULLS`.
    """
    bench = measured.bench
    rotations = rotations_of(bench, rotations, draws=draws)
    orders, values = _orders_and_overlaps(bench.space)
    values |= bench.purity_areas(orders)
    rows = [
        *(_against_gaussian(bench.space) if measured.options.space == "weights" else ()),
        *_against_rotations(bench, values, rotations),
    ]
    if attributions is not None and len(attributions):
        (value,), random = (
            attributions[attributions.null == null].difference.tolist()
            for null in ("none", "rotation")
        )
        rows.append(_null_row("rotation", "high minus random", value, random))
    rows += _against_shuffles(bench, values, draws)
    table = pd.DataFrame(rows, columns=list(NULLS.columns))
    features = measured.features
    return check_table(table.assign(model=features.model, dataset=features.dataset), NULLS)


def _against_gaussian(projections: Projections) -> Iterator[dict[str, object]]:
    for tower, weights in (("image", projections.image), ("text", projections.text)):
        neurons, width = weights.shape
        values = {
            name: measure.of(weights).nanmean().item()
            for name, measure in MEASURES.items()
            if measure.needs == "weights"
        }
        values |= {name: measure(weights) for name, measure in LAYER_MEASURES.items()}
        references = on_each_core(partial(_reference, neurons=neurons, width=width), values)
        for (name, value), reference in zip(values.items(), references, strict=True):
            yield {
                "null": "gaussian weights",
                "statistic": f"{tower} {name}",
                "value": value,
                "null_mean": reference.mean,
                "null_deviation": reference.sd,
                "z": _z(value, reference.mean, reference.sd),
                "draws": reference.draws,
            }


def _reference(measure: str, *, neurons: int, width: int) -> Reference:
    layers = _NEURON_LAYERS if measure in MEASURES else _SPECTRUM_LAYERS
    return gaussian_reference(measure, neurons, width, draws=layers)


def _against_rotations(
    bench: Bench, values: dict[str, float], rotations: Rotations
) -> Iterator[dict[str, object]]:
    areas = on_each_core(
        lambda draw: bench.in_basis(rotations.bases[draw]).purity_areas(rotations.orders[draw]),
        range(len(rotations.bases)),
    )
    rotated = [
        overlaps | curve_areas
        for overlaps, curve_areas in zip(rotations.overlaps, areas, strict=True)
    ]
    basis = BASES["svd"].of(bench.strategy_input, 0)
    orders, svd = _orders_and_overlaps(rotate(bench.space, basis))
    svd |= bench.in_basis(basis.float()).purity_areas(orders)
    for statistic, value in values.items():
        yield _null_row("rotation", statistic, value, [draw[statistic] for draw in rotated])
        yield _null_row("svd basis", statistic, value, [svd[statistic]])


def _against_shuffles(
    bench: Bench, values: dict[str, float], draws: int
) -> Iterator[dict[str, object]]:
    random = bench.random_orders(draws)
    live = int((~bench.strategy_input.dead).sum())  # dead neurons come last in low purity too
    reverse = torch.cat([random[:, :live].flip(1), random[:, live:]], dim=1)
    gaps = bench.areas_on_each_core(random) - bench.areas_on_each_core(reverse)
    yield _null_row("shuffled purity", "gap", values["gap"], gaps.tolist())
    image, text = _tower_overlaps(bench.space)
    generator = torch.Generator().manual_seed(bench.options.seed)
    shuffled = torch.stack(
        [image[torch.randperm(len(image), generator=generator)] for _ in range(TOWER_SHUFFLES)]
    )
    name = "towers' spearman"
    yield _null_row("shuffled towers", name, values[name], spearman(shuffled, text).tolist())


def _tower_overlaps(
    projections: Projections,
) -> tuple[Float[Tensor, " neuron"], Float[Tensor, " neuron"]]:
    """Return the overlaps in each tower; 0 for a dead neuron."""
    return overlap(projections.image).nan_to_num(), overlap(projections.text).nan_to_num()


def _orders_and_overlaps(
    projections: Projections,
) -> tuple[Int64[Tensor, "2 neuron"], dict[str, float]]:
    """Return the experiment's orders of high and of low purity, and statistics of the overlaps."""
    image, text = _tower_overlaps(projections)
    dead, total = StrategyInput(projections).dead, (image + text) * (projections.neurons - 1)
    return torch.stack([best_first(-total, dead), best_first(total, dead)]), {
        "image overlap": image.mean().item(),
        "text overlap": text.mean().item(),
        "image overlap's spread": image.std().item(),
        "text overlap's spread": text.std().item(),
        "towers' spearman": spearman(image, text).item(),
    }


def _null_row(null: str, statistic: str, value: float, draws: list[float]) -> dict[str, object]:
    tested, drawn = (torch.tensor(values, dtype=torch.float64) for values in (value, draws))
    low, high = percentile_interval(drawn)
    deviation = drawn.std().item() if len(drawn) > 1 else torch.nan
    return {
        "null": null,
        "statistic": statistic,
        "value": value,
        "null_mean": drawn.mean().item(),
        "null_deviation": deviation,
        "null_low": low.item(),
        "null_high": high.item(),
        "z": _z(value, drawn.mean().item(), deviation),
        "percentile": percentile_of(tested, drawn).item(),
        "p": permutation_p(tested, drawn).item(),
        "draws": len(drawn),
    }


def _z(value: float, mean: float, deviation: float) -> float:
    return (value - mean) / deviation if deviation > _ROUNDING else math.nan


def attribution_table(
    measured: Measured, rotations: Rotations | None = None, *, draws: int = ROTATIONS
) -> pd.DataFrame:
    """Measure high minus random as it is, in random bases, and for orders of the same norms.

    Purity is that of the sweep: its space, its measure and its towers.

    Args:
        measured: the sweep of a model on a dataset.
        rotations: rotations of the same projections, if they exist already.
        draws: number of rotations, if none are given, and of orders of the same norms.

    Returns:
        The table `purescope.tables.schemas.ATTRIBUTIONS`: one row for each draw of each null, and
        one row of the null ``none`` for the difference as it is. It has no rows if the sweep has no
        random orders or lacks the strategy high purity.
    """
    if not len(measured.draws) or "high_purity" not in measured.strategies:
        return check_table(pd.DataFrame(columns=list(ATTRIBUTIONS.columns)), ATTRIBUTIONS)
    bench, options = measured.bench, measured.options
    rotations = rotations_of(bench, rotations, draws=draws)
    is_experiments = options.measure == "l1" and options.towers == "both"
    random = bench.random_orders(len(rotations.bases))

    def high_and_random(draw: int) -> Float[Tensor, " 2"]:
        """Return the areas of high purity and of a random order in one basis."""
        basis, high = rotations.bases[draw], rotations.orders[draw, 0]
        rotated = bench.in_basis(basis)
        if not is_experiments:
            space = rotate(bench.space, basis.double())
            data = replace(rotated.strategy_input, projections=space)
            high = best_first(-redundancy(data), data.dead)
        return rotated.areas(torch.stack([high, random[draw]]))

    in_bases = torch.stack(list(on_each_core(high_and_random, range(len(rotations.bases)))))
    baseline = mean_over_k(measured.draws[:, :, 0].mean(0), bench.ks)
    high = bench.purity_orders(options.measure, options.towers)[0]
    same_norms = matched_orders(high, norms_of(bench), draws=draws, seed=options.seed)
    differences = {
        "none": bench.areas(high[None]) - baseline,
        "rotation": in_bases[:, 0] - in_bases[:, 1].mean(),
        "norms": bench.areas_on_each_core(same_norms) - baseline,
    }
    rows = [
        (null, draw, difference)
        for null, of_draws in differences.items()
        for draw, difference in enumerate(of_draws.tolist())
    ]
    table = pd.DataFrame(rows, columns=["null", "draw", "difference"])
    features = measured.features
    return check_table(table.assign(model=features.model, dataset=features.dataset), ATTRIBUTIONS)


def is_cheap(images: int, classes: int, neurons: int, *, draws: int = ROTATIONS) -> bool:
    """Tell whether a sweep measures the attribution unasked: within seconds on two cores.

    Examples:
        >>> is_cheap(images=1_000, classes=100, neurons=512)
        True
        >>> is_cheap(images=50_000, classes=1_000, neurons=512)
        False
    """
    rotating = (images + classes) * neurons**2 + 4 * neurons**3
    return draws * (rotating + 3 * images * classes * neurons) <= _CHEAP


def matched_orders(
    order: Int64[Tensor, " neuron"], norms: Float[Tensor, "tower neuron"], *, draws: int, seed: int
) -> Int64[Tensor, "draw neuron"]:
    """Draw orders that have a neuron of about the same norms at each place of an order.

    Neurons are divided into strata by their norm in the image tower, and each stratum into groups
    of about `GROUP_SIZE` by their norm in the text tower. In each draw the members of a group
    exchange their places at random. Dead neurons, of norm 0 in either tower, keep their places.

    Args:
        order: the order to match.
        norms: norms of each neuron in both towers.
        draws: number of orders.
        seed: seed of the draws.

    Examples:
        >>> order = torch.tensor([3, 1, 0, 2])
        >>> norms = torch.tensor([1.0, 1.0, 1.0, 0.0]).expand(2, -1)
        >>> matched_orders(order, norms, draws=2, seed=0)[:, 0]
        tensor([3, 3])
    """
    generator = torch.Generator().manual_seed(seed)
    groups = norm_groups(norms)
    orders = order.repeat(draws, 1)
    for drawn in orders:
        swapped = torch.arange(len(order))
        for group in groups:
            swapped[group] = group[torch.randperm(len(group), generator=generator)]
        drawn.copy_(swapped[order])
    return orders


def norm_groups(norms: Float[Tensor, "tower neuron"]) -> list[Int64[Tensor, " member"]]:
    """Divide the live neurons into groups of about the same norms in both towers."""
    image, text = norms
    live = ((image > 0) & (text > 0)).nonzero()[:, 0]
    strata = max(1, round(math.sqrt(len(live) / GROUP_SIZE)))
    groups = []
    for stratum in live[image[live].argsort(stable=True)].tensor_split(strata):
        by_text = stratum[text[stratum].argsort(stable=True)]
        groups += by_text.tensor_split(max(1, len(stratum) // GROUP_SIZE))
    return groups


def norms_of(bench: Bench) -> Float[Tensor, "tower neuron"]:
    """Return the norms on which orders are matched, in each tower.

    For weights these are the norms of the rows; for activations, centred or not, a multiple of
    their standard deviations.
    """
    towers = [bench.space.image, bench.space.text]
    if bench.options.space != "weights":
        towers = [
            centre(bench.features.image.T, "image features"),
            centre(bench.features.text.T, "class features"),
        ]
    return torch.stack([tower.double().norm(dim=1) for tower in towers])
