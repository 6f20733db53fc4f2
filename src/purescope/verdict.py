"""What a sweep says about the experiment's claim, in two parts: the outcome, and whether it is purity that does it.

The claim: high-purity neurons keep more accuracy than random ones, and more than low-purity ones. What is tested is the
mean accuracy over the ks (the area under the curve), once for each data set, so no k is picked. A choice of neurons is
*above* random where two things hold: among the random orders it stands so far up that the permutation p-value is at
most 5 %, and its difference from random is above 0 in the whole 95 % interval over images; *below* likewise. It is
above another choice where the whole interval of their difference is, and where the difference is extreme among those of
a random order and its reverse, which is what two ends of a ranking are: for as many neurons of equal worth, twice what
one random order differs from their mean.

The **outcome**:

- *both ends lose*, *both ends win*: high and low purity are both below, or both above, random, whichever is further;
- *supported*: else, high purity is above random and above low purity;
- *contradicted*: else, it is below random and below low purity;
- *not decided*: all else, with the smallest difference that such data would have shown (`Finding.detectable`);
- *at chance*, *below chance*: the model's accuracy with all neurons cannot be told from guessing, or is worse. Such a
  data set takes no part in anything that is said of several.

The **attribution** asks whether purity is the reason, by the nulls of `purescope.attribution`: high minus random lies
*beyond both*, or it is *explained by norms*, or *any axes do the same*; or it was *not asked*.

Over the data sets of a model the p-values are Holm's, so that one false word in all of them has a chance of 5 %; the
word for all of them together comes from the mean over them, which is one test.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from purescope.comparison import AREA, Difference, points, pooled_difference, pooled_p
from purescope.errors import InputError
from purescope.formats import definitions
from purescope.maths.curves import mean_over_k
from purescope.maths.intervals import NORMAL_975
from purescope.maths.significance import against_chance, holm, permutation_p
from purescope.tables.files import check_table
from purescope.tables.schemas import VERDICTS

LEVEL = 0.05
ALL = ""  # the data sets of a model together; no single one has this name
AT_CHANCE = {"at chance": "cannot be told from chance", "below chance": "is below chance"}
NOT_ASKED = "not asked"

_NORMAL_80 = 0.8416212335729143  # quantile of the normal distribution: four of five are found
_SAME = ("sets", "outcome", "attribution", "p", "low_p", "ends_p", "detectable", "draws")  # in a finding and in its row
_MEANS = {
    "supported": "high-purity neurons keep more than random and than low-purity ones: the claim is supported",
    "contradicted": "high-purity neurons keep less than random and than low-purity ones: the claim is contradicted",
    "both ends lose": "the purest and the least pure neurons both keep less than random ones",
    "both ends win": "the purest and the least pure neurons both keep more than random ones",
    "not decided": "whether high-purity neurons keep more is not decided by this data",
    "at chance": "accuracy with all neurons cannot be told from chance: nothing can be said of its neurons",
    "below chance": "accuracy with all neurons is below chance: nothing can be said of its neurons",
}
_BECAUSE = {
    "beyond both": "Neither other axes nor orders of the same norms do as much: it is purity, or goes with it.",
    "explained by norms": "Random orders of the same norms do as much: the norms explain it, not purity.",
    "any axes do the same": "The same rule does as much on random axes: it is no mark of this model's neurons.",
    NOT_ASKED: "Whether it is purity that does it was not asked; `purescope sweep --rotations 200` does, as `purescope "
    "evidence`.",
}


@dataclass(frozen=True)
class Null:
    """High minus random under one of the nulls.

    Args:
        mean: over the draws.
        p: of the difference as it is, among the draws; two-sided.
        draws: how many.
    """

    mean: float
    p: float
    draws: int


@dataclass(frozen=True)
class Finding:
    """What one test of the claim found.

    Args:
        about: the data set, or `ALL` for those of a model together.
        sets: how many data sets count.
        outcome: one of `purescope.tables.columns.OUTCOMES`.
        attribution: one of `purescope.tables.columns.ATTRIBUTED`.
        over_random: high purity minus the mean of the random orders.
        over_low: high minus low purity.
        low_over_random: low purity minus the mean of the random orders.
        p, low_p: permutation p-values of high and of low purity among the random orders, two-sided, adjusted where
            they are some of several.
        ends_p: the same of high minus low purity, among random orders and their reverses; not adjusted.
        detectable: the difference from random that is found in four of five such data sets.
        draws: random orders.
        rotation, norms: the nulls of the attribution; None where they were not asked.
    """

    about: str
    sets: int
    outcome: str
    attribution: str
    over_random: Difference
    over_low: Difference
    low_over_random: Difference
    p: float
    low_p: float
    ends_p: float
    detectable: float
    draws: int
    rotation: Null | None = None
    norms: Null | None = None


@dataclass(frozen=True)
class Verdict:
    """What the data sets of one model say about the claim, each alone and all together."""

    model: str
    overall: Finding
    by_dataset: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """The verdict in words, and what it rests on."""
        return f"{self.claim} {self.evidence}"

    @property
    def claim(self) -> str:
        """The verdict in one or two sentences, with no number but what could have been found."""
        return f"{self.model}: {self.said}"

    @property
    def said(self) -> str:
        """The claim without the model's name."""
        return f"{_MEANS[self.overall.outcome]}.{self._because}"

    @property
    def evidence(self) -> str:
        """The numbers, what they are over, and what each data set says."""
        if self.overall.outcome in AT_CHANCE:
            return self._left_out.strip()
        about = self._about
        return f"Over all k and {about}, {self.numbers}{self._each}{self._few}{self._left_out}"

    @property
    def numbers(self) -> str:
        """What was found over all data sets, and which spread is that of images and which that of random orders."""
        found = self.overall
        return (
            f"high purity minus random is {found.over_random}, high minus low is {found.over_low}, low minus random is "
            f"{found.low_over_random}: 95 % intervals, over images. Among {found.draws:,} random orders, high purity "
            f"has p = {found.p:.2g}, low purity p = {found.low_p:.2g}.{self._nulls}{self._torn}"
        )

    def _repr_html_(self) -> str:
        findings = self.by_dataset if len(self.by_dataset) == 1 else (self.overall, *self.by_dataset)
        entries = {self._name(each): self._entry(each) for each in findings}
        return definitions(f"{self.model}: high-purity neurons keep more?", entries)

    def _name(self, found: Finding) -> str:
        return self._about if found is self.overall and len(self.by_dataset) > 1 else found.about

    @staticmethod
    def _entry(found: Finding) -> str:
        if found.outcome in AT_CHANCE:
            return found.outcome
        return (
            f"{found.outcome}; attribution: {found.attribution}; minus random {found.over_random}, p = {found.p:.2g}; "
            f"minus low {found.over_low}"
        )

    @property
    def counted(self) -> list[Finding]:
        """Those of data sets that are above chance."""
        return [found for found in self.by_dataset if found.outcome not in AT_CHANCE]

    @property
    def _about(self) -> str:
        counted = self.counted
        return counted[0].about if len(counted) == 1 else f"{len(counted)} data sets"

    @property
    def _because(self) -> str:
        outcome = self.overall.outcome
        if outcome in AT_CHANCE:
            return ""
        if outcome == "not decided":
            return f" A difference of {points(self.overall.detectable)[1:]} points would be found in 80 % of such data."
        return f" {_BECAUSE[self.overall.attribution]}"

    @property
    def _nulls(self) -> str:
        rotation, norms = self.overall.rotation, self.overall.norms
        if rotation is None or norms is None:
            return ""
        return (
            f" On {rotation.draws:,} random axes high purity minus random is {points(rotation.mean)} points "
            f"(p = {rotation.p:.2g} of the difference as it is), in {norms.draws:,} orders of the same norms "
            f"{points(norms.mean)} (p = {norms.p:.2g})."
        )

    @property
    def _each(self) -> str:
        counted = self.counted
        if len(counted) < 2:
            return ""
        names: dict[str, list[str]] = {}
        for found in counted:
            names.setdefault(found.outcome, []).append(found.about)
        undecided = names.pop("not decided", [])
        said = [f"{outcome} on {', '.join(about)}" for outcome, about in names.items()]
        said += [f"not decided on {len(undecided) if said else 'any'}"] if undecided else []
        return f" By data set: {', '.join(said)}."

    @property
    def _left_out(self) -> str:
        left = [found for found in self.by_dataset if found.outcome in AT_CHANCE]
        said = ", ".join(f"{found.about} (accuracy {AT_CHANCE[found.outcome]})" for found in left)
        return f" Left out: {said}." if said else ""

    @property
    def _torn(self) -> str:
        """Why nothing is decided where one of the two, images and random orders, says yes and the other does not."""
        found = self.overall
        apart = found.over_random.low > 0 or found.over_random.high < 0
        if 2 / (found.draws + 1) > LEVEL:  # no p can be smaller
            return f" {found.draws:,} random orders are too few to decide: use more draws."
        if apart and found.p > LEVEL:
            return " Other images would say the same of this choice, and as many random choices differ as much."
        if not apart and found.p <= LEVEL:
            return " Few random choices differ as much, and other images may say otherwise."
        if apart and found.outcome == "not decided" and found.ends_p > LEVEL:
            return " The two ends are as far apart in many a random ranking."
        return ""

    @property
    def _few(self) -> str:
        draws, counted = self.overall.draws, len(self.counted)
        least = 2 / (draws + 1)  # the smallest p there can be
        if least > LEVEL or counted * least <= LEVEL:
            return ""
        return f" {draws:,} random orders are too few to decide on single data sets: use more draws."


