"""What else explains a result? The same statistics where purity can mean nothing.

Nulls take one thing away and leave the rest. Gaussian weights of the same shape have no structure.
A joint rotation of both towers leaves every logit of the full embedding as it is, but gives it
other axes, so other neurons and another purity. Shuffled labels keep the neurons and break the tie
between a neuron and its purity; so do shuffled towers for the agreement of the two.

Whether a result holds under other choices is asked here, too: high, low and random with one option
of the experiment changed at a time (`variant_table`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial

import pandas as pd
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.maths.bases import BASES, random_rotations, rotate
from purescope.maths.cells import ABLATIONS
from purescope.maths.curves import mean_over_k
from purescope.maths.intervals import percentile_interval
from purescope.maths.layer_measures import LAYER_MEASURES, Reference, gaussian_reference
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections, overlap
from purescope.maths.scores import TOWERS, StrategyInput, best_first
from purescope.maths.significance import percentile_of, permutation_p, spearman
from purescope.parallel import on_each_core
from purescope.studies.bench import Bench
from purescope.studies.sweeps import Measured
from purescope.tables.columns import SPACES
from purescope.tables.files import check_table
from purescope.tables.schemas import NULLS, VARIANTS

ROTATIONS = 200
TOWER_SHUFFLES = 1000

_LAYERS, _SPECTRA = (
    20,
    10,
)  # of Gaussian weights, for measures of a neuron and for those that take a spectrum
_ONE = 1e-12  # standard deviations below this are rounding
_bases = lru_cache(maxsize=1)(random_rotations)  # those of the last model serve others of its size


@dataclass(frozen=True, eq=False)
class Rotations:
    """A model's neurons in random bases, which serve every data set.

    Args:
        bases: float32, which is what features are.
        orders: of high and of low purity in each basis.
        overlaps: mean and spread of the overlaps in each, and how the towers' agree.
    """

    bases: Float[Tensor, "draw neuron neuron"]
    orders: Int64[Tensor, "draw 2 neuron"]
    overlaps: list[dict[str, float]]


def rotate_model(projections: Projections, *, draws: int = ROTATIONS, seed: int = 0) -> Rotations:
    """Random rotations of both projections together: other axes for the same logits.

    All bases are kept, 4 d^2 bytes each: 210 MB for 200 of 512 neurons.
    """
    bases = _bases(projections.neurons, draws, seed)

    def turn(basis: Tensor) -> tuple[Tensor, dict[str, float]]:
        return _by_overlap(rotate(projections, basis))

    ends, overlaps = zip(*on_each_core(turn, bases), strict=True)
    return Rotations(bases, torch.stack(ends), list(overlaps))


_rotate_weights = lru_cache(maxsize=16)(rotate_model)  # a model is turned once for all data sets


def rotations_of(bench: Bench, at_hand: Rotations | None, *, draws: int) -> Rotations:
    """Give the rotations of a sweep: those at hand if they are of its weights, or made for it.

    Those of activations hold the features they are of, which no other data set has: they are not
    kept.
    """
    options = bench.options
    if options.space != "weights":
        return rotate_model(bench.space, draws=draws, seed=options.seed)
    return at_hand or _rotate_weights(bench.space, draws=draws, seed=options.seed)


def null_table(
    measured: Measured,
    rotations: Rotations | None = None,
    *,
    attributions: pd.DataFrame | None = None,
    draws: int = ROTATIONS,
) -> pd.DataFrame:
    """What purity and the pruning curves are, held against nulls: the table
    `purescope.tables.schemas.NULLS`.

    - ``gaussian weights``: every measure of weights, as the mean over neurons and of the whole
      layer, for each tower.
    - ``rotation``: mean overlap and its spread over the neurons for each tower, Spearman's
      correlation of the towers' overlaps, and the areas under the curves of high and low purity and
      between them, against random rotations; and the difference of high purity and random orders,
      if its attribution is at hand.
    - ``svd basis``: the same in the one basis of the singular vectors.
    - ``shuffled purity``: the area between high and low purity, against that of a random order and
      its reverse.
    - ``shuffled towers``: Spearman's correlation of the towers' overlaps, against one tower's
      neurons renumbered.

    Purity is the experiment's here, by l1 and of both towers, whatever the sweep was made by.

    Args:
        measured: the sweep of a model on a data set.
        rotations: of the same projections, where they are at hand.
        attributions: of the same sweep, see `purescope.studies.attribution.attribution_table`; its
            purity is the sweep's.
        draws: rotations, if they are not, and shuffles of purity.
    """
    bench = measured.bench
    rotations = rotations_of(bench, rotations, draws=draws)
    ends, found = _by_overlap(bench.space)
    found |= bench.areas_of_ends(ends)
    rows = [
        *(_against_gaussian(bench.space) if measured.options.space == "weights" else ()),
        *_against_rotations(bench, found, rotations),
        *_of_attribution(attributions),
        *_against_shuffles(bench, found, draws),
    ]
    table = pd.DataFrame(rows, columns=list(NULLS.columns))
    return check_table(
        table.assign(model=measured.features.model, dataset=measured.features.dataset), NULLS
    )


def _against_gaussian(projections: Projections) -> Iterator[dict[str, object]]:
    for tower, projection in (("image", projections.image), ("text", projections.text)):
        values = {
            name: m.of(projection).nanmean().item()
            for name, m in MEASURES.items()
            if m.needs == "weights"
        }
        values |= {name: measure(projection) for name, measure in LAYER_MEASURES.items()}
        shape = projection.shape
        references = on_each_core(partial(_reference, neurons=shape[0], width=shape[1]), values)
        for (name, value), reference in zip(values.items(), references, strict=True):
            yield {
                "null": "gaussian weights",
                "statistic": f"{tower} {name}",
                "value": value,
                "null_mean": reference.mean,
                "null_deviation": reference.sd,
                "z": (value - reference.mean) / reference.sd if reference.sd > _ONE else torch.nan,
                "draws": reference.draws,
            }


def _reference(measure: str, *, neurons: int, width: int) -> Reference:
    return gaussian_reference(
        measure, neurons, width, draws=_LAYERS if measure in MEASURES else _SPECTRA
    )


def _against_rotations(
    bench: Bench, value: dict[str, float], rotations: Rotations
) -> Iterator[dict[str, object]]:
    areas = on_each_core(
        lambda at: bench.in_basis(rotations.bases[at]).areas_of_ends(rotations.orders[at]),
        range(len(rotations.bases)),
    )
    drawn = [
        overlaps | of_curves for overlaps, of_curves in zip(rotations.overlaps, areas, strict=True)
    ]
    basis = BASES["svd"].of(StrategyInput(bench.space), 0)
    ends, svd = _by_overlap(rotate(bench.space, basis))
    svd |= bench.in_basis(basis.float()).areas_of_ends(ends)
    for statistic in value:
        yield _row("rotation", statistic, value[statistic], [draw[statistic] for draw in drawn])
        yield _row("svd basis", statistic, value[statistic], [svd[statistic]])


def _of_attribution(attributions: pd.DataFrame | None) -> Iterator[dict[str, object]]:
    """The verdict's statistic among its rotations."""
    if attributions is not None and len(attributions):
        value, drawn = (
            attributions[attributions.null == null].difference.tolist()
            for null in ("none", "rotation")
        )
        yield _row("rotation", "high minus random", value[0], drawn)


