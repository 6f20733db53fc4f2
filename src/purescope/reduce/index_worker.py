"""Build and search indexes with faiss, in a process of its own.

The threads of faiss and those of torch come from two OpenMP runtimes, which must not meet in one
process on macOS. So this file imports neither torch nor a module that does. It is run as
``python -m purescope.reduce.index_worker FOLDER`` by `purescope.reduce.searching`, which says what
FOLDER holds, and prints one line of JSON for each index.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from purescope.reduce.codes import clusters_of, parts_of
from purescope.reduce.coding import Built, draw_rotation, rescore, signs, unit
from purescope.reduce.product_quantization import build_pq, cluster


def build(
    code: str,
    rows: np.ndarray,
    query_mean: np.ndarray,
    seed: int,
    clusters: np.ndarray,
    *,
    threads: int = 1,
) -> Built:
    """Build an index of rows [row, dimension] for inner products.

    Args:
        code: a code of `purescope.reduce.codes.parse_codes`.
        rows: float32, of length 1 where the search is by cosine.
        query_mean: the mean of queries.
        seed: the seed of what is drawn.
        clusters: the cluster of each row, for product quantization.
        threads: number of threads for what faiss does not do.
    """
    if code.startswith("pq"):
        parts = parts_of(code, rows.shape[1], len(rows))
        return build_pq(rows, query_mean, parts, seed, clusters, threads)
    if code == "binary":
        return _build_binary(rows, query_mean, seed)
    if code == "f32":
        flat = faiss.IndexFlatIP(rows.shape[1])
        flat.add(rows)
        return Built(lambda queries, count: flat.search(queries, count)[1], 4 * rows.shape[1], 0)
    kind = {
        "f16": faiss.ScalarQuantizer.QT_fp16,
        "int8": faiss.ScalarQuantizer.QT_8bit,
    }[code]
    scalar = faiss.IndexScalarQuantizer(rows.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    scalar.train(rows)
    scalar.add(rows)
    shared = 4 * scalar.sq.trained.size()
    return Built(
        lambda queries, count: scalar.search(queries, count)[1], scalar.sa_code_size(), shared
    )


def _build_binary(rows: np.ndarray, query_mean: np.ndarray, seed: int) -> Built:
    """Keep the sign of each dimension, without the mean and after a random rotation.

    With a large mean nearly all rows would have the same signs. After the rotation every bit holds
    the same: without it, the weakest axis would count as much as the strongest.
    """
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    turn = draw_rotation(rows.shape[1], seed)
    bits = signs(rows - mean, turn)
    index = faiss.IndexBinaryFlat(8 * bits.shape[1])
    index.add(bits)
    return Built(
        lambda queries, count: index.search(signs(queries - query_mean, turn), count)[1],
        bits.shape[1],
        turn.nbytes + 2 * mean.nbytes,
    )


class _Sorter:
    """Sorts rows into the clusters of a code, one time for all numbers of axes."""

    def __init__(self, rows: np.ndarray, seed: int) -> None:
        self._rows, self._seed = rows, seed
        self._done: dict[int, tuple[np.ndarray, float]] = {}

    def __call__(self, code: str) -> tuple[np.ndarray, float]:
        """Return the cluster of each row, and the seconds that it took to find them."""
        count = clusters_of(code, len(self._rows))
        if count not in self._done:
            start = time.perf_counter()
            clusters = cluster(self._rows, count, self._seed)
            self._done[count] = clusters, time.perf_counter() - start
        return self._done[count]


def measure(folder: Path) -> Iterator[dict[str, Any]]:
    """Build and search each index of a job, and write what it finds."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    faiss.omp_set_num_threads(job["threads"])
    # Rows for the second pass are read where they are, as from a disk.
    vectors, queries = (
        np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("vectors", "queries")
    )
    turned = [
        np.load(folder / f"turned_{name}.npy", mmap_mode="r") for name in ("vectors", "queries")
    ]
    count, number = min(job["candidates"], len(vectors)), 0
    sort = _Sorter(turned[0], job["seed"])
    for k in job["keep"]:
        rows, asked = (np.ascontiguousarray(array[:, :k]) for array in turned)
        if job["normalise"]:
            rows, asked = unit(rows), unit(asked)
        # Queries of the same tower have the mean of the vectors, those of another their own.
        query_mean = (rows if job["one_tower"] else asked).mean(axis=0)
        for code in job["codes"]:
            clusters, sorting = sort(code)
            start = time.perf_counter()
            built = build(code, rows, query_mean, job["seed"], clusters, threads=job["threads"])
            done = time.perf_counter()
            candidates = built.search(asked, count).astype(np.int64)
            searched = time.perf_counter()
            best = rescore(candidates, vectors, queries, job["at"])
            rescored = time.perf_counter()
            np.save(folder / f"single_{number}.npy", candidates[:, : job["at"]])
            np.save(folder / f"reranked_{number}.npy", best)
            yield {
                "k": k,
                "code": code,
                "bytes": built.row_bytes,
                "shared_bytes": built.shared_bytes,
                "build_seconds": sorting + done - start,
                "search_seconds": searched - done,
                "rescore_seconds": rescored - searched,
            }
            number += 1


if __name__ == "__main__":
    for line in measure(Path(sys.argv[1])):
        print(json.dumps(line), flush=True)
