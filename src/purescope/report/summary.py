"""The top of the page: the question, the answer, and what the numbers rest on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from purescope import formats
from purescope.formats import Look, signed_points, strategy_name
from purescope.report.blocks import Answer, Figure, Section, groups, hover_rows, strategy_keys
from purescope.report.charts import HALF, WIDE, curve_chart
from purescope.report.curves import Curve, curve, drawn_values, in_words, rows_of
from purescope.report.searches import search_facts
from purescope.tables import schemas
from purescope.tables.metrics import SHOWN, has_captions
from purescope.tables.results import Results
from purescope.tables.retrieval import RETRIEVAL_CURVES
from purescope.tables.schema import each_row
from purescope.tables.searches import SEARCHES
from purescope.tables.verdicts import Verdict, half_sentence


def answer_section(folder: Results, looks: Sequence[Look]) -> Section:
    """Show the verdict on each model, what half of its neurons keep, and its mean accuracy."""
    means = {
        str(model): mean
        for model, points in groups(folder.rows(schemas.MEAN_POINTS), "model")
        if (mean := curve(points, "accuracy"))
    }
    points = folder.rows(schemas.CURVE_POINTS)
    accuracies = points[(points.metric == "accuracy") & (points.strategy != "full")]
    datasets = {str(model): [*rows.dataset.unique()] for model, rows in groups(accuracies, "model")}
    ordered = {model: means[model] for model in folder.models if model in means}
    figures = _key_figures(ordered, datasets, looks)
    return Section("answer", "Answer", "The answer", figures=figures, answers=answers(folder))


def answers(folder: Results) -> list[Answer]:
    """Return the verdict on each model, and what half of its neurons keep, also of retrieval."""
    standings, results = folder.rows(schemas.STANDINGS), []
    for model in folder.models:
        half = half_sentence(standings[standings.model == model], strategy_name)
        verdict = folder.verdicts.get(model)
        if verdict:
            outcome = verdict.overall.outcome
            results.append(Answer(outcome, verdict.claim, half, _evidence(verdict)))
        elif half:
            results.append(Answer("", "", f"{model}: {half[0].lower()}{half[1:]}"))
        results += [Answer("", "", text) for text in _retrieval(folder, model)]
    return results


def _retrieval(folder: Results, model: str) -> Iterator[str]:
    """Yield what about half of the neurons keep of a recall, for each dataset of captions."""
    curves, results = folder.rows(RETRIEVAL_CURVES), folder.rows(schemas.RESULTS)
    curves = curves[(curves.model == model) & (curves.metric == SHOWN[0]) & curves.kept.notna()]
    full = results[(results.strategy == "full") & (results.metric == SHOWN[0])]
    for dataset, rows in groups(curves, "dataset"):
        everything = full[(full.model == model) & (full.dataset == dataset)].iloc[0]
        shares = [
            f"{strategy_name(str(row.strategy))} {formats.percent(row.kept, 0)} % "
            f"({formats.percent(row.kept_low, 0)} to {formats.percent(row.kept_high, 0)})"
            for row in each_row(rows.sort_values("kept", ascending=False, kind="stable"))
        ]
        yield (
            f"{model}: of the image recall at 5 on {dataset}, {formats.percent(everything.value)} "
            f"% with all {everything.neurons:,} neurons, {rows.half.iloc[0]:,} neurons keep: "
            f"{', '.join(shares)}. Captions take no part in the verdict, and show no images or "
            f"classes of single neurons."
        )


def _evidence(verdict: Verdict) -> str:
    """Return the evidence with true minus signs in its numbers, but not in names."""
    sentence, overall = verdict.evidence, verdict.overall
    for difference in map(str, (overall.over_random, overall.over_low, overall.low_over_random)):
        sentence = sentence.replace(f" is {difference}", f" is {formats.minus(difference)}", 1)
    for null in filter(None, (overall.rotation, overall.norms)):
        sentence = sentence.replace(
            f" {signed_points(null.mean)} ", f" {formats.minus(signed_points(null.mean))} ", 1
        )
    return sentence


def _key_figures(
    means: Mapping[str, Curve], datasets: Mapping[str, list[str]], looks: Sequence[Look]
) -> list[Figure]:
    """Draw the accuracy of each model as the mean over its datasets, all on one scale.

    Args:
        means: the mean curve of each model, in the order of the run.
        datasets: the datasets of each model.
        looks: the looks of all strategies.
    """
    figures = []
    shown = [look for look in looks if look.shown]
    drawn = [
        value
        for mean in means.values()
        for value in drawn_values(
            [*rows_of(mean, shown), *(level for level in mean.levels if not level["below"])]
        )
    ]
    for number, (model, mean) in enumerate(means.items()):
        spec = curve_chart(
            rows_of(mean, shown),
            mean.levels,
            shown,
            at=None,
            percent=True,
            neurons=mean.neurons,
            ticks=mean.ticks,
            span=(min(drawn), max(drawn)),
            width=WIDE if len(means) == 1 else HALF,
            height=260,
        )
        own = datasets[model]
        about = f"the mean over {len(own)} datasets" if len(own) > 1 else own[0]
        alt = f"{model}, accuracy on {about} against neurons kept. {in_words(mean, shown)}"
        names = {look.name for look in shown}
        hovers = hover_rows([row for row in mean.rows if row["strategy"] in names], mean.levels)
        figures.append(
            Figure(f"key-{number}", model, alt, spec, strategy_keys(shown), hovers=hovers)
        )
    return figures


def question(folder: Results) -> str:
    """Return the question that a folder of this kind answers, as the title of the page."""
    if schemas.RESULTS.name in folder.tables:
        return "Can half the embedding go, and does it matter which half?"
    if schemas.REPRODUCTION.name in folder.tables:
        return "Can the published figures be reproduced?"
    if SEARCHES.name in folder.tables:
        return "How small can a vector be?"
    if len(folder.track):
        return "What does training do to purity?"
    return "How pure is each layer?" if len(folder.layers) else "How pure are the neurons?"


def title(folder: Results) -> str:
    """Return the names of the models, as the subtitle of the page."""
    tables = (folder.layers, folder.track, folder.rows(SEARCHES))
    others = (table for table in tables if len(table))
    models = folder.models or [str(name) for table in others for name in table.model.unique()]
    models = list(dict.fromkeys(models)) or ["Comparison with the published figures"]
    return ", ".join(models[:3]) + (f" and {len(models) - 3} more" if len(models) > 3 else "")


_WANTED = {
    "verdicts": "the verdict on each model",
    "standings": "what half of the neurons keep",
    "choices": "the fewest dimensions that keep enough",
    "neurons": "the overlaps of the neurons and of random neurons",
    "importance": "what is lost without each neuron",
    "examples": "the images that activate each neuron",
    "words": "the class names and words closest to each neuron",
    "confusions": "which classes are confused",
    "orders": "which neurons each strategy keeps",
    "class_importance": "what each class loses without a neuron",
}


def missing(folder: Results) -> list[str]:
    """Return what a run of today writes and this folder has no file of.

    A table without rows was written, so it is not missing.
    """
    if schemas.RESULTS.name not in folder.tables:
        return []
    return [
        about for name, about in _WANTED.items() if not (folder.path / f"{name}.parquet").is_file()
    ]


def facts(folder: Results) -> list[tuple[str, list[str]]]:
    """Return what the numbers rest on: models, data, protocol and run, each with its facts."""
    results, layers, track = folder.rows(schemas.RESULTS), folder.layers, folder.track
    manifest = folder.manifest
    settings = manifest.get("settings", {})
    models = _models(manifest.get("models", []), layers, track) or folder.models
    protocol = _protocol(results, settings) if len(results) else _training_facts(settings, track)
    searched, search_settings = search_facts(folder)
    facts = [
        ("Models", models),
        ("Data", _data(track if len(track) else results, layers) + searched),
        ("Protocol", protocol),
        ("Search", search_settings),
        ("Run", _run(manifest)),
    ]
    return [(name, values) for name, values in facts if values]


def _told(label: str, entry: Mapping[str, Any]) -> str:
    """Return what a model was called and a hash of its weights, as far as they are known."""
    spec = str(entry.get("spec", "")).removeprefix(f"{label}=")
    weights = f"weights {str(entry['weights'])[:12]}" if "weights" in entry else ""
    return ", ".join(filter(None, [spec, weights]))


def _models(
    entries: list[Mapping[str, Any]], layers: pd.DataFrame, track: pd.DataFrame
) -> list[str]:
    """Return one fact for each model; `entries` are those of the manifest."""
    if entries:
        named = [(str(entry.get("label")), entry) for entry in entries]
        return [
            label if not (told := _told(label, entry)) else f"{label}: {told}"
            for label, entry in named
        ]
    if len(track):
        return [
            f"{model}: {rows.step.nunique():,} checkpoints, step {rows.step.min():,} to "
            f"{rows.step.max():,}, {rows.neurons.iloc[-1]:,} neurons"
            for model, rows in groups(track, "model")
        ]
    return [
        f"{model}: {rows.name.nunique():,} layers in {rows.tower.nunique()} towers"
        for model, rows in (groups(layers, "model") if len(layers) else ())
    ]


def _data(measured: pd.DataFrame, layers: pd.DataFrame) -> list[str]:
    """Return one fact for each dataset."""
    facts = [
        f"{name}: {rows.n.iloc[-1]:,} images, {rows.classes.iloc[-1]:,} {_what(rows)}"
        for name, rows in groups(measured[measured.n > 0] if len(measured) else measured, "dataset")
    ]
    if len(layers):
        images = layers[(layers.space != "weights") & (layers.tower == "image")]
        facts += [
            f"{name}: activations of {rows.width.iloc[0]:,} images"
            for name, rows in groups(images, "dataset")
        ]
    return facts


def _what(rows: pd.DataFrame) -> str:
    """Return what the column classes counts."""
    return "captions" if "metric" in rows and has_captions(rows) else "classes"


def _protocol(results: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    first = results.iloc[0]
    draws = int(results.draw[results.strategy == "random"].nunique())
    ks = sorted(results.k[results.strategy != "full"].unique().tolist())
    facts = [
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
        facts.append(f"{settings['resamples']:,} bootstrap resamples")
    return facts


def _training_facts(settings: Mapping[str, Any], track: pd.DataFrame) -> list[str]:
    known = {
        "protocol": "protocol {}",
        "space": "purity of {}",
        "draws": "{} random orders",
        "seed": "seed {}",
    }
    return [
        words.format(settings[name])
        for name, words in known.items()
        if name in settings and len(track)
    ]


def _run(manifest: Mapping[str, Any]) -> list[str]:
    """Return when the run started and finished, and the versions of the libraries."""
    versions = [f"{name} {number}" for name, number in manifest.get("versions", {}).items()]
    times = [
        f"{event} {str(manifest[event])[:16].replace('T', ' ')}"
        for event in ("started", "finished")
        if event in manifest
    ]
    return times + ([", ".join(versions)] if versions else [])
