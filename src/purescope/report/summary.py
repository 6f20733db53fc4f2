"""The answer in words: what the tests say of the claim, and what about half of the neurons keep.

Beside it, in a few words each, what the numbers rest on: models, data, protocol, versions; and what
is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from purescope import formats
from purescope.formats import signed_points
from purescope.looks import strategy_name
from purescope.report.evidence import better
from purescope.report.tables import groups
from purescope.tables import schemas
from purescope.tables.results import Results
from purescope.tables.verdicts import Verdict, half_sentence


@dataclass(frozen=True)
class Answer:
    """What is found of one model; each part empty where the run does not tell.

    Args:
        word: the verdict's outcome.
        claim: the verdict in one sentence.
        half: how much accuracy about half of the neurons keeps, the best choice first: the page's
            question.
        evidence: the numbers behind the verdict.
    """

    word: str
    claim: str
    half: str
    evidence: str


def answers(folder: Results) -> list[Answer]:
    """Two models against each other, and each that there is something to say of."""
    sentence, differences = better(folder)
    standings = folder.rows(schemas.STANDINGS)
    found = [Answer("", sentence, "", differences)] if sentence else []
    for model in folder.models:
        half = half_sentence(standings[standings.model == model], strategy_name)
        verdict = folder.verdicts.get(model)
        if verdict:
            found.append(Answer(verdict.overall.outcome, verdict.claim, half, _evidence(verdict)))
        elif half:
            found.append(Answer("", f"{model}:", half, ""))
    return found + _of_layers(folder) + _of_training(folder)


def _of_layers(folder: Results) -> list[Answer]:
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
        found.append(
            Answer(
                "",
                claim,
                "",
                "1 is as random neurons of the same shape overlap; more is less pure.",
            )
        )
    return found


def _of_training(folder: Results) -> list[Answer]:
    """The first step against the last."""
    found = []
    for model, part in groups(folder.track, "model") if len(folder.track) else ():
        first, last = part.iloc[0], part.iloc[-1]
        told = [
            f"{tower} tower from {first[column]:.2f} to {last[column]:.2f} times"
            for tower, column in (
                ("image", "image_relative_overlap"),
                ("text", "text_relative_overlap"),
            )
        ]
        claim = (
            f"{model}, step {first.step:,} to {last.step:,}: overlap, against that of random "
            f"neurons, goes in the "
            f"{', in the '.join(told)}."
        )
        gaps = [
            f"on {dataset} {formats.percent(rows.iloc[0].accuracy)} to "
            f"{formats.percent(rows.iloc[-1].accuracy)} % "
            f"accuracy, highest purity minus random {formats.points(rows.iloc[0].gap_to_random)} "
            f"to "
            f"{formats.points(rows.iloc[-1].gap_to_random)} points"
            for dataset, rows in groups(part[part.n > 0], "dataset")
        ]
        found.append(
            Answer("", claim, f"From the first to the last: {'; '.join(gaps)}." if gaps else "", "")
        )
    return found


def _evidence(verdict: Verdict) -> str:
    """With true minus signs in its numbers, and every name as it is."""
    sentence, overall = verdict.evidence, verdict.overall
    for difference in map(str, (overall.over_random, overall.over_low, overall.low_over_random)):
        sentence = sentence.replace(f" is {difference}", f" is {formats.minus(difference)}", 1)
    for null in filter(None, (overall.rotation, overall.norms)):
        sentence = sentence.replace(
            f" {signed_points(null.mean)} ", f" {formats.minus(signed_points(null.mean))} ", 1
        )
    return sentence


def question(folder: Results) -> str:
    """What a folder of its kind is about, in plain words."""
    if schemas.RESULTS.name in folder.tables:
        return "Can half the embedding go, and does it matter which half?"
    if schemas.REPRODUCTION.name in folder.tables:
        return "Do the published figures come out again?"
    if len(folder.track):
        return "What does training do to purity?"
    return "How pure is every layer?" if len(folder.layers) else "How pure are the neurons?"


def missing(folder: Results) -> list[str]:
    """What a run of today writes and this folder has no file of; a table without rows was written
    and lacks nothing.
    """
    if schemas.RESULTS.name not in folder.tables:
        return []
    wanted = {
        "verdicts": "the verdict on each model",
        "standings": "what half of the neurons keeps",
        "neurons": "the neurons' overlaps against random ones",
        "importance": "what is lost without each neuron",
        "examples": "the images that each neuron answers to",
        "words": "the class names and words closest to each neuron",
        "confusions": "which classes are confused",
        "orders": "which neurons each strategy keeps",
        "class_importance": "what each class loses without a neuron",
    }
    return [
        what for name, what in wanted.items() if not (folder.path / f"{name}.parquet").is_file()
    ]


def title(folder: Results) -> str:
    others = (table for table in (folder.layers, folder.track) if len(table))
    models = folder.models or [str(name) for table in others for name in table.model.unique()]
    models = list(dict.fromkeys(models)) or ["Beside the published figures"]
    return ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")


def facts(folder: Results) -> list[tuple[str, list[str]]]:
    """What the numbers rest on, a name and its values each."""
    found = [
        ("Models", _models(folder)),
        ("Data", _data(folder)),
        ("Protocol", _protocol(folder)),
        ("Run", _run(folder)),
    ]
    return [(name, values) for name, values in found if values]


def _models(folder: Results) -> list[str]:
    if folder.manifest.get("models"):
        return [
            f"{one.get('label')}: {str(one.get('spec')).removeprefix(str(one.get('label')) + '=')}"
            + (f", weights {str(one['weights'])[:12]}" if "weights" in one else "")
            for one in folder.manifest["models"]
        ]
    if len(folder.track):
        return [
            f"{model}: {part.step.nunique():,} checkpoints, step {part.step.min():,} to "
            f"{part.step.max():,}, "
            f"{part.neurons.iloc[-1]:,} neurons"
            for model, part in groups(folder.track, "model")
        ]
    if len(folder.layers):
        return [
            f"{model}: {part.name.nunique():,} layers in {part.tower.nunique()} towers"
            for model, part in groups(folder.layers, "model")
        ]
    return folder.models


def _data(folder: Results) -> list[str]:
    seen = folder.track if len(folder.track) else folder.rows(schemas.RESULTS)
    said = [
        f"{name}: {part.n.iloc[-1]:,} images, {part.classes.iloc[-1]:,} classes"
        for name, part in groups(seen[seen.n > 0] if len(seen) else seen, "dataset")
    ]
    layers = folder.layers
    if len(layers):
        images = layers[(layers.space != "weights") & (layers.tower == "image")]
        said += [
            f"{name}: activations of {part.width.iloc[0]:,} images"
            for name, part in groups(images, "dataset")
        ]
    return said


def _protocol(folder: Results) -> list[str]:
    results, settings = folder.rows(schemas.RESULTS), folder.manifest.get("settings", {})
    if results.empty:
        return _facts_of_training(settings) if len(folder.track) else []
    first = results.iloc[0]
    draws = int(results.draw[results.strategy == "random"].nunique())
    ks = sorted(results.k[results.strategy != "full"].unique().tolist())
    said = [
        f"protocol {first.protocol}",
        f"purity of {first.space}"
        + ("" if first.measure == "l1" else f", measure {first.measure}")
        + ("" if first.towers == "both" else f", towers {first.towers}"),
        f"dropped neurons are set to {first.ablation}",
        f"k: {', '.join(f'{k:,}' for k in ks)} of {first.neurons:,}",
        f"{draws:,} random orders"
        + (f" from seed {settings['seed']}" if "seed" in settings else ""),
    ]
    if "resamples" in settings:
        said.append(f"{settings['resamples']:,} bootstrap resamples")
    return said


def _facts_of_training(settings: Mapping[str, Any]) -> list[str]:
    known = {
        "protocol": "protocol {}",
        "space": "purity of {}",
        "draws": "{} random orders",
        "seed": "from seed {}",
    }
    return [words.format(settings[name]) for name, words in known.items() if name in settings]


def _run(folder: Results) -> list[str]:
    manifest = folder.manifest
    versions = [f"{name} {number}" for name, number in manifest.get("versions", {}).items()]
    when = [
        f"{word} {str(manifest[word])[:16].replace('T', ' ')}"
        for word in ("started", "finished")
        if word in manifest
    ]
    return when + ([", ".join(versions)] if versions else [])
