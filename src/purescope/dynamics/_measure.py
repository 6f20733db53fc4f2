"""One row of the table: what one state of a model is like, and what pruning it by purity gains on one dataset."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.accuracy import accuracy_by_k
from purescope.maths.curves import mean_over_k
from purescope.maths.keep import check_keep, default_keep
from purescope.maths.layer_measures import effective_rank
from purescope.maths.overlaps import Projections, overlap, relative_overlap
from purescope.maths.silhouette import has_silhouette, silhouette_by_k
from purescope.maths.strategies import order_neurons
from purescope.sweep import DRAWS, Options, in_space

_BAND = (0.05, 0.95)  # of the random draws


@dataclass(frozen=True)
class TrackSettings:
    """How checkpoints are measured; every field changes numbers and stands in the manifest.

    `keep` None is the experiment's default for each model, see `purescope.maths.keep.default_keep`; `space` is where
    overlap is measured, see `purescope.sweep.sweep`.
    """

    keep: Sequence[int] | None = None
    draws: int = DRAWS
    seed: int = 0
    protocol: str = "native"
    space: str = "weights"
    renormalise: bool = False

    def __post_init__(self) -> None:
        Options(draws=self.draws, space=self.space, renormalise=self.renormalise)  # raises as a sweep would

    def as_json(self) -> dict[str, Any]:
        """As it is read back from a manifest."""
        return {**asdict(self), "keep": None if self.keep is None else sorted({int(k) for k in self.keep})}


def measure(projections: Projections | None, features: Features | None, settings: TrackSettings) -> dict[str, Any]:
    """The columns of `purescope.dynamics.COLUMNS` that the arrays tell; accuracies only where there are features."""
    if features is not None and (projections is not None or settings.space != "weights"):
        projections = in_space(settings.space, features, projections)
    if projections is None:
        raise InputError(
            f"nothing to measure the overlap of {settings.space} on",
            expected="projections for the space weights, features for the others",
        )
    row: dict[str, Any] = {"neurons": projections.neurons}
    for tower, projection in (("image", projections.image), ("text", projections.text)):
        row |= {f"{tower}_{name}": value for name, value in _purity(projection).items()}
    high = order_neurons(projections, "high_purity")
    row["order"] = high.tolist()
    return row | (_pruned(features, projections, high, settings) if features is not None else {"dataset": ""})


def _purity(projection: Float[Tensor, "neuron width"]) -> dict[str, float]:
    """Of the neurons that live."""
    scores = overlap(projection)
    scores = scores[~scores.isnan()]
    mean = scores.mean().item()
    return {
        "overlap": mean,
        "relative_overlap": relative_overlap(projection).nanmean().item(),
        "purity": (1 / scores).mean().item(),
        "purity_sd": (1 / scores).std(correction=0).item(),
        "effective_rank": effective_rank(projection),
    }


def _pruned(features: Features, projections: Projections, high: Tensor, settings: TrackSettings) -> dict[str, Any]:
    neurons = features.image.shape[1]
    ks = check_keep(default_keep(neurons) if settings.keep is None else settings.keep, neurons)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dead neurons, which the first order has told
        others = [order_neurons(projections, "low_purity")]
        others += [order_neurons(projections, "random", seed=settings.seed + draw) for draw in range(settings.draws)]
    image, text, labels, renormalise = features.image, features.text, features.labels, settings.renormalise
    accuracy = accuracy_by_k(image, text, labels, torch.stack([high, *others]), ks, renormalise=renormalise).top1
    draws = accuracy[2:]
    median = draws.quantile(0.5, dim=0) if len(draws) else torch.full_like(accuracy[0], torch.nan)
    by_k = {"high_purity": accuracy[0], "low_purity": accuracy[1], "random": median}
    means = {name: mean_over_k(values, ks).item() for name, values in by_k.items()}
    band = [mean_over_k(draws, ks).quantile(q).item() if len(draws) else torch.nan for q in _BAND]
    return {
        "dataset": features.dataset,
        "n": len(image),
        "classes": len(text),
        "accuracy": accuracy_by_k(image, text, labels, high, [neurons]).top1.item(),
        "silhouette": silhouette_by_k(image, labels, high, [neurons]).item() if has_silhouette(labels) else torch.nan,
        **means,
        "random_low": band[0],
        "random_high": band[1],
        "gap": means["high_purity"] - means["low_purity"],
        "gap_to_random": means["high_purity"] - means["random"],
        **{f"{name}_{k}": value.item() for name, curve in by_k.items() for k, value in zip(ks, curve, strict=True)},
    }
