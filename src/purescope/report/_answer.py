"""The answer in words: what the tests say of the claim, and what about half of the neurons keep."""

from collections.abc import Mapping
from dataclasses import dataclass

from purescope import schemas
from purescope.errors import InputError
from purescope.report import _numbers as numbers
from purescope.report._curves import Curve
from purescope.report._folder import Folder
from purescope.report._looks import strategy_name
from purescope.report._rivals import better
from purescope.report._rows import groups
from purescope.verdict import Verdict, judge

_KEPT = {"high_purity": "the {} purest", "low_purity": "the {} least pure", "random": "{} random ones"}


@dataclass(frozen=True)
class Answer:
    """What is found of one model; each part empty where the run does not tell.

    Args:
        word: supported, contradicted or not decided.
        claim: the verdict in one sentence.
        half: how much accuracy about half of the neurons keep, the best choice first.
        evidence: the numbers behind the verdict.
    """

    word: str
    claim: str
    half: str
    evidence: str


def answers(folder: Folder, means: Mapping[str, Curve]) -> list[Answer]:
    """Two models against each other, and each that there is something to say of; `means` are their mean curves."""
    sentence, differences = better(folder)
    found = [Answer("", sentence, "", differences)] if sentence else []
    for model in folder.models:
        half = _half(means[model]) if model in means else ""
        verdict = _verdict(folder, model)
        if verdict:
            found.append(Answer(verdict.overall.word, verdict.claim, half, _evidence(verdict)))
        elif half:
            found.append(Answer("", f"{model}:", half, ""))
    return found + _of_layers(folder) + _of_training(folder)


def _of_layers(folder: Folder) -> list[Answer]:
    """Where a tower begins and where it ends."""
    table = folder.layers[folder.layers.space == "weights"] if len(folder.layers) else folder.layers
    if table.empty:
        return []
    found = []
    for model, part in groups(table, "model"):
        ends = [(tower, rows.iloc[0], rows.iloc[-1]) for tower, rows in groups(part, "tower")]
        told = [
            f"in the {tower} tower from {first.relative_overlap:.2f} times ({first.kind}) to "
            f"{last.relative_overlap:.2f} times ({last.kind})"
            for tower, first, last in ends
        ]
        claim = f"{model}: the overlap of weights, against that of random neurons, goes {', '.join(told)}."
        found.append(Answer("", claim, "", "1 is as random neurons of the same shape overlap; more is less pure."))
    return found


def _of_training(folder: Folder) -> list[Answer]:
    """The first step against the last."""
    found = []
    for model, part in groups(folder.track, "model") if len(folder.track) else ():
        first, last = part.iloc[0], part.iloc[-1]
        told = [
            f"{tower} tower from {first[column]:.2f} to {last[column]:.2f} times"
            for tower, column in (("image", "image_relative_overlap"), ("text", "text_relative_overlap"))
        ]
        claim = (
            f"{model}, step {first.step:,} to {last.step:,}: overlap, against that of random neurons, goes in the "
            f"{', in the '.join(told)}."
        )
        gaps = [
            f"on {dataset} {numbers.percent(rows.iloc[0].accuracy)} to {numbers.percent(rows.iloc[-1].accuracy)} % "
            f"accuracy, highest purity minus random {numbers.points(rows.iloc[0].gap_to_random)} to "
            f"{numbers.points(rows.iloc[-1].gap_to_random)} points"
            for dataset, rows in groups(part[part.n > 0], "dataset")
        ]
        found.append(Answer("", claim, f"From the first to the last: {'; '.join(gaps)}." if gaps else "", ""))
    return found


def _verdict(folder: Folder, model: str) -> Verdict | None:
    try:
        return judge(folder.table(schemas.RESULTS), folder.table(schemas.COMPARISONS), model=model)
    except InputError:  # no random orders, or not both purities: there is nothing to judge
        return None


def _evidence(verdict: Verdict) -> str:
    """With true minus signs in its numbers, and every name as it is."""
    sentence = verdict.evidence
    for difference in (str(verdict.overall.over_random), str(verdict.overall.over_low)):
        sentence = sentence.replace(f" is {difference}", f" is {numbers.minus(difference)}", 1)
    return sentence


def _half(curve: Curve) -> str:
    """What the k nearest to half keeps: the experiment's choices, and the best of the others if it is better."""
    full = curve.full.get("value") or 0.0
    if not full > 0:
        return ""
    kept = {row["strategy"]: row["value"] / full for row in curve.rows if row["k"] == curve.half}
    best = max(kept, key=lambda name: kept[name])
    named = sorted((name for name in kept if name in _KEPT or name == best), key=lambda name: -kept[name])
    told = [
        f"{_named(name, curve.half)}{'' if place else ' keep'} {100 * kept[name]:.0f} %"
        for place, name in enumerate(named)
    ]
    chance = "" if curve.chance != curve.chance else f" (chance: {numbers.percent(curve.chance)} %)"
    return f"Of the {numbers.percent(full)} % that all {curve.neurons:,} neurons get right{chance}, {', '.join(told)}."


def _named(strategy: str, k: int) -> str:
    """The first k of a strategy, in words."""
    return _KEPT.get(strategy, f"the first {{}} by {strategy_name(strategy)}").format(f"{k:,}")
