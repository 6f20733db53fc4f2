"""The verdict of a sweep on the experiment's claim, in words and as a table.

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

`purescope.studies.judging` computes verdicts; this module only holds and describes them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from purescope.formats import Difference, definitions, signed_points
from purescope.tables.columns import ALL
from purescope.tables.files import check_table
from purescope.tables.schemas import VERDICTS

LEVEL = 0.05
AT_CHANCE = {"at chance": "cannot be told from chance", "below chance": "is below chance"}
NOT_ASKED = "not asked"
_SAME = (
    "sets",
    "outcome",
    "attribution",
    "p",
    "low_p",
    "ends_p",
    "detectable",
    "draws",
)  # in a finding and in its row
_MEANS = {
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
_BECAUSE = {
    "beyond both": "Neither other axes nor orders of the same norms do as much: it is purity, or "
    "goes with it.",
    "explained by norms": "Random orders of the same norms do as much: the norms explain it, not "
    "purity.",
    "any axes do the same": "The same rule does as much on random axes: it is no mark of this "
    "model's neurons.",
    NOT_ASKED: "Whether it is purity that does it was not asked; `purescope sweep --rotations 200` "
    "does, as `purescope "
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
        p, low_p: permutation p-values of high and of low purity among the random orders, two-sided,
            adjusted where they are some of several.
        ends_p: the same of high minus low purity, among random orders and their reverses; not
            adjusted.
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
        """What was found over all data sets, and which spread is that of images and which that of
        random orders.
        """
        found = self.overall
        return (
            f"high purity minus random is {found.over_random}, high minus low is {found.over_low}, "
            f"low minus random is "
            f"{found.low_over_random}: 95 % intervals, over images. Among {found.draws:,} random "
            f"orders, high purity "
            f"has p = {found.p:.2g}, low purity p = {found.low_p:.2g}.{self._nulls}{self._torn}"
        )

    def _repr_html_(self) -> str:
        findings = (
            self.by_dataset if len(self.by_dataset) == 1 else (self.overall, *self.by_dataset)
        )
        entries = {self._name(each): self._entry(each) for each in findings}
        return definitions(f"{self.model}: high-purity neurons keep more?", entries)

    def _name(self, found: Finding) -> str:
        return self._about if found is self.overall and len(self.by_dataset) > 1 else found.about

    @staticmethod
    def _entry(found: Finding) -> str:
        if found.outcome in AT_CHANCE:
            return found.outcome
        return (
            f"{found.outcome}; attribution: {found.attribution}; minus random {found.over_random}, "
            f"p = {found.p:.2g}; "
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
            detectable = signed_points(self.overall.detectable)[1:]
            return f" A difference of {detectable} points would be found in 80 % of such data."
        return f" {_BECAUSE[self.overall.attribution]}"

    @property
    def _nulls(self) -> str:
        rotation, norms = self.overall.rotation, self.overall.norms
        if rotation is None or norms is None:
            return ""
        return (
            f" On {rotation.draws:,} random axes high purity minus random is "
            f"{signed_points(rotation.mean)} points "
            f"(p = {rotation.p:.2g} of the difference as it is), in {norms.draws:,} orders of the "
            f"same norms "
            f"{signed_points(norms.mean)} (p = {norms.p:.2g})."
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
        """Why nothing is decided where one of the two, images and random orders, says yes and the
        other does not.
        """
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
        return (
            f" {draws:,} random orders are too few to decide on single data sets: use more draws."
        )


def verdict_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """Verdicts as the table `purescope.tables.schemas.VERDICTS`: a row for each data set, and one
    for all of a model.
    """
    rows = [
        _row(verdict.model, about, found)
        for verdict in verdicts
        for about, found in (
            (ALL, verdict.overall),
            *((each.about, each) for each in verdict.by_dataset),
        )
    ]
    return check_table(pd.DataFrame(rows, columns=list(VERDICTS.columns)), VERDICTS)


def read_verdicts(table: pd.DataFrame) -> list[Verdict]:
    """The verdicts that a table of them holds, to be told in words."""
    found = []
    for model, rows in table.groupby("model", sort=False):
        overall, *by_dataset = (_found(row) for row in rows.to_dict("records"))
        found.append(Verdict(str(model), overall, tuple(by_dataset)))
    return found


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
        name: Null(row[f"{name}_mean"], row[f"{name}_p"], row["rotations"])
        if row["rotations"]
        else None
        for name in ("rotation", "norms")
    }
    parts: dict[str, Any] = {name: row[name] for name in _SAME} | differences | nulls
    return Finding(about=row["dataset"], **parts)
