"""Hold the answer of a sweep, and say it in words: the verdict, and how the strategies stand.

The claim: high-purity neurons keep more accuracy than random ones, and more than low-purity ones.
The test statistic is the mean accuracy over the ks (the area under the curve), once for each
dataset, so that no k is picked. A choice of neurons is *above* random if two things hold: its
permutation p-value among the random orders is at most 5 %, and the whole 95 % confidence interval
of its difference from random, over images, is above 0. *Below* is the same with the signs changed.
A choice is above another choice if the whole interval of their difference is above 0, and if that
difference is extreme among the differences between a random order and its reverse. A random order
and its reverse are what the two ends of a ranking are; for neurons of equal worth their difference
is twice what one random order differs from the mean.

The **outcome** is one of:

- *both ends lose*, *both ends win*: high and low purity are both below, or both above, random;
- *supported*: otherwise, high purity is above random and above low purity;
- *contradicted*: otherwise, high purity is below random and below low purity;
- *not decided*: everything else, with the smallest difference that such data would have shown
  (`Finding.detectable`);
- *at chance*, *below chance*: the accuracy of all neurons cannot be told from guessing, or is
  worse. Such a dataset takes no part in any statement about several datasets.

The **attribution** says whether purity is the reason, by the null models of
`purescope.studies.nulls`: high minus random lies *beyond both* of them, or it is *explained
by norms*, or *any axes do the same*; or the question was *not asked*.

The p-values of a model's datasets are Holm's, so the chance of one false statement among all of
them is 5 %. The statement about all datasets together comes from their mean, which is one test.

`purescope.studies.judging` computes verdicts and the standings of the
strategies. This module only describes them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from purescope.formats import Difference, definitions, signed_points
from purescope.tables.columns import ALL
from purescope.tables.files import check_table
from purescope.tables.schema import each_row
from purescope.tables.schemas import VERDICTS

LEVEL = 0.05
AT_CHANCE = {"at chance": "cannot be told from chance", "below chance": "is below chance"}
NOT_ASKED = "not asked"

# Values that a finding and its row have in common.
_SHARED = ("sets", "outcome", "attribution", "p", "low_p", "ends_p", "detectable", "draws")
_DIFFERENCES = ("over_random", "over_low", "low_over_random")
_NULLS = ("rotation", "norms")

_OUTCOME_TEXTS = {
    "supported": "high-purity neurons keep more than random and than low-purity ones: the claim is "
    "supported",
    "contradicted": "high-purity neurons keep less than random and than low-purity ones: the claim "
    "is contradicted",
    "both ends lose": "the purest and the least pure neurons both keep less than random ones",
    "both ends win": "the purest and the least pure neurons both keep more than random ones",
    "not decided": "whether high-purity neurons keep more is not decided by this data",
    "at chance": "accuracy with all neurons cannot be told from chance: nothing can be said of its "
    "neurons",
    "below chance": "accuracy with all neurons is below chance: nothing can be said of its neurons",
}
_ATTRIBUTION_TEXTS = {
    "beyond both": "Neither other axes nor orders of the same norms do as much: it is purity, or "
    "goes with it.",
    "explained by norms": "Random orders of the same norms do as much: the norms explain it, not "
    "purity.",
    "any axes do the same": "The same rule does as much on random axes: it is no mark of this "
    "model's neurons.",
    NOT_ASKED: "Whether it is purity that does it was not asked; `purescope sweep --rotations 200` "
    "does, as `purescope evidence`.",
}
_KEPT = {
    "high_purity": "the {} purest",
    "low_purity": "the {} least pure",
    "random": "{} random ones",
}


@dataclass(frozen=True)
class Null:
    """High minus random under one of the null models.

    Args:
        mean: mean over the draws.
        p: two-sided p-value of the difference as it is, among the draws.
        draws: number of draws.
    """

    mean: float
    p: float
    draws: int


@dataclass(frozen=True)
class Finding:
    """The result of one test of the claim.

    Args:
        about: name of the dataset, or `ALL` for all datasets of a model together.
        sets: number of datasets that count.
        outcome: one of `purescope.tables.columns.OUTCOMES`.
        attribution: one of `purescope.tables.columns.ATTRIBUTED`.
        over_random: high purity minus the mean of the random orders.
        over_low: high minus low purity.
        low_over_random: low purity minus the mean of the random orders.
        p, low_p: two-sided permutation p-values of high and of low purity among the random orders,
            adjusted if they are some of several.
        ends_p: the same for high minus low purity, among random orders and their reverses; not
            adjusted.
        detectable: the difference from random that is found in four of five such datasets.
        draws: number of random orders.
        rotation, norms: the null models of the attribution; None if it was not asked.
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

    @property
    def is_at_chance(self) -> bool:
        """Whether the accuracy of all neurons is at chance or below it."""
        return self.outcome in AT_CHANCE