def judge(
    table: pd.DataFrame, comparisons: pd.DataFrame, attributions: pd.DataFrame | None = None, *, model: str
) -> Verdict:
    """The verdict on one model from a result table, its comparisons and its attributions.

    Args:
        table: as `purescope.sweep` makes it; the random orders are read from it.
        comparisons: as `purescope.comparison.compare_strategies` makes them, adjusted over the data sets.
        attributions: as `purescope.attribution.attribution_table` makes them; without them the attribution is *not
            asked*.
        model: its label.

    Raises:
        InputError: the tables hold no comparison of high purity with random orders and with low purity.
    """
    areas = comparisons[(comparisons.model == model) & (comparisons.k == AREA)]
    wanted = {("high_purity", "random"), ("high_purity", "low_purity"), ("low_purity", "random")}
    if not wanted <= set(zip(areas["first"], areas["second"], strict=True)):
        raise InputError(
            f"no comparison of high purity with random orders and with low purity for {model!r}",
            fix="run the sweep with both strategies and with --draws 1 or more",
        )
    table = table[(table.model == model) & (table.metric == "accuracy")]
    stands = chance_of(table, model)
    counted = [name for name, where in stands.items() if where == "above"]
    found = _Areas(table, areas, attributions, model, counted)
    findings = tuple(
        found.finding(name, [name]) if where == "above" else _at_chance(name, where) for name, where in stands.items()
    )
    if len(counted) == 1:
        return Verdict(model, findings[list(stands).index(counted[0])], findings)
    if not counted:
        return Verdict(model, findings[0], findings)
    return Verdict(model, found.finding(ALL, counted), findings)


