"""Measure the search among vectors by name, and write the folder of its results."""

import logging
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from purescope import __version__
from purescope.errors import InputError, noting
from purescope.features.extraction import Progress, quiet
from purescope.files.manifest import hash_of, versions, write_manifest
from purescope.files.writing import refuse_existing
from purescope.maths.bases import is_basis
from purescope.models.model import Model
from purescope.plots.frontier import write_frontiers
from purescope.reduce.codes import DEFAULT, parse_codes
from purescope.reduce.fitting import fit_to_moments, measure_moments
from purescope.reduce.forms.writing import new_folder, require_extra
from purescope.reduce.orders import order_rotation
from purescope.reduce.rotation import Rotation, read_rotation
from purescope.reduce.searching import SearchSet, measure_searches
from purescope.report.writing import try_report
from purescope.runs.identity import now
from purescope.runs.inputs import Sources
from purescope.runs.search_data import Data, Search, expand, open_search
from purescope.specs import to_folder
from purescope.tables.files import parquet_name, write_table
from purescope.tables.results import Results, open_results
from purescope.tables.schema import stack_tables
from purescope.tables.searches import QUERIES, SEARCHES

_log = logging.getLogger("purescope")
_BLOCK = 1 << 13  # rows that axes are fitted to at a time
_PARTS = 8  # of the axes, which are the numbers kept by default
_ENOUGH = 39 * 256  # vectors to learn codebooks from, as faiss recommends


def index(
    data: Data | Sequence[Data],
    *,
    out: str | Path,
    model: str | Model | None = None,
    keep: int | Iterable[int] | None = None,
    codes: str | Sequence[str] = DEFAULT,
    axes: str = "svd",
    by: str | Path | Rotation | None = None,
    ask: str = "",
    queries: int = 1000,
    rows: int = 100_000,
    candidates: int = 100,
    normalise: bool = True,
    seed: int = 0,
    resamples: int = 10_000,
    column: str | None = None,
    array: str | None = None,
    figures: bool = True,
    report: bool = True,
    sources: Sources | None = None,
    progress: Progress = quiet,
) -> Results:
    """Measure what a search finds, by the dimensions kept and by the code of the vectors.

    Each index is built and searched by faiss, in a process of its own. Its ten nearest vectors are
    compared with those of an exact search with all dimensions: recall@10. Then its candidates are
    ordered again by the whole vectors. Everything is measured as deployed: vectors and queries are
    scaled to length 1 again over the kept dimensions.

    Args:
        data: one or several of: a collection of vectors (a file or folder, as `purescope.shrink`
            reads them); ``features:PATH`` (see `purescope.rebase`); ``captions:PATH``; a dataset,
            with a model; features; or the folder of results of a sweep, for its models and data.
        out: the folder, which does not exist or is empty. It appears when it is complete.
        model: the model that encodes datasets.
        keep: numbers of dimensions to keep; by default eighths of all.
        codes: ``f32``, ``f16``, ``int8`` (a byte a dimension), ``binary`` (a bit a dimension), and
            ``pq`` (product quantization, 64 bytes a vector) or ``pqN`` (N bytes).
        axes: axes whose first ones are kept: ``svd``, ``pca``, ``random_rotation`` or a band of
            one, fitted to the vectors in the index; or ``first_k``, the dimensions as they are.
        by: a rotation of `purescope.rebase`, or its path, in place of `axes`.
        ask: ``held-out``: queries are vectors that are left out of the index; ``text``: they are
            captions, or texts of classes. By default captions where there are some.
        queries: number of queries, at most; of vectors that are left out, at most a fifth.
        rows: number of vectors to search in, at most; larger collections are sampled.
        candidates: number of vectors that are ordered again.
        normalise: scale to length 1 over the kept dimensions.
        seed: seed of all that is drawn.
        resamples: number of bootstrap resamples for the confidence intervals over queries.
        column, array: the vectors in a file that has several, as in `purescope.shrink`.
        figures: draw a figure of each frontier.
        report: write ``report.html``.
        sources: where and how models and data are read.
        progress: as in `purescope.extract`.

    Returns:
        The results; ``table("searches")`` is the table.

    Raises:
        InputError: an option is out of range, or data cannot be used.
        ModelError: a dataset without a model.
        OutputError: the folder is not empty, or cannot be written.
        MissingExtraError: faiss is not installed.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from purescope.studies.spectra import Spectrum, make_embeddings
        >>> made = make_embeddings(300, spectrum=Spectrum(neurons=16))
        >>> options = {"keep": [8, 16], "codes": "f32,int8", "queries": 50, "resamples": 100}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file, out = Path(folder, "mine.npy"), Path(folder, "out")
        ...     np.save(file, made.image.numpy())
        ...     results = index(str(file), out=out, figures=False, report=False, **options)
        >>> table = results.table("searches")
        >>> table[(table.k == 16) & (table.code == "f32")].recall.tolist()
        [1.0, 1.0]
    """
    folder = to_folder(out).resolve()
    refuse_existing(folder)
    search = Search(
        parse_codes(codes),
        axes,
        ask,
        queries,
        rows,
        candidates,
        normalise,
        seed,
        resamples,
        column,
        array,
    )
    _check(search, by)
    require_extra("index", "faiss")
    rotation = None if by is None else by if isinstance(by, Rotation) else read_rotation(by)
    sources = sources or Sources()
    started, start = now(), time.perf_counter()
    tables, datasets, models = list[pd.DataFrame](), list[dict[str, Any]](), dict[str, Any]()
    names: set[tuple[str, str]] = set()
    ks = None if keep is None else [keep] if isinstance(keep, int) else list(keep)
    with noting() as notes:
        for item, maker in expand(data, model):
            given, identity = open_search(item, maker, search, sources, progress)
            if (given.model, given.dataset) in names:
                raise InputError(
                    f"two collections called {given.dataset} of {given.model}",
                    expected="a name of its own for each",
                    fix="name one: NAME=DATA",
                )
            names.add((given.model, given.dataset))
            fitted = rotation or _fit(given, search)
            _check_width(given, fitted)
            _log.info("%s: searching among %s vectors", given.dataset, f"{len(given.vectors):,}")
            if any(code.startswith("pq") for code in search.codes):
                _warn_of_few(given)
            tables.append(
                measure_searches(
                    given,
                    fitted,
                    keep=ks if ks is not None else default_keep(fitted.axes),
                    codes=search.codes,
                    candidates=candidates,
                    normalise=normalise,
                    seed=seed,
                    resamples=resamples,
                    tell=partial(_log.info, "%s: %s", given.dataset),
                )
            )
            datasets.append({"name": given.dataset, **identity, "axes": dict(fitted.recipe)})
            models[given.model] = {"label": given.model, "spec": str(identity.get("model", ""))}
        table = stack_tables(tables)
    manifest = {
        "purescope": __version__,
        "tables": [SEARCHES.name],
        "settings": {**asdict(search), "codes": list(search.codes), "keep": ks},
        "models": list(models.values()),
        "datasets": datasets,
        "versions": versions() | {"faiss-cpu": version("faiss-cpu")},
        "threads": torch.get_num_threads(),
        "started": started,
        "finished": now(),
        "seconds": round(time.perf_counter() - start, 1),
        "notes": notes,
    }
    with new_folder(folder) as unfinished:
        write_table(table, unfinished, SEARCHES)
        if figures:
            write_frontiers(table, unfinished)
        file = parquet_name(SEARCHES)
        write_manifest({**manifest, "hashes": {file: [hash_of(unfinished / file)]}}, unfinished)
        if report:
            try_report(unfinished, later=folder)
    return open_results(folder)


