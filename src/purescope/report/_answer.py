"""The answer in words: what the tests say of the claim, and what about half of the neurons keep."""

from dataclasses import dataclass

from purescope import formats
from purescope.errors import InputError
from purescope.looks import strategy_name
from purescope.report._rivals import better
from purescope.report._rows import groups
from purescope.studies.comparisons import points
from purescope.studies.judging import verdicts_of
from purescope.studies.leaderboard import half_kept
from purescope.studies.verdict import Verdict, read_verdicts
from purescope.tables import schemas
from purescope.tables.results import Folder


@dataclass(frozen=True)
class Answer:
    """What is found of one model; each part empty where the run does not tell.

    Args:
        word: the verdict's outcome.
        claim: the verdict in one sentence.
        half: how much accuracy about half of the neurons keeps, the best choice first: the page's question.
        evidence: the numbers behind the verdict.
    """

    word: str
    claim: str
    half: str
    evidence: str


def answers(folder: Folder) -> list[Answer]:
    """Two models against each other, and each that there is something to say of."""
    sentence, differences = better(folder)
    verdicts = _verdicts(folder)
    results, curves = folder.table(schemas.RESULTS), folder.table(schemas.CURVES)
    found = [Answer("", sentence, "", differences)] if sentence else []
    for model in folder.models:
        half = half_kept(results, curves, model=model, called=strategy_name) if len(curves) else ""
        verdict = verdicts.get(model)
        if verdict:
            found.append(Answer(verdict.overall.outcome, verdict.claim, half, _evidence(verdict)))
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
            f"on {dataset} {formats.percent(rows.iloc[0].accuracy)} to {formats.percent(rows.iloc[-1].accuracy)} % "
            f"accuracy, highest purity minus random {formats.points(rows.iloc[0].gap_to_random)} to "
            f"{formats.points(rows.iloc[-1].gap_to_random)} points"
            for dataset, rows in groups(part[part.n > 0], "dataset")
        ]
        found.append(Answer("", claim, f"From the first to the last: {'; '.join(gaps)}." if gaps else "", ""))
    return found


def _verdicts(folder: Folder) -> dict[str, Verdict]:
    """By model; of a folder without them, as earlier versions wrote it, from its comparisons."""
    written = folder.table(schemas.VERDICTS)
    if len(written):
        return {verdict.model: verdict for verdict in read_verdicts(written)}
    try:
        found = verdicts_of(folder.table(schemas.RESULTS), folder.table(schemas.COMPARISONS))
    except InputError:  # no comparisons: there is nothing to judge
        return {}
    return {verdict.model: verdict for verdict in found}


def _evidence(verdict: Verdict) -> str:
    """With true minus signs in its numbers, and every name as it is."""
    sentence, overall = verdict.evidence, verdict.overall
    for difference in map(str, (overall.over_random, overall.over_low, overall.low_over_random)):
        sentence = sentence.replace(f" is {difference}", f" is {formats.minus(difference)}", 1)
    for null in filter(None, (overall.rotation, overall.norms)):
        sentence = sentence.replace(f" {points(null.mean)} ", f" {formats.minus(points(null.mean))} ", 1)
    return sentence
