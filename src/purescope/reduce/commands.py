"""Find the command that makes the smaller model of a choice, as it is typed."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from purescope.formats import is_axes
from purescope.maths.strategies import STRATEGIES
from purescope.specs import split_label

_NO_NAME = ("", "features")  # in place of a name, of what was given as arrays
_CAPTIONS = "captions:"  # which an export fits no axes to


@dataclass(frozen=True)
class Named:
    """What the models and datasets of a sweep were called in its command.

    Args:
        models, datasets: the specs, by label or name.
        seed: the seed of the sweep.
    """

    models: Mapping[str, str]
    datasets: Mapping[str, str]
    seed: int = 0


def named_in(manifest: Mapping[str, Any]) -> Named:
    """Read the names from a manifest; they are empty where it does not say them.

    Examples:
        >>> named_in({"models": [{"label": "CLIP", "spec": "bundled:clip"}]}).models
        {'CLIP': 'bundled:clip'}
    """
    return Named(
        models={
            str(one.get("label")): str(one.get("spec", "")) for one in _rows(manifest, "models")
        },
        datasets={
            str(one.get("name")): str(one.get("spec", "")) for one in _rows(manifest, "datasets")
        },
        seed=int(manifest.get("settings", {}).get("seed", 0)),
    )


def _rows(manifest: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return list(manifest.get(name, []))


def export_command(named: Named, model: str, strategy: str, k: int, measured: pd.DataFrame) -> str:
    """Return the command that makes the model of a choice.

    Args:
        named: what the model and the datasets were called.
        model: label of the model.
        strategy, k: the choice.
        measured: the rows of the results of this model on the datasets that count.

    Returns:
        The command; empty where no single one makes these dimensions: the sweep names no model,
        each dataset has an order of its own, or neurons were ranked in another way than an export
        ranks them.

    Examples:
        >>> rows = {"dataset": "flags", "space": "weights", "measure": "l1", "towers": "both"}
        >>> names = Named({"CLIP": "bundled:clip"}, {"flags": "bundled:flags"})
        >>> export_command(names, "CLIP", "svd@8", 32, pd.DataFrame([rows]))
        'purescope export bundled:clip --keep 32 --axes svd@8 --out smaller'
        >>> export_command(names, "CLIP", "pca", 32, pd.DataFrame([rows]))
        'purescope export bundled:clip --keep 32 --axes pca --data bundled:flags --out smaller'
        >>> export_command(names, "CLIP", "importance", 32, pd.DataFrame([rows]))
        ''
    """
    spec = named.models.get(model, "")
    options = _options(named, strategy, measured)
    if spec in _NO_NAME or options is None:
        return ""
    return shlex.join(["purescope", "export", spec, "--keep", str(k), *options, "--out", "smaller"])


def _options(named: Named, strategy: str, measured: pd.DataFrame) -> Sequence[str] | None:
    """Return the options that name the dimensions; None where there are none."""
    by_weights = bool((measured.space == "weights").all())
    if is_axes(strategy):
        basis = strategy.partition("@")[0]
        if basis == "pca":
            names = list(measured.dataset.unique())
            data = named.datasets.get(str(names[0]), "") if len(names) == 1 else ""
            if data in _NO_NAME or split_label(data)[1].startswith(_CAPTIONS):
                return None
            return ["--axes", strategy, "--data", data]
        if basis == "random_rotation":
            seed = ["--seed", str(named.seed)] if named.seed else []
            return ["--axes", strategy, *seed]
        return ["--axes", strategy] if by_weights else None
    if strategy not in STRATEGIES or STRATEGIES[strategy].needs != "weights":
        return None
    ranked = by_weights and bool(((measured.measure == "l1") & (measured.towers == "both")).all())
    return ["--order", strategy] if ranked or strategy == "first_k" else None
