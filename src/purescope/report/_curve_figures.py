"""The curves as figures: over all data sets, the one that a reader explores, and a small one of each."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from purescope import formats
from purescope.looks import METRIC_NAMES, Look
from purescope.report._charts import HALF, SMALL, WIDE, curve_chart
from purescope.report._curves import Curve
from purescope.report._figures import Figure, Key
from purescope.tables.results import Folder

_DRAWN = ("accuracy", "silhouette")


def key_figures(
    folder: Folder, there: Mapping[tuple[str, str, str], Curve], means: Mapping[str, Curve], seen: list[Look]
) -> list[Figure]:
    """Accuracy of each model over all its data sets; `means` by its label."""
    figures = []
    shown = [look for look in seen if look.shown]
    spans = [replace(one, rows=_of(one, shown)).span for one in means.values()]
    for place, model in enumerate(folder.models):
        if model not in means:
            continue
        one = means[model]
        spec = curve_chart(
            _of(one, shown),
            one.levels,
            shown,
            at=None,
            percent=True,
            neurons=one.neurons,
            ticks=one.ticks,
            span=(min(low for low, _ in spans), max(high for _, high in spans)),
            width=WIDE if len(folder.models) == 1 else HALF,
            height=260,
        )
        sets = [dataset for label, dataset, metric in there if label == model and metric == "accuracy"]
        about = f"the mean over {len(sets)} data sets" if len(sets) > 1 else sets[0]
        alt = f"{model}, accuracy on {about} against neurons kept. {_told(one, shown, 'accuracy')}"
        figures.append(Figure(f"key-{place}", model, alt, spec, _keys(shown)))
    return figures


def explorer(
    folder: Folder, there: Mapping[tuple[str, str, str], Curve], seen: list[Look], chosen: Mapping[str, Any]
) -> Figure | None:
    if not there:
        return None
    (model, dataset, metric), one = next(iter(there.items()))
    shown = [look for look in seen if look.shown]
    sizes = {each.neurons for each in there.values()}
    spec = curve_chart(
        _of(one, shown),
        one.levels,
        seen,
        at=chosen["k"],
        percent=metric != "silhouette",
        neurons=one.neurons if len(sizes) == 1 else None,
        ticks=one.ticks,
    )
    alt = f"{model} on {dataset}: {METRIC_NAMES[metric].lower()} against neurons kept. {_told(one, shown, metric)}"
    return Figure("explorer", f"{model} on {dataset}", alt, spec, _keys(shown))


def panels(
    folder: Folder, there: Mapping[tuple[str, str, str], Curve], seen: list[Look], chosen: Mapping[str, Any]
) -> list[Figure]:
    """A small figure of each curve, for readers without scripts and on paper."""
    shown = [look for look in seen if look.shown]
    figures = []
    spec = None
    for metric in _DRAWN:
        for place, model in enumerate(folder.models):
            for at, dataset in enumerate(folder.datasets):
                one = there.get((model, dataset, metric))
                if one is None:
                    continue
                rows, percent = _of(one, shown), metric != "silhouette"
                if spec is None or spec[0] != (one.neurons, percent, one.few):
                    made = curve_chart(
                        [],
                        [],
                        shown,
                        at=0,
                        percent=percent,
                        neurons=one.neurons,
                        ticks=one.few,
                        width=SMALL,
                        height=170,
                        small=True,
                    )
                    spec = (one.neurons, percent, one.few), made
                datasets = {"curves": rows, "levels": one.levels, "chosen": [{"k": chosen["k"]}]}
                alt = f"{model} on {dataset}: {METRIC_NAMES[metric].lower()}. {_told(one, shown, metric)}"
                title = f"{dataset}, {METRIC_NAMES[metric].lower()}"
                name = f"panel-{place}-{at}-{metric}"
                figures.append(Figure(name, title, alt, {**spec[1], "datasets": datasets}, note=model))
    return figures


def _of(one: Curve, shown: list[Look]) -> list[dict[str, Any]]:
    names = {look.name for look in shown}
    return [row for row in one.rows if row["strategy"] in names]


def _told(one: Curve, shown: list[Look], metric: str) -> str:
    """A curve in words: what is kept of all at the least, the middle and the most neurons."""
    unit = "" if metric == "silhouette" else " %"
    told = []
    if one.full:
        told.append(f"All {one.neurons:,} neurons: {formats.measure(one.full['value'], metric)}{unit}.")
    if one.chance == one.chance:
        told.append(f"Chance: {formats.measure(one.chance, metric)}{unit}.")
    by_k = {(row["strategy"], row["k"]): row["value"] for row in one.rows}
    ks = one.ks
    for k in dict.fromkeys((ks[0], ks[len(ks) // 2], ks[-1])):
        values = [
            f"{look.label} {formats.measure(by_k[look.name, k], metric)}{unit}"
            for look in shown
            if (look.name, k) in by_k
        ]
        told.append(f"At {k:,}: {', '.join(values)}.")
    return " ".join(told)


def _keys(shown: list[Look]) -> tuple[Key, ...]:
    keys = [Key(look.label, look.colour, look.dash, look.shape, look.filled, look.name == "random") for look in shown]
    return (*keys, Key("all neurons", "currentColor", [3, 3]), Key("chance", "currentColor", [1, 4]))
