"""Measure what a search among stored vectors finds, by kept dimensions and by code.

The reference is an exact search with all dimensions. faiss builds and searches the indexes in a
process of its own, see `purescope.reduce.index_worker`; what it finds is judged here.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

import purescope
from purescope.errors import InputError, OutputError, PurescopeError
from purescope.maths.cells import check_keep
from purescope.maths.intervals import bootstrap_means, percentile_interval, wilson_interval
from purescope.parallel import per_turn
from purescope.reduce.codes import parse_codes
from purescope.reduce.rotation import Rotation
from purescope.tables.files import check_table
from purescope.tables.searches import SEARCHES, STAGES

AT = 10
"""Number of vectors that a search returns."""

_TIE = 1e-6  # a difference of cosines that float32 cannot tell from none
_SCORES = 1 << 25  # scores of an exact search that are held at a time
_GATHERED = 1 << 25  # numbers of found vectors that are held at a time
_WORKER = "purescope.reduce.index_worker"


@dataclass(frozen=True, eq=False)
class SearchSet:
    """Vectors to search in, queries, and what is right.

    Args:
        vectors: ``[row, neuron]`` float32, of length 1.
        queries: ``[query, neuron]`` float32, of length 1.
        asked: ``held-out``: queries are vectors that were left out; ``text``: they are texts.
        task: ``same_label``, ``own_image``, or empty if nothing is known of what is right.
        labels: ``[row]``: of each vector; equal labels are right answers.
        query_labels: ``[query]``.
        model, dataset: short names, for tables and titles.

    Raises:
        InputError: there are fewer than 10 vectors or 2 queries, or shapes do not fit.
    """

    vectors: Float[Tensor, "row neuron"]
    queries: Float[Tensor, "query neuron"]
    asked: str = "held-out"
    task: str = ""
    labels: Int64[Tensor, " row"] | None = None
    query_labels: Int64[Tensor, " query"] | None = None
    model: str = "model"
    dataset: str = "dataset"

    def __post_init__(self) -> None:
        if len(self.vectors) < AT or len(self.queries) < 2:
            raise InputError(
                f"{self.dataset}: {len(self.vectors):,} vectors and {len(self.queries):,} queries",
                expected=f"at least {AT} vectors and two queries",
                fix="give a larger collection",
            )
        if self.vectors.shape[1] != self.queries.shape[1]:
            raise InputError(
                f"{self.dataset}: vectors of {self.vectors.shape[1]:,} dimensions, queries of "
                f"{self.queries.shape[1]:,}",
                expected="the same number: both are of one model",
            )


def measure_searches(
    given: SearchSet,
    rotation: Rotation,
    *,
    keep: Sequence[int],
    codes: str | Sequence[str],
    candidates: int = 100,
    normalise: bool = True,
    seed: int = 0,
    resamples: int = 10_000,
    tell: Callable[[str], object] = lambda text: None,
) -> pd.DataFrame:
    """Measure recall, task, bytes and times of each number of dimensions and each code.

    Args:
        given: vectors and queries.
        rotation: the axes whose first ones are kept.
        keep: numbers of axes, each from 1 to all.
        codes: codes, see `purescope.reduce.codes`.
        candidates: number of rows that an index finds, to be ordered again by whole vectors.
        normalise: scale rows and queries to length 1 over the kept axes, as a smaller model does.
        seed: seed of what is drawn.
        resamples: number of bootstrap resamples for the confidence intervals.
        tell: is called with what was measured just now.

    Returns:
        A table of `purescope.tables.searches.SEARCHES`.

    Raises:
        InputError: a k is out of range, a code is unknown, or there are fewer candidates than
            vectors to return.
        PurescopeError: the process that searches was ended.
    """
    names = parse_codes(codes)
    if candidates < AT:
        raise InputError(
            f"{candidates} candidates",
            expected=f"at least {AT}, the number that a search returns",
        )
    ks = check_keep(keep, rotation.axes)
    tenth, exact = search_exactly(given.vectors, given.queries)
    with tempfile.TemporaryDirectory(prefix="purescope-index-") as name:
        folder = Path(name)
        job = {
            "keep": ks,
            "codes": names,
            "candidates": candidates,
            "at": AT,
            "normalise": normalise,
            "one_tower": given.asked == "held-out",
            "seed": seed % (1 << 31),
            "threads": torch.get_num_threads(),
        }
        _write_job(folder, given, rotation, job)
        cells = _run_worker(folder, tell)
        found = {
            stage: [np.load(folder / f"{stage}_{number}.npy") for number in range(len(cells))]
            for stage in STAGES
        }
    rows = []
    fixed = {
        "model": given.model,
        "dataset": given.dataset,
        "queries": given.asked,
        "axes": rotation.recipe.get("axes", "unknown"),
        "task_metric": given.task,
        "candidates": candidates,
        "vectors": len(given.vectors),
        "n": len(given.queries),
        "neurons": rotation.neurons,
        "normalise": normalise,
        "seed": seed,
    }
    task_exact = _mean(_judge_task(given, exact))
    for stage in STAGES:
        recalls = torch.stack([recall(given, tenth, rows_) for rows_ in map(_ids, found[stage])])
        tasks = torch.stack([_judge_task(given, rows_) for rows_ in map(_ids, found[stage])])
        ends = [interval(values, resamples=resamples, seed=seed) for values in (recalls, tasks)]
        for number, cell in enumerate(cells):
            seconds = cell["search_seconds"] + (stage == "reranked") * cell["rescore_seconds"]
            (recall_low, recall_high), (task_low, task_high) = (
                (float(low[number]), float(high[number])) for low, high in ends
            )
            rows.append(
                fixed
                | {name: cell[name] for name in ("k", "code", "bytes", "shared_bytes")}
                | {"stage": stage, "build_seconds": cell["build_seconds"]}
                | {"query_ms": 1000 * seconds / len(given.queries)}
                | {"recall": _mean(recalls[number]), "task": _mean(tasks[number])}
                | {"recall_low": recall_low, "recall_high": recall_high}
                | {"task_low": task_low, "task_high": task_high, "task_exact": task_exact}
            )
    return check_table(pd.DataFrame(rows, columns=list(SEARCHES.columns)), SEARCHES)


def search_exactly(
    vectors: Float[Tensor, "row neuron"], queries: Float[Tensor, "query neuron"]
) -> tuple[Float[Tensor, " query"], Int64[Tensor, "query found"]]:
    """Return the score of the tenth nearest row, and the ten nearest, by the product.

    Examples:
        >>> score, found = search_exactly(torch.eye(12), torch.eye(12)[:1])
        >>> score, found.shape
        (tensor([0.]), torch.Size([1, 10]))
    """
    scores, found = [], []
    for block in queries.split(per_turn(_SCORES, len(vectors))):
        best = (block @ vectors.T).topk(AT, dim=1)
        scores.append(best.values[:, -1])
        found.append(best.indices)
    return torch.cat(scores), torch.cat(found)


def recall(
    given: SearchSet, tenth: Float[Tensor, " query"], found: Int64[Tensor, "query found"]
) -> Float64[Tensor, " query"]:
    """Return which share of what was found is as near as the ten nearest.

    Rows whose products with the query differ by less than a millionth are equally near.

    Args:
        given: vectors and queries.
        tenth: score of the tenth nearest row by an exact search, see `search_exactly`.
        found: rows that a search found.
    """
    shares = []
    step = per_turn(_GATHERED, AT * given.vectors.shape[1])
    for query, score, rows in zip(
        given.queries.split(step), tenth.split(step), found.split(step), strict=True
    ):
        scores = torch.einsum("qfd,qd->qf", given.vectors[rows], query)
        shares.append((scores >= score[:, None] - _TIE).double().mean(1))
    return torch.cat(shares)


def _judge_task(given: SearchSet, found: Int64[Tensor, "query found"]) -> Float64[Tensor, " query"]:
    """Return how right the rows are that were found; NaN if nothing is known."""
    if given.labels is None or given.query_labels is None:
        return torch.full((len(found),), torch.nan, dtype=torch.float64)
    right: Bool[Tensor, "query found"] = given.labels[found] == given.query_labels[:, None]
    return right.any(1).double() if given.task == "own_image" else right.double().mean(1)


def interval(
    values: Float64[Tensor, "cell query"], *, resamples: int, seed: int
) -> tuple[Float64[Tensor, " cell"], Float64[Tensor, " cell"]]:
    """Return the 95 % bootstrap confidence interval of each mean over queries; NaN for NaN.

    Where all queries have the value 1, or all 0, no resample differs. Then the interval is
    Wilson's, of the share of queries that have this value: it cannot be farther from the end than
    the mean is.

    Examples:
        >>> low, high = interval(torch.ones(1, 100).double(), resamples=50, seed=0)
        >>> low.round(decimals=3), high
        (tensor([0.9630], dtype=torch.float64), tensor([1.], dtype=torch.float64))
    """
    if values.isnan().any():
        unknown = torch.full((len(values),), torch.nan, dtype=torch.float64)
        return unknown, unknown
    groups = torch.zeros(values.shape[1], dtype=torch.int64)
    resampled = bootstrap_means(values, groups, resamples=resamples, seed=seed)
    low, high = percentile_interval(resampled)
    mean = values.mean(1)
    wilson_low, wilson_high = wilson_interval(mean, values.shape[1])
    low = torch.where(mean == 1, wilson_low, low)
    high = torch.where(mean == 0, wilson_high, high)
    return low.clamp(0, 1), high.clamp(0, 1)


def _mean(values: Float64[Tensor, " query"]) -> float:
    return float(values.mean())


def _ids(found: np.ndarray) -> Tensor:
    return torch.from_numpy(found)


def _write_job(folder: Path, given: SearchSet, rotation: Rotation, job: dict[str, Any]) -> None:
    """Write what the process reads: ``job.json`` and four arrays.

    Raises:
        OutputError: there is no room for it.
    """
    tower = "image" if given.asked == "held-out" else "text"
    arrays = {
        "vectors": given.vectors,
        "queries": given.queries,
        "turned_vectors": rotation.apply(given.vectors, normalise=False),
        "turned_queries": rotation.apply(given.queries, tower=tower, normalise=False),
    }
    try:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array.numpy())
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"cannot write {folder}: {error.strerror or error}",
            expected="room for two copies of the vectors",
            fix="free some space, set TMPDIR to a larger disk, or search in fewer --rows",
        ) from error


def _run_worker(folder: Path, tell: Callable[[str], object]) -> list[dict[str, Any]]:
    """Run the process that searches, and return what it says of each index.

    Raises:
        PurescopeError: it was ended, or failed.
    """
    source = str(Path(purescope.__file__).resolve().parent.parent)
    paths = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    # -P: a module in the working folder of the user is not imported in place of one of ours.
    command = [sys.executable, "-P", "-m", _WORKER, str(folder)]
    errors = folder / "errors.txt"
    cells: list[dict[str, Any]] = []
    with (
        errors.open("wb") as sink,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            env={**os.environ, "PYTHONPATH": paths},
        ) as process,
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                cells.append(json.loads(line))
                tell(f"{cells[-1]['k']:,} dimensions, {cells[-1]['code']}")
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = errors.read_text(encoding="utf-8", errors="replace").splitlines()
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "")
        raise PurescopeError(
            f"the process that searches ended with {process.returncode}: "
            f"{reason or 'it was killed'}",
            expected="memory for two copies of the vectors",
            fix="search in fewer vectors: --rows N (rows=N)",
        )
    return cells
