"""What a sweep says about the experiment's claim, from its tests: one word a data set, one sentence a model.

The claim: high-purity neurons keep more accuracy than random ones, and more than low-purity ones. What is tested is the
mean accuracy over the ks (the area under the curve), once for each data set, so no k is picked. Three things must hold
for "supported":

- among the random orders, high purity stands so far up that the permutation p-value is at most 5 %;
- high minus random is above 0 in the whole 95 % interval over images;
- so is high minus low.

"Contradicted" is high purity as far below the random orders, by the first two. All else is "not decided". The first
guards against differences that any other choice of neurons makes too, the others against those of these images. Over
the data sets of a model the p-values are Holm's, so that one false word in all of them has a chance of 5 %; the word
for all of them together comes from the mean over them, which is one test.
"""

from dataclasses import dataclass

import pandas as pd

from purescope.comparison import AREA, Difference, pooled_difference, pooled_p
from purescope.errors import InputError
from purescope.notebook import definitions

LEVEL = 0.05
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "not decided"


@dataclass(frozen=True)
class Finding:
    """What one test of the claim found.

    Args:
        about: the data set, or what several of them are called together.
        word: supported, contradicted or not decided.
        over_random: high purity minus the mean of the random orders.
        over_low: high minus low purity.
        p: permutation p-value among the random orders, two-sided, adjusted where it is one of several.
    """

    about: str
    word: str
    over_random: Difference
    over_low: Difference
    p: float


@dataclass(frozen=True)
class Verdict:
    """What the data sets of one model say about the claim, each alone and all together."""

    model: str
    overall: Finding
    by_dataset: tuple[Finding, ...]
    draws: int

    @property
    def sentence(self) -> str:
        """The verdict in words, and what it rests on."""
        return f"{self.claim} {self.evidence}"

    @property
    def claim(self) -> str:
        """The verdict in one sentence, without a number."""
        return f"{self.model}: the claim that high-purity neurons carry more is {self.overall.word} by this data."

    @property
    def evidence(self) -> str:
        """The numbers, what they are over, and what each data set says."""
        return f"Over all k and {self.overall.about}, {self.numbers}{self._each}{self._few}"

    @property
    def numbers(self) -> str:
        """What was found over all data sets, and which spread is that of images and which that of random orders."""
        overall = self.overall
        return (
            f"high purity minus random is {overall.over_random}, high minus low is {overall.over_low}: 95 % intervals, "
            f"over images. Among {self.draws:,} random orders, high purity has p = {overall.p:.2g}.{self._torn}"
        )

    def _repr_html_(self) -> str:
        findings = self.by_dataset if len(self.by_dataset) == 1 else (self.overall, *self.by_dataset)
        entries = {
            each.about: f"{each.word}; minus random {each.over_random}, p = {each.p:.2g}; minus low {each.over_low}"
            for each in findings
        }
        return definitions(f"{self.model}: high-purity neurons carry more?", entries)

    @property
    def _each(self) -> str:
        if len(self.by_dataset) == 1:
            return ""
        names = {word: [f.about for f in self.by_dataset if f.word == word] for word in (SUPPORTED, CONTRADICTED)}
        said = [f"{word} on {', '.join(about)}" for word, about in names.items() if about]
        rest = len(self.by_dataset) - sum(map(len, names.values()))
        said += [f"{UNDECIDED} on {rest if said else 'any'}"] if rest else []
        return f" By data set: {', '.join(said)}."

    @property
    def _torn(self) -> str:
        """Why nothing is decided where one of the two, images and random orders, says yes and the other does not."""
        overall = self.overall
        apart = overall.over_random.low > 0 or overall.over_random.high < 0
        if 2 / (self.draws + 1) > LEVEL:  # no p can be smaller
            return f" {self.draws:,} random orders are too few to decide: use more draws."
        if apart and overall.p > LEVEL:
            return " Other images would say the same of this choice, and as many random choices differ as much."
        if not apart and overall.p <= LEVEL:
            return " Few random choices differ as much, and other images may say otherwise."
        return ""

    @property
    def _few(self) -> str:
        least = 2 / (self.draws + 1)  # the smallest p there can be
        if least > LEVEL or len(self.by_dataset) * least <= LEVEL:
            return ""
        return f" {self.draws:,} random orders are too few to decide on single data sets: use more draws."


def judge(table: pd.DataFrame, comparisons: pd.DataFrame, *, model: str) -> Verdict:
    """The verdict on one model from a result table and its comparisons.

    Args:
        table: as `purescope.sweep` makes it; the random orders are read from it.
        comparisons: as `purescope.comparison.compare_strategies` makes them, adjusted over the data sets.
        model: its label.

    Raises:
        InputError: the tables hold no comparison of high purity with random orders and with low purity.
    """
    areas = comparisons[
        (comparisons.model == model) & (comparisons["first"] == "high_purity") & (comparisons.k == AREA)
    ]
    random, low = (areas[areas.second == second].set_index("dataset") for second in ("random", "low_purity"))
    if random.empty or low.empty:
        raise InputError(
            f"no comparison of high purity with random orders and with low purity for {model!r}",
            fix="run the sweep with both strategies and with --draws 1 or more",
        )
    findings = tuple(
        _finding(
            str(name),
            pooled_difference(random.loc[[name]]),
            pooled_difference(low.loc[[name]]),
            random.permutation_holm[name],
        )
        for name in random.index
    )
    if len(findings) == 1:
        return Verdict(model, findings[0], findings, int(random.draws.iloc[0]))
    p = pooled_p(table, model=model, strategy="high_purity")
    about = f"all {len(findings)} data sets"
    overall = _finding(about, pooled_difference(random), pooled_difference(low), p)
    return Verdict(model, overall, findings, int(random.draws.min()))


def _finding(about: str, over_random: Difference, over_low: Difference, p: float) -> Finding:
    word = UNDECIDED
    if p <= LEVEL and over_random.low > 0 and over_low.low > 0:
        word = SUPPORTED
    elif p <= LEVEL and over_random.high < 0:
        word = CONTRADICTED
    return Finding(about, word, over_random, over_low, float(p))
