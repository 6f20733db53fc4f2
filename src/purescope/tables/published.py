"""Hold the published numbers of the experiment, and list what in them does not fit together.

The numbers were read off the figures of Sun, Zhang, Li and Wang, "Contrastive Learning with Data
Misalignment: Feature Purity, Training Dynamics and Theoretical Generalization Guarantees" (NeurIPS
2025): CC3M LaCLIP, eight datasets, 200 to 500 of 512 neurons. The experiment's description has a
table of its own for one of them, CIFAR-10.
"""

import functools
import importlib.resources
from collections.abc import Callable

import pandas as pd

from purescope.tables.files import check_table
from purescope.tables.schema import Column, Schema

PUBLISHED = Schema(
    "published_figures",
    "marker",
    {
        "dataset": Column("string", "the dataset's name"),
        "metric": Column("string", "accuracy or silhouette"),
        "strategy": Column("string", "high_purity, random or low_purity"),
        "k": Column("int64", "neurons kept"),
        "value": Column(
            "float64", "as read off the figure; fractions, the silhouette from -1 to 1"
        ),
        "marker_partly_hidden": Column(
            "bool", "another marker covers part of this one: its reading is uncertain"
        ),
    },
    ("dataset", "metric", "strategy", "k"),
)
SOURCE = (
    "values read off the published figures of Sun, Zhang, Li and Wang, Contrastive Learning with "
    "Data Misalignment (NeurIPS 2025)"
)
NEURONS = 512
LABEL = "CC3M LaCLIP"
STRATEGIES = ("high_purity", "random", "low_purity")

# The datasets: their numbers of classes, and how their names are written.
CLASSES = {
    "cifar10": 10, "cifar100": 100, "food101": 101, "caltech101": 101, "pets": 37, "dtd": 47,
    "eurosat": 10, "stl10": 10,
}  # fmt: skip
TITLES = {
    "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "food101": "Food-101",
    "caltech101": "Caltech-101", "pets": "Pets", "dtd": "DTD", "eurosat": "EuroSAT",
    "stl10": "STL-10",
}  # fmt: skip
ONLY_IN_FIGURES = "stl10"

# The description's table of CIFAR-10, in %: high and low purity by k, and all neurons.
DESCRIBED = {
    200: (42.3, 38.5), 250: (43.8, 40.1), 300: (44.5, 41.2), 350: (45.0, 42.5),
    400: (45.3, 43.8), 450: (45.6, 44.9), 500: (45.7, 45.5),
}  # fmt: skip
DESCRIBED_FULL = 45.8
DESCRIBED_SILHOUETTE = (0.148, 0.138)  # high and low purity at 200 neurons, in its example


@functools.cache
def _figures() -> pd.DataFrame:
    file = importlib.resources.files("purescope") / "data" / "published_figures.csv"
    with file.open(encoding="utf-8") as text:
        return check_table(pd.read_csv(text).astype({"marker_partly_hidden": bool}), PUBLISHED)


def published_figures() -> pd.DataFrame:
    """Return the published figures as the table `PUBLISHED`.

    The values were read off the figures of Sun, Zhang, Li and Wang (NeurIPS 2025), with four
    decimals. The paper does not say of how many draws a random marker is.

    Returns:
        One row for each marker: ``dataset``, ``metric`` (accuracy, 0 to 1, or silhouette, -1 to 1),
        ``strategy``, ``k`` of 512 neurons, ``value``, and ``marker_partly_hidden``: another marker
        covers part of it, so its reading is less certain.

    Examples:
        >>> figures = published_figures()
        >>> len(figures), sorted(figures.dataset.unique())[:3]
        (336, ['caltech101', 'cifar10', 'cifar100'])
        >>> rows = figures.query("dataset == 'cifar10' and metric == 'accuracy' and k == 200")
        >>> rows[["strategy", "value"]]
               strategy   value
        0   high_purity  0.4151
        7        random  0.3742
        14   low_purity  0.3624
    """
    return _figures().copy()


def oddities() -> list[str]:
    """List what in the published numbers does not fit together, with the numbers.

    Examples:
        >>> print(oddities()[0])
        The description's table of CIFAR-10 is not the figure: ...
    """
    return [describe() for describe in _ODDITIES]