def _against_shuffles(
    bench: Bench, value: dict[str, float], draws: int
) -> Iterator[dict[str, object]]:
    random = bench.random_orders(draws)
    live = int((~bench.given.dead).sum())  # the dead stand last in low purity too
    reverse = torch.cat([random[:, :live].flip(1), random[:, live:]], dim=1)
    gaps = bench.areas_on_each_core(random) - bench.areas_on_each_core(reverse)
    yield _row("shuffled purity", "gap", value["gap"], gaps.tolist())
    image, text = _towers(bench.space)
    generator = torch.Generator().manual_seed(bench.options.seed)
    shuffled = torch.stack(
        [image[torch.randperm(len(image), generator=generator)] for _ in range(TOWER_SHUFFLES)]
    )
    agreement = spearman(shuffled, text).tolist()
    yield _row("shuffled towers", "towers' spearman", value["towers' spearman"], agreement)


def _towers(projections: Projections) -> tuple[Float[Tensor, " neuron"], Float[Tensor, " neuron"]]:
    """Overlap in each tower; a dead neuron overlaps with nothing."""
    return overlap(projections.image).nan_to_num(), overlap(projections.text).nan_to_num()


def _by_overlap(projections: Projections) -> tuple[Int64[Tensor, "2 neuron"], dict[str, float]]:
    """The experiment's orders of high and of low purity, and what the towers' overlaps are."""
    image, text = _towers(projections)
    dead, total = StrategyInput(projections).dead, (image + text) * (projections.neurons - 1)
    return torch.stack([best_first(-total, dead), best_first(total, dead)]), {
        "image overlap": image.mean().item(),
        "text overlap": text.mean().item(),
        "image overlap's spread": image.std().item(),
        "text overlap's spread": text.std().item(),
        "towers' spearman": spearman(image, text).item(),
    }


