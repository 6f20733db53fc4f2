"""The sweep: every strategy, draw and k on one set of features; encoded once, ordered once, each k a prefix."""

import warnings
from collections.abc import Iterable

import pandas as pd
import torch
from torch import Tensor

from purescope.errors import InputError, did_you_mean
from purescope.evaluation import accuracy_by_k, has_silhouette, silhouette_by_k
from purescope.features import Features
from purescope.ordering import STRATEGIES, check_keep, default_keep, order_neurons
from purescope.purity import Projections, activation_space
from purescope.statistics import wilson_interval
from purescope.tables import COLUMNS, METRICS, check_table

DRAWS = 50
SPACES = ("weights", "activations", "centred")


def sweep(
    features: Features,
    projections: Projections | None = None,
    *,
    keep: int | Iterable[int] | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    space: str = "weights",
    renormalise: bool = False,
) -> pd.DataFrame:
    """Accuracy and silhouette of every strategy at every k, as the tidy table of `purescope.tables`.

    Args:
        features: image and class features of one model on one dataset.
        projections: that model's projections, by which the neurons are ranked in the space ``weights``.
        keep: the ks; by default the experiment's, see `default_keep`.
        draws: how many random orders; draw r has the seed ``seed + r``.
        seed: of the first random order.
        space: where overlap is measured: ``weights``, the experiment's; ``activations`` or ``centred``, the neurons'
            activations in `features`, see `purescope.purity.activation_space`.
        renormalise: give class features unit norm again over the neurons kept; the experiment does not.

    Raises:
        InputError: a k is out of range, `draws` is negative, the space is unknown, or features and projections differ
            in neurons.
    """
    projections = _in_space(space, features, projections)
    neurons = projections.neurons
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 0:
        raise InputError(f"draws = {draws}", expected="0 or more random orders")
    if not has_silhouette(features.labels):
        warnings.warn("no silhouette: it needs two classes, and one with two images", stacklevel=2)
    ks = check_keep(default_keep(neurons) if keep is None else keep, neurons)
    runs = [(strategy, draw) for strategy in STRATEGIES for draw in range(draws if strategy == "random" else 1)]
    orders = torch.stack([_order(projections, strategy, seed + draw) for strategy, draw in runs])
    parts = [
        _rows(features, orders[:1], [("full", 0)], [neurons], renormalise),
        _rows(features, orders, runs, ks, renormalise),
    ]
    table = pd.concat(parts, ignore_index=True)
    return check_table(table.assign(seed=seed + table.draw, space=space))


def _in_space(space: str, features: Features, projections: Projections | None) -> Projections:
    if space not in SPACES:
        raise InputError(f"unknown space {space!r}", expected=did_you_mean(space, SPACES))
    if space != "weights":
        return activation_space(features.image, features.text, centred=space == "centred")
    neurons = features.image.shape[1]
    if projections is None or projections.neurons != neurons:
        came = "no projections" if projections is None else f"projections of {projections.neurons}"
        raise InputError(
            f"features of {neurons} neurons, {came}",
            expected="features and projections of one model",
            fix="" if projections is not None else "give model.projections, or space='activations'",
        )
    return projections


def _order(projections: Projections, strategy: str, seed: int) -> Tensor:
    with warnings.catch_warnings():
        if strategy != "high_purity":  # dead neurons are warned of once, not in every order
            warnings.simplefilter("ignore")
        return order_neurons(projections, strategy, seed=seed)


def _rows(
    features: Features, orders: Tensor, runs: list[tuple[str, int]], ks: list[int], renormalise: bool
) -> pd.DataFrame:
    """One row for each run, k and metric."""
    image, text, labels = features.image, features.text, features.labels
    accuracy = accuracy_by_k(image, text, labels, orders, ks, renormalise=renormalise)
    silhouette = _silhouette(image, labels, orders, ks)
    values = torch.stack([accuracy.top1, accuracy.top5, accuracy.recall, silhouette], dim=2)
    low, high = torch.full_like(values, torch.nan), torch.full_like(values, torch.nan)
    low[..., :2], high[..., :2] = wilson_interval(values[..., :2], len(image))
    index = pd.MultiIndex.from_tuples(
        [(strategy, draw, k, metric) for strategy, draw in runs for k in ks for metric in METRICS],
        names=["strategy", "draw", "k", "metric"],
    )
    table = pd.DataFrame({"value": values.ravel(), "low": low.ravel(), "high": high.ravel()}, index=index).reset_index()
    return table.assign(
        model=features.model,
        dataset=features.dataset,
        n=len(image),
        classes=len(text),
        neurons=image.shape[1],
        seed=0,
        space="",
        renormalise=renormalise,
        protocol=features.identity.get("protocol", ""),
    )[list(COLUMNS)]


def _silhouette(image: Tensor, labels: Tensor, orders: Tensor, ks: list[int]) -> Tensor:
    """NaN where the labels admit none."""
    if has_silhouette(labels):
        return silhouette_by_k(image, labels, orders, ks)
    return torch.full((len(orders), len(ks)), torch.nan, dtype=torch.float64)
