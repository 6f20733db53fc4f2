"""Name and style of each strategy, in every figure and on every page.

The palette is that of Okabe and Ito, whose colours can be distinguished by colour-blind readers. On
the page, colours are CSS variables, so themes are CSS.
"""

from dataclasses import dataclass

# Colours of Okabe and Ito, and two more, for strategies without a colour in `PALETTE`.
_MORE = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A7B00", "#7A4FA3")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
_SHAPES = ("diamond", "triangle-up", "cross", "triangle-down", "stroke")

NAMES = {
    "high_purity": "highest purity",
    "low_purity": "lowest purity",
    "random": "random",
    "full": "all neurons",
    "weight_norm": "largest weight norm",
    "activation_variance": "largest variance",
    "first_k": "first by index",
    "greedy_purity": "greedy purity",
    "pivoted_qr": "pivoted QR",
    "ape": "APE",
    "importance": "importance (by labels)",
    "svd": "SVD basis",
    "pca": "PCA basis",
    "random_rotation": "random rotation",
}
METRIC_NAMES = {
    "accuracy": "Accuracy",
    "top5_accuracy": "Top-5 accuracy",
    "mean_class_recall": "Mean class recall",
    "silhouette": "Silhouette",
}


@dataclass(frozen=True)
class Look:
    """Name and style of one strategy.

    Args:
        name: name in the tables.
        label: name for readers.
        colour: a CSS value, ``var(--...)``.
        value: the value of that variable on a light page.
        dash: lengths of strokes and gaps.
        shape: shape of its points, by Vega's names; empty for none.
        filled: whether the points are filled.
        shown: whether it is shown at first.
    """

    name: str
    label: str
    colour: str
    value: str
    dash: list[int]
    shape: str
    filled: bool = True
    shown: bool = True


def strategy_name(name: str) -> str:
    """Return the name of a strategy for readers."""
    return NAMES.get(name, name.replace("_", " "))


def looks(strategies: list[str]) -> list[Look]:
    """Return one look for each strategy, no two alike."""
    fixed = {
        "high_purity": ([1, 0], "circle", True),
        "low_purity": ([6, 2], "square", False),
        "random": ([1, 0], "", True),
    }
    styles = []
    for position, name in enumerate(strategies):
        label = strategy_name(name)
        if name in fixed:
            dash, shape, filled = fixed[name]
            look = Look(name, label, _variable(name), PALETTE[name], dash, shape, filled)
        else:
            more = position - len(fixed)
            colour = more % len(_MORE)
            dash, shape = _DASHES[more % len(_DASHES)], _SHAPES[more % len(_SHAPES)]
            variable = f"var(--more-{colour + 1})"
            look = Look(name, label, variable, _MORE[colour], dash, shape, shown=False)
        styles.append(look)
    return styles


def variables() -> dict[str, str]:
    """Return the CSS variables of all colours on a light page.

    The stylesheet derives those of the dark page from them.
    """
    named = {
        name.replace("_", "-"): PALETTE[name]
        for name in ("high_purity", "low_purity", "random", "image", "text")
    }
    more = {f"more-{number}": value for number, value in enumerate(_MORE, start=1)}
    return {f"--light-{name}": value for name, value in (named | more).items()}


def _variable(name: str) -> str:
    return f"var(--{name.replace('_', '-')})"


PALETTE = {
    "high_purity": "#0072B2",
    "low_purity": "#D55E00",
    "random": "#6E6E6E",
    "full": "#000000",
    "gap": "#009E73",
    "gap_to_random": "#0072B2",
    "order": "#000000",
    "image": "#56B4E9",
    "text": "#E69F00",
}
"""Colour of each strategy, curve or tower. Blue and vermilion are equally dark in grey print, and
both can be read on black and on white.
"""