def default_keep(axes: int) -> list[int]:
    """Return eighths of the axes: 64 to 512 in steps of 64, of 512.

    Examples:
        >>> default_keep(512), default_keep(4)
        ([64, 128, 192, 256, 320, 384, 448, 512], [1, 2, 3, 4])
    """
    return sorted({max(1, axes * part // _PARTS) for part in range(1, _PARTS + 1)})


def _check(search: Search, by: object) -> None:
    """Refuse options that are out of range, before anything is read.

    Raises:
        InputError: there is one.
    """
    if search.ask not in ("", *QUERIES):
        raise InputError(f"ask {search.ask!r}", expected=" or ".join(QUERIES))
    least = {"queries": 2, "rows": 10, "candidates": 10, "resamples": 1}
    for name, low in least.items():
        if getattr(search, name) < low:
            raise InputError(f"{name} = {getattr(search, name)}", expected=f"at least {low}")
    if by is not None or search.axes == "first_k":
        return
    if search.axes.partition("@")[0] == "cross":
        raise InputError(
            "axes cross, which are not fitted here: they ask both towers",
            expected="svd, pca, random_rotation or first_k",
            fix="purescope rebase MODEL --axes cross --out DIR, and then --by DIR",
        )
    if not is_basis(search.axes):
        raise InputError(
            f"unknown axes {search.axes!r}",
            expected="svd, pca, random_rotation, a band of one, such as svd@8, or first_k",
        )


def _fit(given: SearchSet, search: Search) -> Rotation:
    """Fit axes to the vectors in the index; queries take no part."""
    if search.axes == "first_k":
        neurons = given.vectors.shape[1]
        return order_rotation(range(neurons), neurons, recipe={"axes": "first_k"})
    moments = measure_moments(given.vectors.split(_BLOCK))
    recipe = {"fitted_on": given.dataset, "fitted_on_images": f"{moments.rows} ({moments.digest})"}
    return fit_to_moments(search.axes, moments, None, seed=search.seed, **recipe)


def _check_width(given: SearchSet, rotation: Rotation) -> None:
    if given.vectors.shape[1] != rotation.neurons:
        raise InputError(
            f"{given.dataset}: vectors of {given.vectors.shape[1]:,} dimensions, and a rotation of "
            f"{rotation.neurons:,}",
            expected="the rotation of the model that made the vectors",
            fix="leave out --by: axes are then fitted to the vectors",
        )


def _warn_of_few(given: SearchSet) -> None:
    if len(given.vectors) < _ENOUGH:
        count = f"{len(given.vectors):,}"
        warnings.warn(
            f"{given.dataset}: pq learns its codebooks from {count} vectors, and fits these better "
            f"than it will fit new ones (faiss recommends {_ENOUGH:,})",
            stacklevel=2,
        )
