"""Does a result hold under other choices? High, low and random with one option of the experiment changed at a time."""

from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from purescope.case import Case, case_of
from purescope.maths.cells import ABLATIONS, ablation_values
from purescope.maths.curves import mean_over_k
from purescope.maths.measures import MEASURES
from purescope.maths.overlaps import Projections
from purescope.maths.scores import TOWERS, StrategyInput
from purescope.maths.significance import percentile_of, permutation_p
from purescope.maths.strategies import STRATEGIES
from purescope.sweep import SPACES, Measured, in_space
from purescope.tables.files import check_table
from purescope.tables.schemas import VARIANTS

VARIANT_DRAWS = 100  # random orders, where those of the sweep were evaluated otherwise


def variant_table(measured: Measured, projections: Projections | None) -> pd.DataFrame:
    """High, low and random with one option of the experiment changed at a time: `purescope.tables.schemas.VARIANTS`.

    Options: the measure of overlap, how the towers are joined, the space, what dropped neurons are set to, and whether
    class features are renormalised; these two do not go together, so where one is not the experiment's the other is not
    varied. The first row is the sweep as it was made.
    """
    case = case_of(measured, projections)
    drawn = measured.draws[:, :, 0]
    swept = mean_over_k(drawn, case.ks)
    measure, towers = measured.options.measure, measured.options.towers
    rows = [_variant(case, "as swept", "", case.ends(measure, towers), swept)]
    for name in MEASURES:
        if name != measure:
            rows.append(_variant(case, "measure", name, case.ends(name, towers), swept))
    for name in TOWERS:
        if name != towers:
            rows.append(_variant(case, "towers", name, case.ends(measure, name), swept))
    for space in SPACES:
        if space != measured.options.space and (space != "weights" or projections is not None):
            there = replace(case, projections=in_space(space, case.features, projections))
            rows.append(_variant(case, "space", space, there.ends(measure, towers), swept))
    given = StrategyInput(case.projections)
    random = torch.stack(
        [STRATEGIES["random"].order(given, measured.options.seed + draw) for draw in range(VARIANT_DRAWS)]
    )
    ends = case.ends(measure, towers)
    for name in ABLATIONS:
        if name != measured.options.ablation and not case.renormalise:
            other = replace(case, dropped=ablation_values(case.features.image, name, seed=measured.options.seed))
            rows.append(_variant(other, "ablation", name, ends, other.areas_on_each_core(random)))
    if case.dropped is None:
        other = replace(case, renormalise=not case.renormalise)
        rows.append(
            _variant(other, "renormalise", str(other.renormalise).lower(), ends, other.areas_on_each_core(random))
        )
    table = pd.DataFrame(rows, columns=list(VARIANTS.columns))
    return check_table(table.assign(model=measured.features.model, dataset=measured.features.dataset), VARIANTS)


def _variant(case: Case, option: str, choice: str, ends: Tensor, random: Tensor) -> dict[str, object]:
    high, low = case.areas(ends)
    row = {"option": option, "choice": choice, "high": high.item(), "low": low.item(), "draws": len(random)}
    if not len(random):
        return row
    return row | {
        "random": random.mean().item(),
        "percentile": percentile_of(high, random).item(),
        "permutation_p": permutation_p(high, random).item(),
    }
