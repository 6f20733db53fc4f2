"""All that the page says, in the order it says it, ready for the template.

The sections below the curves and the neurons stand each where the folder has something for it.

"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from purescope.errors import PurescopeError
from purescope.looks import METRIC_NAMES, Look, looks, variables
from purescope.report import courses, evidence, neurons
from purescope.report.cards import (
    Details,
    confusion_changes,
    details_of,
    neurons_of,
    thumbnails_by_need,
)
from purescope.report.curves import (
    Curve,
    at_table,
    curves,
    explorer,
    key_figures,
    mean_curves,
    panels,
)
from purescope.report.figures import Figure
from purescope.report.neurons import Map, colour_steps
from purescope.report.summary import Answer, answers, facts, missing, question, title
from purescope.report.tables import Found, Table
from purescope.tables import columns, schemas
from purescope.tables.files import misfit
from purescope.tables.results import Results
from purescope.tables.schema import each_row


@dataclass(frozen=True)
class Section:
    """Figures and tables under one heading.

    Args:
        name: of its element.
        short: for the page's navigation.
        title, lead: what it is about.
        found: its figures and tables, in their order.
    """

    name: str
    short: str
    title: str
    lead: str
    found: Found

    @property
    def figures(self) -> list[Figure]:
        """Those found."""
        return self.found[0]

    @property
    def tables(self) -> list[Table]:
        """Those found."""
        return self.found[1]


def sections(folder: Results, chosen: str) -> list[Section]:
    """Those that have something to show; `chosen` is the model and data set shown first, "0/0"."""
    return [section for section in _all(folder, chosen) if section.figures or section.tables]


def _all(folder: Results, chosen: str) -> Iterator[Section]:
    several, compared = len(folder.models) > 1, evidence.comparison(folder)
    yield Section(
        "models",
        "Comparison",
        "The models side by side" if several else "Over all k",
        "Accuracy of the highest purity over all k, less that of random orders and of the lowest "
        "purity, with 95 % "
        "intervals over images. Right of the line, purity helps."
        if compared[0]
        else "Each strategy as one number, and how many neurons it needs.",
        compared,
    )
    yield Section(
        "strategies",
        "Strategies",
        "Every way to choose",
        "All strategies of this run, by mean accuracy over all k.",
        evidence.strategies(folder),
    )
    yield Section(
        "nulls",
        "Nulls",
        "What else could explain it",
        "The same statistics where purity can mean nothing: random weights, random rotations of "
        "the embedding, "
        "shuffled neurons.",
        evidence.nulls(folder),
    )
    yield Section(
        "variants",
        "Variants",
        "Does it hold under other choices?",
        "High, low and random with one option of the experiment changed at a time.",
        evidence.variants(folder, chosen),
    )
    yield Section(
        "correlations",
        "Importance",
        "Do pure neurons matter more?",
        "Rank correlation of purity with what is lost without a neuron: above 0, the purer matter "
        "more.",
        evidence.correlations(folder),
    )
    yield Section(
        "layers",
        "Layers",
        "Through the layers",
        "Overlap at every depth, over that of random neurons of the same shape.",
        courses.layers(folder),
    )
    yield Section(
        "training",
        "Training",
        "Through the training",
        "What purity and accuracy did, checkpoint by checkpoint.",
        courses.training(folder),
    )
    yield Section(
        "reproduction",
        "Reproduction",
        "Beside the published figures",
        "Published values as read from the figures, and ours under both protocols.",
        courses.reproduction(folder),
    )


_ENDS = 6  # cards at either end of the ranking
_STILLS = 48  # small pictures of curves for readers without scripts


@dataclass(frozen=True)
class Ends:
    """What is shown of a model's neurons without a search."""

    model: int
    label: str
    beside_random: str
    histograms: list[Figure]
    maps: list[Map]
    scatter: Figure | None
    purest: list[int]
    impurest: list[int]


@dataclass(frozen=True)
class Content:
    """Of the page; see the template for where each part stands."""

    title: str
    question: str
    models: list[str]
    datasets: list[str]
    metrics: list[tuple[str, str]]
    looks: list[Look]
    variables: Mapping[str, str]
    answers: list[Answer]
    key: list[Figure]
    explorer: Figure | None
    panels: list[Figure]
    not_drawn: int
    chosen: Mapping[str, Any]
    at: Table | None
    changes: Mapping[str, Any]
    ends: list[Ends]
    colours: list[str]
    sections: list[Section]
    missing: list[str]
    runs: list[str]
    facts: list[tuple[str, list[str]]]
    notes: list[str]
    data: Mapping[str, Any]
    thumbnails: list[tuple[str, str, int]]

    @property
    def figures(self) -> list[Figure]:
        """All that have a still picture."""
        return list(self._figures())

    @property
    def live(self) -> dict[str, Any]:
        """What a script draws them from; the small ones are all made of the first of them."""
        small = {figure.name for figure in self.panels[1:]}
        return {figure.name: figure.live for figure in self.figures if figure.name not in small}

    def _figures(self) -> Iterator[Figure]:
        yield from self.key
        yield from [self.explorer] if self.explorer else []
        yield from self.panels
        for end in self.ends:
            yield from end.histograms
            yield from [end.scatter] if end.scatter else []
        for section in self.sections:
            yield from section.figures


def gather(folder: Results) -> Content:
    """Gather what a folder has to say.

    Raises:
        InputError: its tables are each well formed, and do not fit together.
    """
    try:
        return _gather(folder)
    except PurescopeError:
        raise
    # Tables that no run wrote together can contradict each other in any way.
    except Exception as error:
        raise misfit(folder.path, error) from error