@dataclass(frozen=True)
class Verdict:
    """The findings about the claim for the datasets of one model, each alone and all together."""

    model: str
    overall: Finding
    by_dataset: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """The verdict in words, and the numbers that it rests on."""
        return f"{self.claim} {self.evidence}"

    @property
    def claim(self) -> str:
        """The verdict in one or two sentences; its only number is the detectable difference."""
        return f"{self.model}: {self.conclusion}"

    @property
    def conclusion(self) -> str:
        """The claim without the name of the model."""
        return f"{_OUTCOME_TEXTS[self.overall.outcome]}.{self._reason}"

    @property
    def evidence(self) -> str:
        """The numbers, what they are averaged over, and the outcome of each dataset."""
        if self.overall.is_at_chance:
            return self._left_out.strip()
        return (
            f"Over all k and {self._datasets}, {self.numbers}{self._outcomes}{self._few_draws}"
            f"{self._left_out}"
        )

    @property
    def numbers(self) -> str:
        """The differences over all datasets: their spread over images, and over random orders."""
        overall = self.overall
        return (
            f"high purity minus random is {overall.over_random}, high minus low is "
            f"{overall.over_low}, low minus random is {overall.low_over_random}: 95 % intervals, "
            f"over images. Among {overall.draws:,} random orders, high purity has "
            f"p = {overall.p:.2g}, low purity p = {overall.low_p:.2g}."
            f"{self._null_models}{self._disagreement}"
        )

    @property
    def counted(self) -> list[Finding]:
        """The findings of datasets that are above chance."""
        return [finding for finding in self.by_dataset if not finding.is_at_chance]

    def _repr_html_(self) -> str:
        entries = {finding.about: _entry(finding) for finding in self.by_dataset}
        if len(entries) > 1:
            entries = {self._datasets: _entry(self.overall)} | entries
        return definitions(f"{self.model}: high-purity neurons keep more?", entries)

    @property
    def _datasets(self) -> str:
        counted = self.counted
        return counted[0].about if len(counted) == 1 else f"{len(counted)} datasets"

    @property
    def _reason(self) -> str:
        outcome = self.overall.outcome
        if self.overall.is_at_chance:
            return ""
        if outcome == "not decided":
            detectable = signed_points(self.overall.detectable)[1:]
            return f" A difference of {detectable} points would be found in 80 % of such data."
        return f" {_ATTRIBUTION_TEXTS[self.overall.attribution]}"

    @property
    def _null_models(self) -> str:
        rotation, norms = self.overall.rotation, self.overall.norms
        if rotation is None or norms is None:
            return ""
        return (
            f" On {rotation.draws:,} random axes high purity minus random is "
            f"{signed_points(rotation.mean)} points (p = {rotation.p:.2g} of the difference as it "
            f"is), in {norms.draws:,} orders of the same norms {signed_points(norms.mean)} "
            f"(p = {norms.p:.2g})."
        )

    @property
    def _outcomes(self) -> str:
        counted = self.counted
        if len(counted) < 2:
            return ""
        names: dict[str, list[str]] = {}
        for finding in counted:
            names.setdefault(finding.outcome, []).append(finding.about)
        undecided = names.pop("not decided", [])
        texts = [f"{outcome} on {', '.join(datasets)}" for outcome, datasets in names.items()]
        texts += [f"not decided on {len(undecided) if texts else 'any'}"] if undecided else []
        return f" By dataset: {', '.join(texts)}."

    @property
    def _left_out(self) -> str:
        texts = [
            f"{finding.about} (accuracy {AT_CHANCE[finding.outcome]})"
            for finding in self.by_dataset
            if finding.is_at_chance
        ]
        return f" Left out: {', '.join(texts)}." if texts else ""

    @property
    def _disagreement(self) -> str:
        """Why nothing is decided if images and random orders give different answers."""
        overall = self.overall
        apart = overall.over_random.low > 0 or overall.over_random.high < 0
        if 2 / (overall.draws + 1) > LEVEL:  # no p can be smaller
            return f" {overall.draws:,} random orders are too few to decide: use more draws."
        if apart and overall.p > LEVEL:
            return (
                " Other images would say the same of this choice, and as many random choices "
                "differ as much."
            )
        if not apart and overall.p <= LEVEL:
            return " Few random choices differ as much, and other images may say otherwise."
        if apart and overall.outcome == "not decided" and overall.ends_p > LEVEL:
            return " The two ends are as far apart in many a random ranking."
        return ""

    @property
    def _few_draws(self) -> str:
        draws, counted = self.overall.draws, len(self.counted)
        least = 2 / (draws + 1)  # the smallest p that is possible
        if least > LEVEL or counted * least <= LEVEL:
            return ""
        return f" {draws:,} random orders are too few to decide on single datasets: use more draws."


