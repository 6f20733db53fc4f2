"""Gather what the page shows: list its sections in order and put them together.

The page's script writes no words of its own: its sentences stand in the data of the page, with
slots for a name, a number or the reader's own words.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from purescope.errors import PurescopeError
from purescope.formats import METRIC_NAMES, Look, looks, variables
from purescope.report import courses, evidence
from purescope.report.blocks import Answer, Figure, Section
from purescope.report.cards import IMAGES, card_details
from purescope.report.curves import curves_section
from purescope.report.neurons import Details, ModelNeurons, colour_steps, neurons_section
from purescope.report.searches import searches
from purescope.report.smaller import smaller
from purescope.report.summary import answer_section, facts, missing, question, title
from purescope.tables.files import misfit
from purescope.tables.results import Results

STILLS = 48  # small figures of curves on the page, at most


@dataclass(frozen=True)
class Content:
    """What the page shows, in its order.

    Args:
        title, question: the head of the page.
        models, datasets, metrics, looks, variables, colours: names, labels and colours.
        answers, answer: the results in words, and the section with the figures beside them.
        missing, facts, notes: what the numbers rest on.
        curves, neurons: the sections that the reader steers.
        sections: all others that have something to show.
        data: what the script needs.
        details: what the cards show and what the script needs of it, by model and dataset.
        thumbnails: style rule, dataset and image of each thumbnail, the most needed first.
    """

    title: str
    question: str
    models: list[str]
    datasets: list[str]
    metrics: list[tuple[str, str]]
    looks: list[Look]
    variables: Mapping[str, str]
    colours: list[str]
    answers: list[Answer]
    answer: Section
    missing: list[str]
    facts: list[tuple[str, list[str]]]
    notes: list[str]
    curves: Section
    neurons: list[ModelNeurons]
    sections: list[Section]
    data: Mapping[str, Any]
    details: Mapping[str, Details]
    thumbnails: list[tuple[str, str, int]]

    @property
    def figures(self) -> list[Figure]:
        """All figures that have a still picture."""
        neurons = [
            figure
            for model in self.neurons
            for figure in (*model.figures, model.scatter)
            if figure is not None
        ]
        others = [figure for section in self.sections for figure in section.figures]
        return [*self.answer.figures, *self.curves.figures[: STILLS + 1], *neurons, *others]

    @property
    def live(self) -> dict[str, Any]:
        """What the script draws the figures from; one small figure stands for all of them."""
        small = {figure.name for figure in self.curves.figures[2:]}
        return {figure.name: figure.live for figure in self.figures if figure.name not in small}


def gather(folder: Results) -> Content:
    """Gather what the page of a folder shows.

    Raises:
        InputError: each of its tables is well formed, but they do not fit together.
    """
    try:
        return _gather(folder)
    except PurescopeError:
        raise
    # Tables that no run wrote together can contradict each other in any way.
    except Exception as error:
        raise misfit(folder.path, error) from error


def _gather(folder: Results) -> Content:
    styles = looks(folder.strategies)
    answer, curves = answer_section(folder, styles), curves_section(folder, styles)
    chosen = curves.data["chosen"]
    sections = [
        evidence.comparison(folder),
        smaller(folder, styles, f"{chosen['model']}/{chosen['dataset']}"),
        evidence.strategies(folder),
        evidence.nulls(folder),
        evidence.variants(folder, f"{chosen['model']}/{chosen['dataset']}"),
        evidence.correlations(folder),
        searches(folder),
        courses.layers(folder),
        courses.training(folder),
        courses.reproduction(folder),
    ]
    neurons = neurons_section(folder, (folder.datasets or [""])[chosen["dataset"]])
    details = card_details(folder)
    data = {
        "models": folder.models,
        "datasets": folder.datasets,
        "metrics": [[metric, METRIC_NAMES[metric]] for metric in folder.metrics],
        "strategies": [[look.name, look.label, look.shown] for look in styles],
        "phrases": PHRASES,
        **curves.data,
    }
    return Content(
        title=title(folder),
        question=question(folder),
        models=folder.models,
        datasets=folder.datasets,
        metrics=[(metric, METRIC_NAMES[metric]) for metric in folder.metrics],
        looks=styles,
        variables=variables(),
        colours=colour_steps() if any(model.maps for model in neurons) else [],
        answers=[
            result for section in (sections[0], answer, *sections[1:]) for result in section.answers
        ],
        answer=answer,
        missing=missing(folder),
        facts=facts(folder),
        notes=folder.notes,
        curves=curves,
        neurons=neurons,
        sections=[section for section in sections if section.figures or section.tables],
        data=data,
        details=details,
        thumbnails=_thumbnails(folder.thumbnails, folder.datasets, details, neurons),
    )


def _thumbnails(
    known: Container[tuple[str, int]],
    datasets: list[str],
    details: Mapping[str, Details],
    neurons: list[ModelNeurons],
) -> list[tuple[str, str, int]]:
    """Return style rule, dataset and image of each thumbnail, the most needed first.

    Images of the cards that always show come first, then images by their place on any card. The
    datasets take turns.

    Args:
        known: dataset and image of all thumbnails.
        datasets: names of the datasets.
        details, neurons: what the cards show.
    """
    first = {str(model.number): [*model.purest, *model.impurest] for model in neurons}
    by_dataset = []
    for place, dataset in enumerate(datasets):
        own = {
            pair.split("/")[0]: cards
            for pair, cards in details.items()
            if pair.endswith(f"/{place}")
        }
        needed: dict[int, None] = {}  # in order
        for model, cards in own.items():
            for end in ("most", "least"):
                lists = cards.get(end, [])
                for neuron in first.get(model, []):
                    if neuron < len(lists):
                        needed |= {entry[0]: None for entry in lists[neuron]}
        for rank in range(IMAGES):
            for cards in own.values():
                for end in ("most", "least"):
                    needed |= {
                        entries[rank][0]: None
                        for entries in cards.get(end, [])
                        if len(entries) > rank
                    }
        by_dataset.append(
            [(f"t{place}-{image}", dataset, image) for image in needed if (dataset, image) in known]
        )
    longest = max(map(len, by_dataset), default=0)
    return [
        thumbnails[rank]
        for rank in range(longest)
        for thumbnails in by_dataset
        if rank < len(thumbnails)
    ]


PHRASES = {
    "pair": "{model} on {dataset}",
    "note": "{metric}; {size}. {note}",
    "unmeasured": "{metric} was not measured here.",
    "described": "{title}. {start} At {k}: {values}.",
    "nothing measured": "{title}. Nothing was measured.",
    "value": "{label} {text}",
    "chosen dataset": "{title}, on {dataset}",
    "chosen pair": "{title}, {model} on {dataset}",
    "no table": "{model} on {dataset} was not measured",
    "kept": "{count} of {label}",
    "copy kept": "Copy the {kept}",
    "kept copied": "Indices of the {kept} copied",
    "copied": "Copied",
    "no neuron": "There is no neuron {text}, only 0 to {last}. Still shown: neuron {neuron}.",
    "not found": "Nothing found: no neuron with “{text}” in a closest word or class.",
    "one found": "1 neuron with “{text}” in a closest word or class:",
    "found": "{count} neurons with “{text}” in a closest word or class:",
    "many found": "{count} neurons with “{text}” in a closest word or class; the {shown} closest:",
    "match": "neuron {neuron}: {name} ({source}) ",
    "light": "Light",
    "dark": "Dark",
}
