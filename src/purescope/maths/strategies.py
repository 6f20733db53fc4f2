"""The strategies, and the table of their names."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from purescope.errors import InputError, near_miss
from purescope.maths.measures import variance
from purescope.maths.overlaps import Projections, cosine_gram, side_by_side
from purescope.maths.scores import (
    TIE_DECIMALS,
    Order,
    StrategyInput,
    best_first,
    dead_last,
    join_towers,
    redundancy,
    relative,
)

# The weight of inter-class similarity against variance, as in APE's published settings.
APE_SIMILARITY = 0.2


@dataclass(frozen=True)
class Strategy:
    """A row of `STRATEGIES`.

    Args:
        order: the function from a strategy's input and a seed to an order; only a `seeded` strategy
            uses the seed.
        needs: ``weights``, ``features`` (of images and classes) or ``labels`` (and features).
        seeded: whether there is a different order for each seed.
        what: a description in one line, with its source.
    """

    order: Callable[[StrategyInput, int], Order]
    needs: str
    seeded: bool
    what: str


def high_purity(given: StrategyInput, seed: int = 0) -> Order:
    """Order by redundancy, smallest first: by default the experiment's "Min Sparse", by total
    overlap.
    """
    return best_first(-redundancy(given), given.dead)


def low_purity(given: StrategyInput, seed: int = 0) -> Order:
    """Order by redundancy, largest first: by default the experiment's "Max Sparse", by total
    overlap.
    """
    return best_first(redundancy(given), given.dead)


def random(given: StrategyInput, seed: int = 0) -> Order:
    """Draw a uniform random order of the live neurons; a seed gives the same order on every
    machine.
    """
    generator = torch.Generator().manual_seed(seed)
    return dead_last(torch.randperm(given.neurons, generator=generator), given.dead)


def first_k(given: StrategyInput, seed: int = 0) -> Order:
    """Order by index."""
    return dead_last(torch.arange(given.neurons), given.dead)


def weight_norm(given: StrategyInput, seed: int = 0) -> Order:
    """Order by ``|I_j| |T_j|``, largest first: the most a neuron can add to a logit.

    This is for inputs of unit norm.
    """
    image, text = (_log_norms(tower) for tower in (given.projections.image, given.projections.text))
    return best_first(image + text, given.dead)


def activation_variance(given: StrategyInput, seed: int = 0) -> Order:
    """Order by variance over the images, largest first."""
    image, _ = given.features("activation_variance")
    return best_first(relative(variance(image)), given.dead)


def greedy_purity(given: StrategyInput, seed: int = 0) -> Order:
    """Drop the neuron that overlaps most with the remaining ones, repeatedly; the last is kept
    first.

    Of two nearly parallel neurons one stays, where `high_purity` drops both. Dropping a neuron
    removes one term from each sum, so the whole order costs O(d^2). Overlap is the mean
    ``|cosine|``, which is such a sum.

    Raises:
        InputError: the measure is not the overlap.
    """
    if given.measure != "l1":
        raise InputError(
            f"greedy_purity with the measure {given.measure!r}",
            expected="'l1', a sum of |cosine| that loses one term with each dropped neuron",
        )
    towers = (given.projections.image, given.projections.text)
    overlaps = torch.stack([cosine_gram(tower).abs().fill_diagonal_(0) for tower in towers])
    dead = given.dead
    overlaps[:, :, dead] = 0
    kept = (~dead).nonzero()[:, 0]
    sums = overlaps.sum(dim=2)
    dropped = []
    while len(kept):
        joined = join_towers(sums[0, kept], sums[1, kept], given.towers)
        joined = joined.round(decimals=TIE_DECIMALS)
        place = len(kept) - 1 - int(joined.flip(0).argmax())  # the last of equal ones
        worst = kept[place]
        dropped.append(worst)
        kept = torch.cat([kept[:place], kept[place + 1 :]])
        sums = sums - overlaps[:, :, worst]
    return torch.tensor([*dropped[::-1], *dead.nonzero()[:, 0]], dtype=torch.int64)


def pivoted_qr(given: StrategyInput, seed: int = 0) -> Order:
    """Take next the neuron furthest from the span of those already taken (Businger and Golub 1965).

    This is a column subset selection on both towers side by side, each scaled to Frobenius norm 1.
    Neurons within that span, up to rounding, come last by index.
    """
    stacked = side_by_side(given.projections)
    # Rows with the same products of any two, in at most d columns.
    rows = torch.linalg.qr(stacked.T, mode="r").R.T.contiguous()
    distances = rows.square().sum(dim=1)
    scale = distances.max().where(distances.max() > 0, 1.0)
    distances[given.dead] = -1
    order = []
    for _ in range(given.neurons):
        pivot = int((distances / scale).round(decimals=TIE_DECIMALS).argmax())
        order.append(pivot)
        direction = rows[pivot] / rows[pivot].norm().clamp(min=torch.finfo(rows.dtype).tiny)
        rows = torch.addr(rows, rows @ direction, direction, alpha=-1)
        distances = torch.where(distances < 0, distances, rows.square().sum(dim=1))
        distances[pivot] = -math.inf
    return dead_last(torch.tensor(order), given.dead)


def ape(given: StrategyInput, seed: int = 0) -> Order:
    """Order by how much the class features differ between classes, by the criterion of APE.

    ``-0.2 S_j + 0.8 V_j``. S is the mean over pairs of classes of the product of their features,
    and V the variance over classes (Zhu et al., "Not All Features Matter: Enhancing Few-shot CLIP
    with Adaptive Prior Refinement", ICCV 2023). The weights are those of its published code for
    text features alone; with images the code has 0.1 to 0.9, depending on the dataset. With s the
    sum over C classes and q the sum of squares, the mean over pairs is ``(s^2 - q) / (C (C - 1))``.

    Raises:
        InputError: there is only one class.
    """
    _, text = given.features("ape")
    classes = len(text)
    if classes < 2:
        raise InputError(
            "ape for one class", expected="at least two classes, which neurons can distinguish"
        )
    rows = text.double()
    similarity = (rows.sum(dim=0).square() - rows.square().sum(dim=0)) / (classes * (classes - 1))
    score = -APE_SIMILARITY * similarity + (1 - APE_SIMILARITY) * rows.var(dim=0)
    return best_first(relative(score), given.dead)


def importance(given: StrategyInput, seed: int = 0) -> Order:
    """Order by how much the loss rises without the neuron, largest first, on the labelled images
    given.

    Evaluate on other, held-out images. See `purescope.maths.leave_one_out.leave_one_out`. Accuracy
    alone changes in steps of one image and leaves most neurons equal.
    """
    from purescope.maths.leave_one_out import leave_one_out

    without = leave_one_out(*given.labelled("importance"), scale=given.scale)
    return best_first(without.loss_change, given.dead)


STRATEGIES: dict[str, Strategy] = {
    "high_purity": Strategy(
        high_purity, "weights", False, "smallest overlap first: the experiment's Min Sparse"
    ),
    "low_purity": Strategy(
        low_purity, "weights", False, "largest overlap first: the experiment's Max Sparse"
    ),
    "random": Strategy(random, "weights", True, "a uniform draw for each seed"),
    "weight_norm": Strategy(
        weight_norm, "weights", False, "largest product of the towers' weight norms first"
    ),
    "activation_variance": Strategy(
        activation_variance, "features", False, "largest variance over images first"
    ),
    "first_k": Strategy(first_k, "weights", False, "by index"),
    "greedy_purity": Strategy(
        greedy_purity,
        "weights",
        False,
        "overlap recomputed among the kept neurons; one of two parallel ones stays",
    ),
    "pivoted_qr": Strategy(
        pivoted_qr,
        "weights",
        False,
        "furthest from the span of those already taken (Businger and Golub 1965)",
    ),
    "ape": Strategy(
        ape,
        "features",
        False,
        "class features that differ between classes first (APE, Zhu et al. 2023)",
    ),
    "importance": Strategy(
        importance, "labels", False, "largest rise of the loss without the neuron first"
    ),
}


def order_neurons(
    projections: Projections,
    strategy: str = "high_purity",
    *,
    seed: int = 0,
    measure: str = "l1",
    towers: str = "both",
    image: Float[Tensor, "image neuron"] | None = None,
    text: Float[Tensor, "class neuron"] | None = None,
    labels: Int[Tensor, " image"] | None = None,
) -> Order:
    """Return the order of a strategy in `STRATEGIES`: ``[neuron]`` int64, a permutation of 0 ..
    d-1.

    Args:
        projections: projections of both towers.
        strategy: ``high_purity``, ``low_purity``, ``random`` or another name in the table.
        seed: seed of the random order; the other strategies have only one order.
        measure: the measure of purity strategies, a name in `purescope.maths.measures.MEASURES`.
        towers: how purity strategies join the towers: ``both`` (the sum of the two scores, as in
            the experiment), ``image``, ``text``, ``z_sum`` or ``rank_mean``.
        image, text, labels: features and labels for strategies and measures that need them.

    Returns:
        The first k entries are the neurons to keep. Dead neurons, of norm zero, come last.

    Raises:
        InputError: a name is unknown, or data that the strategy needs is missing or does not fit.

    Warns:
        UserWarning: some neurons are dead.

    Examples:
        Neurons 0 and 1 enclose 45 degrees, neuron 2 is orthogonal to both:

        >>> image = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
        >>> order_neurons(Projections(image, image), "high_purity")
        tensor([2, 0, 1])
    """
    if strategy not in STRATEGIES:
        raise InputError(f"unknown strategy {strategy!r}", **near_miss(strategy, STRATEGIES))
    given = StrategyInput(
        projections, image=image, text=text, labels=labels, measure=measure, towers=towers
    )
    dead = int(given.dead.sum())
    if dead:
        warnings.warn(
            f"{dead} of {projections.neurons} neurons have norm zero and rank last", stacklevel=2
        )
    return STRATEGIES[strategy].order(given, seed)


def _log_norms(projection: Float[Tensor, "neuron width"]) -> Float[Tensor, " neuron"]:
    """Return the log of each row's norm; -inf for a dead neuron.

    The largest entry is factored out first, because squares of very small or large weights overflow
    or underflow.
    """
    rows = projection.detach().double()
    largest = rows.abs().amax(dim=1)
    scaled = rows / largest.where(largest > 0, 1.0)[:, None]
    norms: Tensor = largest.log() + scaled.norm(dim=1).log()
    return norms
