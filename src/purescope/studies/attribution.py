"""Is it purity? High minus random on other axes of the same embedding, and among orders of the same
norms.

What purity is said to do may have other causes. Two nulls take purity away and keep one of them
each:

- ``rotation``: one random (Haar) rotation of both towers. Every logit of the full embedding stays
  what it was, and no axis is special. What the same rule gains or loses there, it owes to the
  embedding and not to the model's own axes.
- ``norms``: random orders in which a neuron of about the same norms, in both towers, stands at each
  place. Purity follows the length of the rows of the weights; what such orders gain or lose is owed
  to the norms.

The statistic is the verdict's: mean accuracy over the ks of high purity, minus that of the random
orders. On random axes a random order keeps a uniformly drawn subspace, whichever the axes are, so
the mean over one such order for each basis is what high purity is compared with in all of them.
"""

import math
from dataclasses import replace

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.maths.bases import rotate
from purescope.maths.curves import mean_over_k
from purescope.maths.overlaps import Projections, centre
from purescope.maths.scores import best_first, redundancy
from purescope.parallel import on_each_core
from purescope.studies.bench import Bench
from purescope.studies.nulls import ROTATIONS, Rotations, rotations_of
from purescope.studies.sweeps import Measured
from purescope.tables.files import check_table
from purescope.tables.schemas import ATTRIBUTIONS

ALIKE = 8  # neurons of about the same norms, which take one another's places

_CHEAP = 4e11  # multiplications that a sweep may spend unasked: about ten seconds on two cores


def attribution_table(
    measured: Measured,
    rotations: Rotations | None = None,
    *,
    draws: int = ROTATIONS,
) -> pd.DataFrame:
    """Measure high minus random as it is and under both nulls:
    `purescope.tables.schemas.ATTRIBUTIONS` as a table.

    Purity is that of the sweep: its space, its measure and its towers.

    Args:
        measured: the sweep of a model on a data set.
        rotations: of the same projections, where they are at hand.
        draws: rotations, if they are not, and orders of the same norms.

    Returns:
        One row for each draw of each null, and one, of the null ``none``, for the difference as it
        is; no rows where the sweep has no random orders or not the strategy high purity.
    """
    columns = list(ATTRIBUTIONS.columns)
    if not len(measured.draws) or "high_purity" not in measured.strategies:
        return check_table(pd.DataFrame(columns=columns), ATTRIBUTIONS)
    bench, options = measured.bench, measured.options
    rotations = rotations_of(bench, rotations, draws=draws)
    of_experiment = options.measure == "l1" and options.towers == "both"
    high = bench.ends(options.measure, options.towers)[0]
    random = bench.random_orders(len(rotations.bases))

    def turned(place: int) -> Float[Tensor, " 2"]:
        """Of high purity and of a random order, on these axes."""
        basis = rotations.bases[place]
        there = bench.in_basis(basis)
        order = (
            rotations.orders[place, 0]
            if of_experiment
            else _high(there, rotate(bench.space, basis.double()))
        )
        return there.areas(torch.stack([order, random[place]]))

    there = torch.stack(list(on_each_core(turned, range(len(rotations.bases)))))
    base = mean_over_k(measured.draws[:, :, 0].mean(0), bench.ks)
    alike = matched_orders(high, norms_of(bench), draws=draws, seed=options.seed)
    found = {
        "none": [float(bench.areas(high[None])[0] - base)],
        "rotation": (there[:, 0] - there[:, 1].mean()).tolist(),
        "norms": (bench.areas_on_each_core(alike) - base).tolist(),
    }
    rows = [
        (null, draw, value) for null, values in found.items() for draw, value in enumerate(values)
    ]
    table = pd.DataFrame(rows, columns=["null", "draw", "difference"])
    return check_table(
        table.assign(model=measured.features.model, dataset=measured.features.dataset), ATTRIBUTIONS
    )


def is_cheap(images: int, classes: int, neurons: int, *, draws: int = ROTATIONS) -> bool:
    """Whether a sweep measures the attribution without being asked: within seconds on two cores.

    Examples:
        >>> is_cheap(images=1_000, classes=100, neurons=512), is_cheap(images=50_000, classes=1_000, neurons=512)
        (True, False)
    """
    rotating = (images + classes) * neurons**2 + 4 * neurons**3
    return draws * (rotating + 3 * images * classes * neurons) <= _CHEAP


def matched_orders(
    order: Int64[Tensor, " neuron"], norms: Float[Tensor, "tower neuron"], *, draws: int, seed: int
) -> Int64[Tensor, "draw neuron"]:
    """Draw orders in which a neuron of about the same norms stands at each place of an order.

    Neurons are parted into strata by their norm in the image tower, and each stratum into groups of
    about `ALIKE` by their norm in the text tower. In each draw the members of a group take one
    another's places at random; dead neurons, of norm 0 in either tower, stay where they are.

    Args:
        order: the order to match.
        norms: of each neuron in both towers.
        draws: how many orders.
        seed: of the draws.

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
    """Part the living neurons into groups of about the same norms in both towers."""
    image, text = norms
    live = ((image > 0) & (text > 0)).nonzero()[:, 0]
    strata = max(1, round(math.sqrt(len(live) / ALIKE)))
    groups = []
    for stratum in live[image[live].argsort(stable=True)].tensor_split(strata):
        groups += stratum[text[stratum].argsort(stable=True)].tensor_split(
            max(1, len(stratum) // ALIKE)
        )
    return groups


def norms_of(bench: Bench) -> Float[Tensor, "tower neuron"]:
    """Give what orders are matched on in each tower.

    Of weights it is the norms of the rows; of activations, centred or not, a multiple of their
    standard deviations.
    """
    if bench.options.space == "weights":
        towers = (bench.space.image, bench.space.text)
    else:
        towers = (
            centre(bench.features.image.T, "image features"),
            centre(bench.features.text.T, "class features"),
        )
    return torch.stack([tower.double().norm(dim=1) for tower in towers])


def _high(rotated: Bench, space: Projections) -> Int64[Tensor, " neuron"]:
    """Return the order of high purity on other axes, by the measure and towers of the sweep."""
    given = replace(rotated.given, projections=space)
    return best_first(-redundancy(given), given.dead)