def chance_of(table: pd.DataFrame, model: str) -> dict[str, str]:
    """Where the accuracy of all neurons stands on each data set: above chance, at chance or below chance.

    See `purescope.maths.significance.against_chance`; a table without rows of all neurons says "above" of every set.
    """
    rows = table[(table.model == model) & (table.metric == "accuracy")]
    stands = dict.fromkeys(map(str, rows.dataset.unique()), "above")
    for row in rows[rows.strategy == "full"].itertuples():
        stands[str(row.dataset)] = against_chance(float(row.value), float(row.chance), int(row.n))  # type: ignore[arg-type]
    return stands


def above_chance(table: pd.DataFrame, model: str) -> list[str]:
    """The data sets that count: those on which the accuracy of all neurons is above chance."""
    return [name for name, where in chance_of(table, model).items() if where == "above"]


def verdicts_of(
    table: pd.DataFrame, comparisons: pd.DataFrame, attributions: pd.DataFrame | None = None
) -> list[Verdict]:
    """The verdict on each model of a table that has random orders and both purities."""
    if not {"random", "high_purity", "low_purity"} <= set(table.strategy):
        return []
    return [judge(table, comparisons, attributions, model=str(model)) for model in table.model.unique()]


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Verdicts as the table `purescope.tables.schemas.VERDICTS`: a row for each data set, and one for all of a
    model.
    """
    rows = [
        _row(verdict.model, about, found)
        for verdict in verdicts
        for about, found in ((ALL, verdict.overall), *((each.about, each) for each in verdict.by_dataset))
    ]
    return check_table(pd.DataFrame(rows, columns=list(VERDICTS.columns)), VERDICTS)


def read_verdicts(table: pd.DataFrame) -> list[Verdict]:
    """The verdicts that a table of them holds, to be told in words."""
    found = []
    for model, rows in table.groupby("model", sort=False):
        overall, *by_dataset = (_found(row) for row in rows.to_dict("records"))
        found.append(Verdict(str(model), overall, tuple(by_dataset)))
    return found


@dataclass(frozen=True)
class _Areas:
    """One model's areas, to be judged alone or together."""

    table: pd.DataFrame
    areas: pd.DataFrame
    attributions: pd.DataFrame | None
    model: str
    counted: list[str]

    @cached_property
    def _pairs(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The areas of each pair of strategies."""
        return {(str(first), str(second)): rows for (first, second), rows in self.areas.groupby(["first", "second"])}

    @cached_property
    def _random(self) -> pd.DataFrame:
        """Accuracy of the random orders: a row for each data set and draw, a column for each k."""
        rows = self.table[self.table.strategy == "random"]
        return rows.pivot(index=["dataset", "draw"], columns="k", values="value")

    def finding(self, about: str, sets: list[str]) -> Finding:
        """What these data sets say together."""
        over_random, over_low, low_over_random = (
            pooled_difference(self._rows(first, second, sets))
            for first, second in (("high_purity", "random"), ("high_purity", "low_purity"), ("low_purity", "random"))
        )
        p, low_p = (self._p(name, sets) for name in ("high_purity", "low_purity"))
        random = self._random_areas(sets)
        ends_p = float(permutation_p(torch.tensor(over_low.value).double(), 2 * (random - random.mean())))
        rotation, norms = self._null("rotation", sets), self._null("norms", sets)
        return Finding(
            about=about,
            sets=len(sets),
            outcome=_outcome(over_random, over_low, low_over_random, p, low_p, ends_p),
            attribution=_attribution(over_random.value, rotation, norms),
            over_random=over_random,
            over_low=over_low,
            low_over_random=low_over_random,
            p=p,
            low_p=low_p,
            ends_p=ends_p,
            detectable=_detectable(over_random, random),
            draws=int(self._rows("high_purity", "random", sets).draws.min()),
            rotation=rotation,
            norms=norms,
        )

    def _rows(self, first: str, second: str, sets: list[str]) -> pd.DataFrame:
        rows = self._pairs[first, second]
        return rows[rows.dataset.isin(sets)]

    def _p(self, strategy: str, sets: list[str]) -> float:
        """Of one data set Holm's p over all that count; of several that of their mean."""
        if len(sets) > 1:
            rows = self.table[self.table.dataset.isin(sets)]
            return pooled_p(rows, model=self.model, strategy=strategy)
        rows = self._rows(strategy, "random", self.counted)
        adjusted = holm(torch.tensor(rows.permutation_p.tolist(), dtype=torch.float64))
        return float(adjusted[rows.dataset.tolist().index(sets[0])])

    def _null(self, null: str, sets: list[str]) -> Null | None:
        """One of the nulls: the mean over the data sets, draw by draw."""
        if self.attributions is None:
            return None
        rows = self.attributions[(self.attributions.model == self.model) & self.attributions.dataset.isin(sets)]
        means = {
            which: rows[rows.null == which].groupby("draw").difference.agg(["mean", "count"])
            for which in ("none", null)
        }
        if any(len(of) == 0 or bool((of["count"] < len(sets)).any()) for of in means.values()):
            return None
        value, draws = (torch.tensor(of["mean"].tolist(), dtype=torch.float64) for of in means.values())
        return Null(float(draws.mean()), float(permutation_p(value[0], draws)), len(draws))

    def _random_areas(self, sets: list[str]) -> Tensor:
        """Mean accuracy over the ks and the data sets, of each random order."""
        wide = self._random[self._random.index.get_level_values("dataset").isin(sets)]
        areas = pd.Series(mean_over_k(torch.tensor(wide.to_numpy(float)), [int(k) for k in wide.columns]), wide.index)
        on_sets = areas.groupby("draw").agg(["mean", "count"])
        return torch.tensor(on_sets["mean"][on_sets["count"] == len(sets)].to_numpy(float))


def _detectable(found: Difference, random: Tensor) -> float:
    """The difference that is found in 80 % of such data: both tests, over orders and over images, must see it."""
    images = (found.high - found.low) / 2 / NORMAL_975
    orders = float(random.std()) if len(random) > 1 else 0.0
    return NORMAL_975 * max(images, orders) + _NORMAL_80 * math.hypot(images, orders)


def _outcome(
    over_random: Difference, over_low: Difference, low_over_random: Difference, p: float, low_p: float, ends_p: float
) -> str:
    high_above, high_below = p <= LEVEL and over_random.low > 0, p <= LEVEL and over_random.high < 0
    low_above, low_below = low_p <= LEVEL and low_over_random.low > 0, low_p <= LEVEL and low_over_random.high < 0
    if high_below and low_below:
        return "both ends lose"
    if high_above and low_above:
        return "both ends win"
    if high_above and over_low.low > 0 and ends_p <= LEVEL:
        return "supported"
    if high_below and over_low.high < 0 and ends_p <= LEVEL:
        return "contradicted"
    return "not decided"


def _attribution(value: float, rotation: Null | None, norms: Null | None) -> str:
    if rotation is None or norms is None:
        return NOT_ASKED

    def beyond(null: Null) -> bool:
        return null.p <= LEVEL and (value - null.mean) * value > 0

    if not beyond(rotation):
        return "any axes do the same"
    return "beyond both" if beyond(norms) else "explained by norms"


def _at_chance(about: str, where: str) -> Finding:
    unknown = Difference(math.nan, math.nan, math.nan)
    return Finding(about, 0, where, NOT_ASKED, unknown, unknown, unknown, math.nan, math.nan, math.nan, math.nan, 0)


def _row(model: str, about: str, found: Finding) -> dict[str, object]:
    differences = {
        f"{name}{end}": getattr(getattr(found, name), part)
        for name in ("over_random", "over_low", "low_over_random")
        for end, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    nulls = {
        f"{name}_{part}": math.nan if null is None else getattr(null, part)
        for name, null in (("rotation", found.rotation), ("norms", found.norms))
        for part in ("mean", "p")
    }
    same = {name: getattr(found, name) for name in _SAME}
    rotations = found.rotation.draws if found.rotation else 0
    return {"model": model, "dataset": about, "rotations": rotations} | same | differences | nulls


def _found(row: Mapping[Any, Any]) -> Finding:
    differences = {
        name: Difference(row[name], row[f"{name}_low"], row[f"{name}_high"])
        for name in ("over_random", "over_low", "low_over_random")
    }
    nulls = {
        name: Null(row[f"{name}_mean"], row[f"{name}_p"], row["rotations"]) if row["rotations"] else None
        for name in ("rotation", "norms")
    }
    parts: dict[str, Any] = {name: row[name] for name in _SAME} | differences | nulls
    return Finding(about=row["dataset"], **parts)
