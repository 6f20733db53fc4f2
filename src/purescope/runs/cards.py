"""Find what the model card of an export says: its origin, its numbers, and how to measure it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from purescope.errors import InputError, listed
from purescope.models.towers import Towers
from purescope.reduce.forms.card import Number, Origin
from purescope.reduce.forms.table import Smaller
from purescope.reduce.rotation import Rotation
from purescope.tables.results import Results, open_results
from purescope.tables.schema import each_row
from purescope.tables.shares import SHARES

_FULL = "full"
_FIRST = ("axes", "order", "neurons", "kept", "model", "model_weights", "fitted_on")


def describe_origin(spec: str, label: str, smaller: Smaller, forms: Sequence[str]) -> Origin:
    """Return what an export is made from, and the command that makes it again if there is one."""
    rotation = smaller.rotation
    words = ["purescope", "export", spec, "--keep", str(rotation.axes), "--to", ",".join(forms)]
    name = _find_strategy(rotation)
    words += ["--order" if "order" in rotation.recipe else "--axes", name]
    command = shlex.join([*words, *_seed(rotation), "--out", "DIR"]) if name else ""
    return Origin(
        spec=spec,
        label=label,
        neurons=smaller.towers.neurons,
        kept=rotation.axes,
        recipe=_in_order(rotation.recipe),
        command=command,
    )


def suggest_sweep(spec: str, rotation: Rotation) -> str:
    """Return the command that measures what is kept; empty if a sweep has no such axes."""
    name = _find_strategy(rotation)
    if not name:
        return ""
    words = ["purescope", "sweep", spec, "--data", "DATASET", "--strategies", name]
    words += ["--keep", str(rotation.axes), "--renormalise"]
    return shlex.join([*words, *_seed(rotation), "--out", "results"])


def read_numbers(folder: Path, towers: Towers, rotation: Rotation) -> list[Number]:
    """Read what a sweep measured for these axes and this number of dimensions.

    Raises:
        InputError: the sweep is of another model, without `renormalise`, or has no such numbers.
    """
    results = open_results(folder)
    label = _find_label(results, towers)
    table = results.table("results")
    table = table[(table.model == label) & table.renormalise]
    if table.empty:
        raise _not_deployed(results)
    name, k = _find_strategy(rotation), rotation.axes
    rows = table[(table.strategy == name) & (table.k == k)]
    if rows.empty:
        known = [strategy for strategy in results.strategies if strategy != _FULL]
        raise InputError(
            f"{folder} has no numbers of {name or 'these axes'} with {k:,} dimensions",
            expected=f"one of its strategies, {listed(known)}, and one of its k, "
            f"{listed(map(str, sorted(set(table.k))))}",
            fix=suggest_sweep("MODEL", rotation) or "leave out --results",
        )
    shares = results.rows(SHARES)
    shares = shares[(shares.model == label) & (shares.strategy == name) & (shares.k == k)]
    judged = shares[(shares.half == "judge") & shares.low.notna()]
    kept = {(row.dataset, row.metric): (row.share, row.low) for row in each_row(judged)}
    return [
        _to_number(row, *kept.get((row.dataset, row.metric), (None, None)))
        for row in each_row(rows)
    ]


def _to_number(row: Any, share: float | None, share_low: float | None) -> Number:
    return Number(
        metric=row.metric,
        k=int(row.k),
        value=float(row.value),
        low=float(row.low),
        high=float(row.high),
        share=share,
        share_low=share_low,
        dataset=row.dataset,
    )


def _find_label(results: Results, towers: Towers) -> str:
    """Return the label of the model in a folder of results, by the hash of its weights.

    Raises:
        InputError: it is not among the models.
    """
    weights = towers.identity["weights"]
    models = results.manifest.get("models", [])
    labels = [str(model["label"]) for model in models if model.get("weights") == weights]
    if not labels:
        raise InputError(
            f"{results.path} has no numbers of this model",
            expected=f"a sweep of it, not of {listed(results.models) or 'nothing'}",
            fix="purescope sweep MODEL --data DATASET --renormalise --out DIR",
        )
    return labels[0]


def _not_deployed(results: Results) -> InputError:
    """Return the error about numbers that an export does not reach: no row is scaled again."""
    return InputError(
        f"{results.path} is a sweep without --renormalise",
        expected="numbers of embeddings that are scaled to length 1 over the kept dimensions, "
        "as those of an export are",
        fix="measure them again, with --renormalise into another folder",
    )


def _in_order(recipe: Mapping[str, str]) -> dict[str, str]:
    """Return a recipe in one order, what matters first; a file keeps none."""
    first = [name for name in _FIRST if name in recipe]
    return {name: recipe[name] for name in (*first, *sorted(recipe.keys() - set(_FIRST)))}


def _seed(rotation: Rotation) -> list[str]:
    seed = rotation.recipe.get("seed", "0")
    return ["--seed", seed] if seed != "0" else []


def _find_strategy(rotation: Rotation) -> str:
    """Return the strategy of a sweep that keeps the same dimensions; empty if there is none."""
    recipe = rotation.recipe
    if recipe.get("fitted_on") != "weights":
        return ""
    return recipe.get("order") or recipe["axes"]
