"""The table of measures of one neuron."""

from dataclasses import dataclass

from purescope.measures._activations import pearson, polysemanticity
from purescope.measures._weights import (
    RIDGE,
    NeuronMeasure,
    dimensionality,
    interference,
    largest_cosine,
    median_cosine,
    r2,
    root_mean_square,
    signed_mean,
)
from purescope.purity import overlap


@dataclass(frozen=True)
class Measure:
    """A row of `MEASURES`.

    Args:
        of: the function.
        needs: ``weights``, which activations may stand in for, or ``activations``.
        what: one line for readers, with its source.
    """

    of: NeuronMeasure
    needs: str
    what: str


MEASURES: dict[str, Measure] = {
    "l1": Measure(overlap, "weights", "mean |cosine| with the others: the experiment's overlap"),
    "l2": Measure(root_mean_square, "weights", "root mean square cosine"),
    "linf": Measure(largest_cosine, "weights", "largest |cosine|; mutual coherence for a neuron (Donoho and Huo 2001)"),
    "median": Measure(median_cosine, "weights", "median |cosine|"),
    "signed_mean": Measure(signed_mean, "weights", "mean cosine: opposite neurons cancel"),
    "r2": Measure(r2, "weights", f"share the others explain together, at ridge {RIDGE} (Hoerl and Kennard 1970)"),
    "interference": Measure(
        interference, "weights", "squared weight of the others on a neuron's direction (Elhage et al. 2022)"
    ),
    "superposition": Measure(
        lambda projection: 1 - dimensionality(projection),
        "weights",
        "1 - feature dimensionality, what of its dimension a neuron shares (Elhage et al., Scherlis et al. 2022)",
    ),
    "pearson": Measure(
        pearson, "activations", "mean |correlation| of activations: cosine under the covariance of the input"
    ),
    "polysemanticity": Measure(
        polysemanticity, "activations", "1 - MonoSemanticity, how unlike the images it responds to (Pach et al. 2025)"
    ),
}