def _row(null: str, statistic: str, value: float, draws: list[float]) -> dict[str, object]:
    drawn, one = torch.tensor(draws, dtype=torch.float64), torch.tensor(value, dtype=torch.float64)
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
        "z": (value - drawn.mean().item()) / deviation if deviation > _ONE else torch.nan,
        "percentile": percentile_of(one, drawn).item(),
        "p": permutation_p(one, drawn).item(),
        "draws": len(drawn),
    }


VARIANT_DRAWS = 100  # random orders, where those of the sweep were evaluated otherwise


def variant_table(measured: Measured) -> pd.DataFrame:
    """Evaluate high, low and random with one option of the experiment changed at a time.

    Options: the measure of overlap, how the towers are joined, the space, what dropped neurons are
    set to, and whether class features are renormalised. The last two do not go together, so where
    one is not the experiment's the other is not varied. The first row is the sweep as it was made.

    Returns:
        The table `purescope.tables.schemas.VARIANTS`.
    """
    bench, options = measured.bench, measured.options
    swept = mean_over_k(measured.draws[:, :, 0], bench.ks)
    ends = bench.ends(options.measure, options.towers)
    rows = [_variant(bench, "as swept", "", ends, swept)]
    for name in MEASURES:
        if name != options.measure:
            others = bench.ends(name, options.towers)
            rows.append(_variant(bench, "measure", name, others, swept))
    for name in TOWERS:
        if name != options.towers:
            others = bench.ends(options.measure, name)
            rows.append(_variant(bench, "towers", name, others, swept))
    for space in SPACES:
        if space != options.space and (space != "weights" or bench.projections is not None):
            others = bench.with_options(space=space).ends(options.measure, options.towers)
            rows.append(_variant(bench, "space", space, others, swept))
    random = bench.random_orders(VARIANT_DRAWS)
    evaluations: list[tuple[str, str, dict[str, object]]] = []
    if not options.renormalise:
        others_of = [name for name in ABLATIONS if name != options.ablation]
        evaluations += [("ablation", name, {"ablation": name}) for name in others_of]
    if options.ablation == "zero":
        renormalise = not options.renormalise
        change: dict[str, object] = {"renormalise": renormalise}
        evaluations.append(("renormalise", str(renormalise).lower(), change))
    for option, choice, change in evaluations:
        other = bench.with_options(**change)
        rows.append(_variant(other, option, choice, ends, other.areas_on_each_core(random)))
    table = pd.DataFrame(rows, columns=list(VARIANTS.columns))
    return check_table(
        table.assign(model=measured.features.model, dataset=measured.features.dataset), VARIANTS
    )


def _variant(
    bench: Bench, option: str, choice: str, ends: Tensor, random: Tensor
) -> dict[str, object]:
    high, low = bench.areas(ends)
    row = {
        "option": option,
        "choice": choice,
        "high": high.item(),
        "low": low.item(),
        "draws": len(random),
    }
    if not len(random):
        return row
    return row | {
        "random": random.mean().item(),
        "percentile": percentile_of(high, random).item(),
        "permutation_p": permutation_p(high, random).item(),
    }