def _table_and_figure() -> str:
    figure = _wide("accuracy").loc["cifar10"] * 100
    apart = {
        strategy: max(DESCRIBED, key=lambda k: abs(figure[strategy][k] - DESCRIBED[k][column]))
        for column, strategy in enumerate(("high_purity", "low_purity"))
    }
    texts = [
        f"{name} purity at {k} is {DESCRIBED[k][column]:.1f} % there, {figure[strategy][k]:.1f} % "
        f"here"
        for column, (name, (strategy, k)) in enumerate(
            zip(("high", "low"), apart.items(), strict=True)
        )
    ]
    gaps = figure.high_purity - figure.low_purity
    described = [high - low for high, low in DESCRIBED.values()]
    return (
        f"The description's table of CIFAR-10 is not the figure: {' and '.join(texts)}. The "
        f"table's gap between the two shrinks at every step, from {described[0]:+.1f} to "
        f"{described[-1]:+.1f} points; the figure's is {gaps[200]:+.1f} at 200 neurons, "
        f"{gaps[250]:+.1f} at 250, {gaps[350]:+.1f} at 350 and {gaps[450]:+.1f} at 450."
    )


def _above_full() -> str:
    figure = _wide("accuracy").loc["cifar10"] * 100
    high, low = ((figure[name] > DESCRIBED_FULL) for name in ("high_purity", "low_purity"))
    return (
        f"All neurons reach {DESCRIBED_FULL} % on CIFAR-10 by that table; in the figure, which "
        f"does not show them, high purity is above that at {high.sum()} of {len(high)} ks (up to "
        f"{figure.high_purity.max():.1f} % at {figure.high_purity.idxmax()} neurons), low purity "
        f"at {low.sum()} ({figure.low_purity[500]:.1f} % at 500)."
    )


def _constant_random() -> str:
    constant = []
    for dataset in TITLES:
        accuracy, silhouette = (
            _wide(metric).loc[dataset].random for metric in ("accuracy", "silhouette")
        )
        if accuracy.nunique() == 1 and silhouette.nunique() == 1:
            constant.append(
                f"{TITLES[dataset]} ({100 * accuracy.iloc[0]:.2f} % and {silhouette.iloc[0]:.4f})"
            )
    return (
        f"The random curves of {' and '.join(constant)} are the same number at every k, in "
        "accuracy and in silhouette, which no choice of more and more neurons gives. The full "
        "embedding drawn in their place would look so; that is a guess."
    )


def _consistently() -> str:
    wide = _wide("accuracy")
    over_low, over_random = wide.high_purity > wide.low_purity, wide.high_purity > wide.random
    low_over_random = wide.low_purity > wide.random
    by_k = 100 * (wide.high_purity - wide.low_purity).groupby("k").mean()
    first = over_low.xs(200, level="k")
    return (
        "High purity is said to be consistently better, most of all with 200 to 300 neurons. In "
        f"accuracy it is above low purity at {over_low.sum()} of {len(wide)} points, above random "
        f"at {over_random.sum()}; low purity is above random at {low_over_random.sum()}. At 200 "
        f"neurons it is above low purity on {first.sum()} of {len(first)} datasets, and the mean "
        f"gap is {by_k[200]:+.2f} points, the least of all ks; it is largest at {by_k.idxmax()} "
        f"({by_k.max():+.2f})."
    )


def _falling() -> str:
    wide = _wide("accuracy")
    steps = {name: wide[name].unstack("k").diff(axis=1).iloc[:, 1:] for name in STRATEGIES}
    falls = {name: int((step < 0).sum().sum()) for name, step in steps.items()}
    pets, cifar = wide.loc["pets"] * 100, wide.loc["cifar10"] * 100
    return (
        f"Accuracy falls as fifty neurons are added in {falls['high_purity']} of "
        f"{steps['random'].size} steps for high purity, {falls['low_purity']} for low purity, "
        f"{falls['random']} for random. On CIFAR-10 high purity goes from "
        f"{cifar.high_purity[300]:.1f} to {cifar.high_purity[350]:.1f} to "
        f"{cifar.high_purity[450]:.1f} to {cifar.high_purity[500]:.1f} %; on Pets from "
        f"{pets.high_purity[250]:.1f} % at 250 down to {pets.high_purity[500]:.1f} % at 500, while "
        f"low purity rises to {pets.low_purity[500]:.1f} %."
    )


