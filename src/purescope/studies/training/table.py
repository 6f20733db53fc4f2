"""The table of a training: how a row is measured, and the folder where the rows are kept.

A row describes one state of a model, and what pruning it by purity gains on one dataset. The folder
only grows: a row stays when its checkpoint is deleted, and is measured again when its checkpoint,
its dataset or purescope has changed. Rows measured with other settings are not mixed with it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from purescope.errors import InputError, OutputError
from purescope.features.features import Features
from purescope.files.manifest import own_manifest, versions, write_manifest
from purescope.maths.cells import mean_over_k
from purescope.maths.layer_measures import effective_rank
from purescope.maths.overlaps import Projections, overlap, relative_overlap
from purescope.maths.significance import spearman
from purescope.maths.strategies import order_neurons
from purescope.studies.bench import Bench
from purescope.studies.orders import warn_of_dead
from purescope.studies.settings import Options
from purescope.tables.files import check_table, parquet_name, write_csv, write_parquet
from purescope.tables.results import read_track
from purescope.tables.schemas import TRACK

_FILE = parquet_name(TRACK)
_BAND = (0.05, 0.95)  # quantiles of the random draws


def measure(
    projections: Projections | None, features: Features | None, options: Options
) -> dict[str, Any]:
    """Return the columns of `purescope.tables.schemas.TRACK` that follow from the arrays.

    Args:
        projections: projections of the model; None where `options.space` is of activations.
        features: features of the model on a dataset; without them accuracies are left out.
        options: the ks, the random orders, the space and whether to renormalise.

    Raises:
        InputError: there is nothing to measure the overlap on, features and projections differ in
            neurons, or a k is out of range.

    Warns:
        UserWarning: some neurons are dead.
    """
    if (projections if options.space == "weights" else features) is None:
        raise InputError(
            f"nothing to measure the overlap of {options.space} on",
            expected="projections for the space weights, features for the others",
        )
    if features is None:
        assert projections is not None  # without features, the space is weights
        order = order_neurons(projections, "high_purity")
        return _row(projections, order) | {"dataset": ""}
    bench = Bench.make(features, projections, options)
    warn_of_dead(bench.strategy_input)
    return _row(bench.space, bench.order("high_purity")) | _pruning(bench)


def _row(space: Projections, order: Tensor) -> dict[str, Any]:
    row: dict[str, Any] = {"neurons": space.neurons}
    for tower, weights in (("image", space.image), ("text", space.text)):
        row |= {f"{tower}_{name}": value for name, value in _purity_columns(weights).items()}
    return row | {"order": order.tolist()}


def _purity_columns(weights: Float[Tensor, "neuron width"]) -> dict[str, float]:
    """Measure one tower, over its live neurons."""
    overlaps = overlap(weights)
    overlaps = overlaps[~overlaps.isnan()]
    return {
        "overlap": overlaps.mean().item(),
        "relative_overlap": relative_overlap(weights).nanmean().item(),
        "purity": (1 / overlaps).mean().item(),
        "purity_sd": (1 / overlaps).std(correction=0).item(),
        "effective_rank": effective_rank(weights),
    }


def _pruning(bench: Bench) -> dict[str, Any]:
    """Measure all neurons, and the curves of high purity, low purity and random."""
    ks, high_purity = bench.ks, bench.order("high_purity")
    full = bench.by_image(high_purity[None], [bench.neurons]).order(0)
    (metrics,) = bench.metrics(full.right, full.top5, full.mean_silhouette).tolist()
    accuracy, _, _, silhouette = metrics
    orders = torch.stack([high_purity, bench.order("low_purity")])
    high, low = bench.accuracies(orders)
    median, band = torch.full_like(high, torch.nan), [torch.nan, torch.nan]
    if bench.options.draws:
        random = bench.accuracies(bench.random_orders(bench.options.draws))
        median = random.quantile(0.5, dim=0)
        band = [mean_over_k(random, ks).quantile(q).item() for q in _BAND]
    curves = {"high_purity": high, "low_purity": low, "random": median}
    means = {name: mean_over_k(curve, ks).item() for name, curve in curves.items()}
    return {
        "dataset": bench.features.dataset,
        "n": len(bench.features.image),
        "classes": len(bench.features.text),
        "accuracy": accuracy,
        "silhouette": silhouette,
        **means,
        "random_low": band[0],
        "random_high": band[1],
        "gap": means["high_purity"] - means["low_purity"],
        "gap_to_random": means["high_purity"] - means["random"],
        **{
            f"{name}_{k}": value.item()
            for name, curve in curves.items()
            for k, value in zip(ks, curve, strict=True)
        },
    }


class Log:
    """The rows measured so far; if there is a folder, they are written after each row.

    Args:
        out: the folder.
        settings: the settings with which all rows are measured.
        overwrite: forget the contents of the folder.
        notes: notes on the data for the manifest, in addition to those that it has.

    Raises:
        OutputError: the folder holds results of other settings, and `overwrite` is not set.
        InputError: its table cannot be read.
    """

    def __init__(
        self,
        out: Path | None,
        settings: Mapping[str, Any],
        *,
        overwrite: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        self.out, self.rows = out, dict[tuple[str, int, str], dict[str, Any]]()
        if out is None:
            return
        earlier = _refuse_others(out, settings, overwrite=overwrite)
        if not overwrite and (out / _FILE).exists():
            self.rows = {_key(row): row for row in _records(read_track(out))}
        notes = list(dict.fromkeys([*earlier.get("notes", []), *notes]))
        manifest = {"settings": dict(settings), "versions": versions()}
        write_manifest(manifest | ({"notes": notes} if notes else {}), out)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row; it replaces an earlier row of the same model, step and dataset."""
        model, step, dataset = _key(row)
        if dataset:
            self.rows.pop((model, step, ""), None)  # a row with purity only
        self.rows[model, step, dataset] = row
        if self.out is not None:
            table = self.table()
            write_parquet(table, self.out / _FILE)
            write_csv(table.drop(columns="order"), self.out / "track.csv")

    def has(self, row: Mapping[str, Any]) -> bool:
        """Tell whether this model, step and dataset has a row that depends on the same inputs."""
        return bool(self.rows.get(_key(row), {}).get("identity") == row["identity"])

    def table(self) -> pd.DataFrame:
        """Return the rows: series in the order in which they were added, each by step."""
        if not self.rows:
            return check_table(pd.DataFrame(columns=list(TRACK.described)), TRACK)
        missing = {"n": 0, "classes": 0}
        table = pd.DataFrame([{**missing, **row} for row in self.rows.values()])
        series = {model: place for place, model in enumerate(table.model.unique())}
        table = table.sort_values(
            ["model", "step"],
            key=lambda column: column.map(series) if column.name == "model" else column,
            kind="stable",
        )
        accuracies_at_k = [str(name) for name in table if str(name) not in TRACK.described]
        columns = [*TRACK.described, *accuracies_at_k]
        return check_table(
            table.assign(**_rank_correlations(table)).reindex(columns=columns), TRACK
        )