def _gather(folder: Results) -> Content:
    there, means = curves(folder), mean_curves(folder)
    seen = looks(folder.strategies)
    chosen = _chosen(folder, there)
    neuron_data = {
        str(place): found
        for place, label in enumerate(folder.models)
        if (found := neurons_of(folder, label))
    }
    details = _details(folder)
    ends = [
        _ends(folder, place, chosen)
        for place in range(len(folder.models))
        if str(place) in neuron_data
    ]
    changes = confusion_changes(folder)
    small = panels(folder, there, seen, chosen)
    thumbnails = _thumbnails(folder, details, ends)
    data = {
        "models": folder.models,
        "datasets": folder.datasets,
        "metrics": [[metric, METRIC_NAMES[metric]] for metric in folder.metrics],
        "strategies": [[look.name, look.label, look.shown] for look in seen],
        "chosen": chosen,
        "curves": _curve_data(folder, there),
        "differences": _differences(folder),
        "confusions": changes,
        "neurons": neuron_data,
        "details": details,
    }
    return Content(
        title=title(folder),
        question=question(folder),
        models=folder.models,
        datasets=folder.datasets,
        metrics=[(metric, METRIC_NAMES[metric]) for metric in folder.metrics],
        looks=seen,
        variables=variables(),
        answers=answers(folder),
        key=key_figures(folder, there, means, seen),
        explorer=explorer(folder, there, seen, chosen),
        panels=small[:_STILLS],
        not_drawn=len(small[_STILLS:]),
        chosen=chosen,
        at=at_table(folder, there, chosen) if there else None,
        changes=changes.get(f"{chosen.get('model')}/{chosen.get('dataset')}", {}),
        ends=ends,
        colours=colour_steps(),
        sections=sections(folder, _key(chosen)),
        missing=missing(folder),
        runs=[
            name for name in ("paper", "native") if (folder.path / name / "report.html").is_file()
        ],
        facts=facts(folder),
        notes=[str(note) for note in folder.manifest.get("notes", [])],
        data=data,
        thumbnails=thumbnails,
    )


def _chosen(folder: Results, there: Mapping[tuple[str, str, str], Curve]) -> dict[str, Any]:
    """What is shown first: of the first model and data set, about half of the neurons, which the
    page asks about.
    """
    if not there:
        return {"model": 0, "dataset": 0, "metric": "accuracy", "k": 0}
    (model, dataset, metric), one = next(iter(there.items()))
    place = {"model": folder.models.index(model), "dataset": folder.datasets.index(dataset)}
    return {**place, "metric": metric, "k": one.half}


def _key(chosen: Mapping[str, Any]) -> str:
    return f"{chosen['model']}/{chosen['dataset']}"


def _curve_data(folder: Results, there: Mapping[tuple[str, str, str], Curve]) -> dict[str, Any]:
    return {
        f"{folder.models.index(model)}/{folder.datasets.index(dataset)}/{metric}": {
            "rows": one.rows,
            "levels": one.levels,
            "ticks": one.ticks,
            "few": one.few,
            "full": one.full,
            "neurons": one.neurons,
            "chance": one.chance,
            "images": one.images,
            "classes": one.classes,
        }
        for (model, dataset, metric), one in there.items()
    }


def _differences(folder: Results) -> dict[str, dict[str, list[float]]]:
    """By "model/data set" and then "strategy/k": minus random, its interval, p, p by Holm."""
    table = folder.rows(schemas.COMPARISONS)
    found: dict[str, dict[str, list[float]]] = {}
    for row in each_row(table[table.second == "random"]):
        if str(row.dataset) in folder.datasets and str(row.model) in folder.models:
            place = (
                f"{folder.models.index(str(row.model))}/{folder.datasets.index(str(row.dataset))}"
            )
            values = [row.difference, row.low, row.high, row.permutation_p, row.permutation_holm]
            found.setdefault(place, {})[f"{row.first}/{row.k}"] = values
    return found


def _ends(folder: Results, model: int, chosen: Mapping[str, Any]) -> Ends:
    histograms = [
        found for tower in ("image", "text") if (found := neurons.histogram(folder, model, tower))
    ]
    purest, impurest = neurons.ends(folder, model, _ENDS)
    return Ends(
        model,
        folder.models[model],
        neurons.beside_random(folder, model),
        histograms,
        neurons.maps(folder, model),
        neurons.scatter(folder, model, chosen["dataset"]),
        purest,
        impurest,
    )


def _details(folder: Results) -> dict[str, Details]:
    found = {}
    for place, model in enumerate(folder.models):
        for at, dataset in enumerate([*folder.datasets, columns.VOCABULARY]):
            if part := details_of(folder, model, dataset):
                found[f"{place}/{at}"] = part
    return found


def _thumbnails(
    folder: Results, details: Mapping[str, Details], ends: list[Ends]
) -> list[tuple[str, str, int]]:
    """Name of the style rule, data set and image of every thumbnail that there is, the most needed
    first.
    """
    first = {str(end.model): [*end.purest, *end.impurest] for end in ends}
    lists = []
    for at, dataset in enumerate(folder.datasets):
        of_set = {
            key.split("/")[0]: part for key, part in details.items() if key.split("/")[1] == str(at)
        }
        images = [
            image
            for image in thumbnails_by_need(of_set, first)
            if (dataset, image) in folder.thumbnails
        ]
        lists.append([(f"t{at}-{image}", dataset, image) for image in images])
    length = max(map(len, lists), default=0)
    return [found[place] for place in range(length) for found in lists if place < len(found)]