def _at_the_end() -> str:
    end = 100 * _wide("accuracy").xs(500, level="k")
    spread = end.T.max() - end.T.min()
    worst = str(spread.idxmax())
    shown = ", ".join(
        f"{name.removesuffix('_purity')} {end[name][worst]:.1f}" for name in STRATEGIES
    )
    return (
        f"At 500 neurons three choices leave out 12 of {NEURONS}, and yet differ by up to "
        f"{spread.max():.1f} points ({TITLES[worst]}: {shown}); on "
        f"{(end.high_purity < end.low_purity).sum()} of {len(end)} datasets low purity is then "
        "above high purity."
    )


def _near_chance() -> str:
    wide = 100 * _wide("accuracy")
    eurosat, dtd, pets = (wide.loc[name] for name in ("eurosat", "dtd", "pets"))
    lowest = min(DESCRIBED, key=lambda k: float(eurosat.high_purity[k]))
    return (
        f"EuroSAT is close to guessing (10 %): {eurosat.min().min():.1f} to "
        f"{eurosat.max().max():.1f} %, high purity at {lowest} neurons below it "
        f"({eurosat.high_purity[lowest]:.1f} %). DTD is at {dtd.min().min():.1f} to "
        f"{dtd.max().max():.1f} % (chance {100 / CLASSES['dtd']:.1f} %), Pets at "
        f"{pets.min().min():.1f} to {pets.max().max():.1f} % (chance {100 / CLASSES['pets']:.1f} "
        "%)."
    )


def _silhouettes() -> str:
    wide = _wide("silhouette")
    cifar = wide.loc["cifar10"]
    return (
        "In silhouette high purity is above low purity at "
        f"{(wide.high_purity > wide.low_purity).sum()} of {len(wide)} points and above random at "
        f"{(wide.high_purity > wide.random).sum()}. The description's example of a file has "
        f"{DESCRIBED_SILHOUETTE[0]} and {DESCRIBED_SILHOUETTE[1]} for high and low purity at 200 "
        f"neurons, about ten times the figure's {cifar.high_purity[200]:.4f} and "
        f"{cifar.low_purity[200]:.4f} on CIFAR-10."
    )


def _unknown() -> str:
    figures = _figures()
    hidden = figures.marker_partly_hidden
    return (
        "There is one random curve of an unknown number of draws; there are no seeds and no "
        f"intervals: differences of less than a point may be chance. {hidden.sum()} of "
        f"{len(figures)} markers ({(hidden & (figures.strategy == 'random')).sum()} of them "
        "random) are partly covered by another one, so their readings are less certain."
    )


def _which_sets() -> str:
    return (
        "The description runs seven datasets and lists result files of three; the figures show "
        f"eight, with {TITLES[ONLY_IN_FIGURES]}. The images of datasets without a test split "
        "are not named."
    )


def _which_ranking() -> str:
    return (
        "The description's ranking multiplies each projection with its own transpose as it "
        "stands, and lists a function that gives rows unit norm without a call of it: by inner "
        "products instead of cosines, neurons of large norm would count as impure. The text "
        "projection is 512 x 512, so nobody would notice a wrong orientation. We rank by "
        "cosines, and rows are neurons."
    )


_ODDITIES: tuple[Callable[[], str], ...] = (
    _table_and_figure, _above_full, _constant_random, _consistently, _falling, _at_the_end,
    _near_chance, _silhouettes, _unknown, _which_sets, _which_ranking,
)  # fmt: skip


def _wide(metric: str) -> pd.DataFrame:
    """Return the figures by dataset and k, with a column for each strategy."""
    figures = _figures()
    rows = figures[figures.metric == metric]
    return rows.pivot(index=["dataset", "k"], columns="strategy", values="value").loc[list(TITLES)]
