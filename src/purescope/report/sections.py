"""The sections below the curves and the neurons, each where the folder has something for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from purescope.report import courses, evidence
from purescope.report.figures import Figure
from purescope.report.tables import Found, Table
from purescope.tables.results import Folder


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


def sections(folder: Folder, chosen: str) -> list[Section]:
    """Those that have something to show; `chosen` is the model and data set shown first, "0/0"."""
    return [section for section in _all(folder, chosen) if section.figures or section.tables]


def _all(folder: Folder, chosen: str) -> Iterator[Section]:
    several, compared = len(folder.models) > 1, evidence.comparison(folder)
    yield Section(
        "models",
        "Comparison",
        "The models side by side" if several else "Over all k",
        "Accuracy of the highest purity over all k, less that of random orders and of the lowest purity, with 95 % "
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
        "The same statistics where purity can mean nothing: random weights, random rotations of the embedding, "
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
        "Rank correlation of purity with what is lost without a neuron: above 0, the purer matter more.",
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