def _entry(finding: Finding) -> str:
    if finding.is_at_chance:
        return finding.outcome
    return (
        f"{finding.outcome}; attribution: {finding.attribution}; minus random "
        f"{finding.over_random}, p = {finding.p:.2g}; minus low {finding.over_low}"
    )


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Return verdicts as the table `purescope.tables.schemas.VERDICTS`.

    Each model has one row for all datasets, and one for each dataset.
    """
    rows = [
        _row(verdict.model, dataset, finding)
        for verdict in verdicts
        for dataset, finding in (
            (ALL, verdict.overall),
            *((finding.about, finding) for finding in verdict.by_dataset),
        )
    ]
    return check_table(pd.DataFrame(rows, columns=list(VERDICTS.columns)), VERDICTS)


def read_verdicts(table: pd.DataFrame) -> list[Verdict]:
    """Return the verdicts that a table holds."""
    verdicts = []
    for model, rows in table.groupby("model", sort=False):
        overall, *by_dataset = (_finding(row) for row in rows.to_dict("records"))
        verdicts.append(Verdict(str(model), overall, tuple(by_dataset)))
    return verdicts


def _row(model: str, dataset: str, finding: Finding) -> dict[str, object]:
    differences = {
        f"{name}{end}": getattr(getattr(finding, name), field)
        for name in _DIFFERENCES
        for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
    nulls = {
        f"{name}_{field}": getattr(getattr(finding, name), field, math.nan)
        for name in _NULLS
        for field in ("mean", "p")
    }
    shared = {name: getattr(finding, name) for name in _SHARED}
    rotations = finding.rotation.draws if finding.rotation else 0
    row: dict[str, object] = {"model": model, "dataset": dataset, "rotations": rotations}
    return row | shared | differences | nulls


def _finding(row: Mapping[Any, Any]) -> Finding:
    values: dict[str, Any] = {name: row[name] for name in _SHARED}
    for name in _DIFFERENCES:
        values[name] = Difference(row[name], row[f"{name}_low"], row[f"{name}_high"])
    for name in _NULLS if row["rotations"] else ():
        values[name] = Null(row[f"{name}_mean"], row[f"{name}_p"], row["rotations"])
    return Finding(about=row["dataset"], **values)


def half_sentence(standings: pd.DataFrame, name: Callable[[str], str] = str) -> str:
    """Say what about half of the neurons keep of the full accuracy.

    The sentence names random neurons, both ends of purity, and the best other strategy that does
    not use labels, with 95 % confidence intervals over images.

    Args:
        standings: the rows of one model, see `purescope.tables.schemas.STANDINGS`.
        name: returns the name of another strategy in words.

    Returns:
        The sentence; empty if this was not measured.
    """
    full = standings[standings.strategy == "full"]
    unlabelled = standings[standings.place.gt(0) & ~standings.labels & standings.kept.notna()]
    if full.empty or unlabelled.empty:
        return ""
    by_share = unlabelled.sort_values("kept", ascending=False, kind="stable")
    best = by_share.strategy == by_share.strategy.iloc[0]
    shares: list[str] = []
    for row in each_row(by_share[by_share.strategy.isin(_KEPT) | best]):
        strategy = str(row.strategy)
        by = "index" if strategy == "first_k" else name(strategy)
        words = _KEPT.get(strategy, f"the first {{}} by {by}").format(f"{row.half:,}")
        verb = "" if shares else " keep"
        interval = f"{100 * row.kept_low:.0f} to {100 * row.kept_high:.0f}"
        shares.append(f"{words}{verb} {100 * row.kept:.0f} % ({interval})")
    everything = full.iloc[0]
    chance = "" if math.isnan(everything.chance) else f" (chance: {100 * everything.chance:.1f} %)"
    return (
        f"Of the {100 * everything.area:.1f} % that all {everything.neurons:,} neurons get right"
        f"{chance}, {', '.join(shares)}."
    )


def best_sentence(standings: pd.DataFrame) -> str:
    """Say which strategy is best on these images, and how good the best choice is on others.

    Args:
        standings: the rows of one model.

    Returns:
        The sentence; empty without random orders, or with a single strategy.
    """
    best = standings[standings.elsewhere.notna()]
    if best.empty:
        return ""
    row = best.iloc[0]
    return (
        f"Best by these images: {row.strategy}, {signed_points(row.over_random)} points over "
        f"random. Chosen on half of the images and judged on the other half, the best is "
        f"{signed_points(row.elsewhere)}."
    )
