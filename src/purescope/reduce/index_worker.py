"""Build and search indexes with faiss, in a process of its own.

The threads of faiss and those of torch come from two OpenMP runtimes, which must not meet in one
process on macOS. So this file imports neither torch nor a module that does. It is run as
``python -m purescope.reduce.index_worker FOLDER`` by `purescope.reduce.searching`, which says what
FOLDER holds, and prints one line of JSON for each index.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np

from purescope.reduce.codes import parts_of
from purescope.reduce.coding import draw_rotation, refine, rescore, signs, unit, weigh

# k-means of product quantization: twice as much of either adds about 0.01 to recall, and seconds.
_PER_CENTROID, _ITERATIONS = 64, 10
_BITS = 8  # of the codewords of a part
_PLACES = (
    8  # of a part, or a multiple: with fewer, faiss takes ten times as long to learn codewords
)


class Built(NamedTuple):
    """An index.

    Args:
        search: returns the nearest rows to queries, the nearest first.
        bytes: of each vector.
        shared_bytes: of what all vectors share, such as codebooks.
    """

    search: Callable[[np.ndarray, int], np.ndarray]
    bytes: int
    shared_bytes: int


def build(
    code: str, rows: np.ndarray, query_mean: np.ndarray, seed: int, *, threads: int = 1
) -> Built:
    """Build an index of rows [row, dimension] for inner products.

    Args:
        code: a code of `purescope.reduce.codes.parse_codes`.
        rows: float32, of length 1 where the search is by cosine.
        query_mean: the mean of queries.
        seed: the seed of what is drawn.
        threads: number of threads for what faiss does not do.
    """
    if code.startswith("pq"):
        return _build_pq(rows, query_mean, parts_of(code, rows.shape[1]), seed, threads)
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


def _build_pq(
    rows: np.ndarray, query_mean: np.ndarray, parts: int, seed: int, threads: int
) -> Built:
    """Quantize parts of equal weight, and weigh what queries weigh.

    An error e of a row changes the product with a query q by q.e, on average over queries by
    ``e.T W e`` squared, where W is the second moment of queries. So rows are turned by the root of
    W before they are quantized, and queries by its inverse, which keeps every product. W is taken
    from the rows, with the mean of the queries. In principal axes, the axes are dealt out so that
    the product of the variances is about the same in each part: parametric OPQ (Ge et al. 2013,
    3.3). The mean m of the rows is taken away. It changes no order: the product of a query with m
    is the same number for all rows. W is that of all queries; those that ask for a row lie near it,
    therefore codewords are chosen again by `refine`.
    """
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = rows - mean
    turn_rows, turn_queries = weigh(centred, query_mean, parts, multiple=_PLACES)
    bits = min(_BITS, int(np.log2(len(rows))))
    index = faiss.IndexPQ(turn_rows.shape[1], parts, bits, faiss.METRIC_INNER_PRODUCT)
    index.pq.cp.seed, index.pq.cp.niter = seed, _ITERATIONS
    index.pq.cp.min_points_per_centroid = 1  # of few rows, faiss would warn; so does the caller
    index.pq.cp.max_points_per_centroid = _PER_CENTROID
    turned = centred @ turn_rows
    sample = min(len(rows), _PER_CENTROID << bits)
    # k-means of a part is so short that a second thread would wait more than it works.
    faiss.omp_set_num_threads(1)
    index.train(turned[np.random.default_rng(seed).permutation(len(rows))[:sample]])
    faiss.omp_set_num_threads(threads)
    if bits == _BITS:
        towards = (query_mean + centred) @ turn_queries
        centroids = faiss.vector_to_array(index.pq.centroids).reshape(parts, 1 << bits, -1)
        nearest = index.pq.compute_codes(turned)
        index.add_sa_codes(refine(turned, towards, centroids, nearest, threads=threads))
    else:
        index.add(turned)
    # Places that are left empty need not be stored.
    k = rows.shape[1]
    shared = 4 * k * ((1 << bits) + 2 * k)
    return Built(
        lambda queries, count: index.search(queries @ turn_queries, count)[1],
        index.sa_code_size(),
        shared,
    )


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
    for k in job["keep"]:
        rows, asked = (np.ascontiguousarray(array[:, :k]) for array in turned)
        if job["normalise"]:
            rows, asked = unit(rows), unit(asked)
        # Queries of the same tower have the mean of the vectors, those of another their own.
        query_mean = (rows if job["one_tower"] else asked).mean(axis=0)
        for code in job["codes"]:
            start = time.perf_counter()
            built = build(code, rows, query_mean, job["seed"], threads=job["threads"])
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
                "bytes": built.bytes,
                "shared_bytes": built.shared_bytes,
                "build_seconds": done - start,
                "search_seconds": searched - done,
                "rescore_seconds": rescored - searched,
            }
            number += 1


if __name__ == "__main__":
    for line in measure(Path(sys.argv[1])):
        print(json.dumps(line), flush=True)