def _rank_correlations(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Correlate the order in each row with those of the previous step and of the last step.

    Steps are those of the same model and dataset; the first has no previous one. Places in the
    order are compared, so dead neurons count too: they come last.
    """
    columns = {name: pd.Series(np.nan, table.index) for name in ("rank_previous", "rank_last")}
    for _, rows in table.groupby(["model", "dataset", "neurons"], sort=False):
        places = torch.tensor(np.stack(rows.order.to_list())).argsort(dim=1).double()
        if places.shape[1] > 1:
            columns["rank_last"][rows.index] = spearman(places, places[-1]).numpy()
            columns["rank_previous"][rows.index[1:]] = spearman(places[1:], places[:-1]).numpy()
    return columns


def _key(row: Mapping[str, Any]) -> tuple[str, int, str]:
    return row["model"], row["step"], row["dataset"]


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def _refuse_others(out: Path, settings: Mapping[str, Any], *, overwrite: bool) -> Mapping[str, Any]:
    """Refuse a folder of other settings, or without a manifest of ours; return its manifest.

    Raises:
        OutputError: the folder is refused.
    """
    earlier = own_manifest(out, overwrite=overwrite)
    if earlier is None and (out / _FILE).exists():
        raise OutputError(
            f"{out} holds {_FILE}, of no known training",
            expected="a folder without results, or that of an earlier call: it has a manifest.json "
            "that says so",
            fix="choose another --out, or move this file away",
        )
    if overwrite or earlier is None or earlier.get("settings") == settings:
        return {} if overwrite else earlier or {}
    raise OutputError(
        f"{out} holds results that were measured with other settings",
        expected="a folder without results, or that of an earlier call with the same settings",
        fix="choose another --out, or replace its contents with --overwrite (overwrite=True)",
    )
