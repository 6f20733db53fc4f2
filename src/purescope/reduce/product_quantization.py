"""Build an index by product quantization with faiss: clusters, parts, and codewords for each part.

It is imported by `purescope.reduce.index_worker` only, whose process has no torch.
"""

from typing import Any

import faiss
import numpy as np

from purescope.reduce.codes import CLUSTER_BYTES
from purescope.reduce.codewords import improve, refine, weigh
from purescope.reduce.coding import Built

# k-means of codewords: more of either takes seconds, and adds less than 0.01 to recall.
_PER_CENTROID, _ITERATIONS = 64, 10
_TURNS = 2  # of choosing and moving codewords
_BITS = 8  # of the codewords of a part
# k-means of clusters: axes that it looks at, rows for each cluster that it learns from
_CLUSTER_AXES, _PER_CLUSTER, _CLUSTER_ITERATIONS = 192, 24, 6
# Of a part, or a multiple: with fewer, faiss takes ten times as long to learn codewords.
_PLACES = 8


def cluster(rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Sort rows into clusters by k-means, by their first axes, and return the cluster of each."""
    if count == 1:
        return np.zeros(len(rows), np.int64)
    rows = np.ascontiguousarray(rows[:, :_CLUSTER_AXES])
    means = faiss.Kmeans(
        rows.shape[1],
        count,
        niter=_CLUSTER_ITERATIONS,
        seed=seed,
        max_points_per_centroid=_PER_CLUSTER,
        min_points_per_centroid=1,
    )
    means.train(rows)
    nearest: np.ndarray = means.index.search(rows, 1)[1][:, 0]
    return nearest


def build_pq(
    rows: np.ndarray,
    query_mean: np.ndarray,
    parts: int,
    seed: int,
    clusters: np.ndarray,
    threads: int,
) -> Built:
    """Quantize parts of equal weight, and weigh what queries weigh.

    What is quantized is the difference of each row from the centre of its cluster (IVFADC: Jégou et
    al. 2011). One cluster of all rows is none: the product of a query with the mean of all rows is
    the same number for each, and changes no order.

    An error e of a row changes the product with a query q by q.e, on average over queries by
    ``e.T W e`` squared, where W is the second moment of queries. So rows are turned by the root of
    W before they are quantized, and queries by its inverse, which keeps every product. W is taken
    from the rows, with the mean of the queries. In principal axes, the axes are dealt out so that
    the product of the variances is about the same in each part: parametric OPQ (Ge et al. 2013,
    3.3). W is that of all queries; those that ask for a row lie near it, therefore codewords are
    chosen again by `refine` and moved by `improve`, in turns.
    """
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = rows - mean
    by_cluster, counts = np.argsort(clusters, kind="stable"), np.bincount(clusters)
    centres = _means(centred[by_cluster], counts)
    rest = centred - centres[clusters]
    turn_rows, turn_queries = weigh(centred, query_mean, rest, parts, multiple=_PLACES)
    turned = rest @ turn_rows
    bits = min(_BITS, int(np.log2(len(rows))))
    coarse = faiss.IndexFlatIP(turned.shape[1])
    coarse.add(centres @ turn_rows)
    index = faiss.IndexIVFPQ(
        coarse, turned.shape[1], len(centres), parts, bits, faiss.METRIC_INNER_PRODUCT
    )
    index.nprobe = len(centres)  # all rows are compared
    index.pq.cp.seed, index.pq.cp.niter = seed, _ITERATIONS
    index.pq.cp.min_points_per_centroid = 1  # of few rows, faiss would warn; so does the caller
    index.pq.cp.max_points_per_centroid = _PER_CENTROID
    sample = min(len(rows), _PER_CENTROID << bits)
    # k-means of a part is so short that a second thread would wait more than it works.
    faiss.omp_set_num_threads(1)
    index.pq.train(turned[np.random.default_rng(seed).permutation(len(rows))[:sample]])
    faiss.omp_set_num_threads(threads)
    codes = index.pq.compute_codes(turned)
    if bits == _BITS:
        towards = (query_mean + centred) @ turn_queries
        centroids = faiss.vector_to_array(index.pq.centroids).reshape(parts, 1 << bits, -1)
        for _ in range(_TURNS):
            codes = refine(turned, towards, centroids, codes, threads=threads)
            centroids = improve(turned, towards, centroids, codes)
        codes = refine(turned, towards, centroids, codes, threads=threads)
        faiss.copy_array_to_vector(centroids.ravel(), index.pq.centroids)
    index.is_trained = True
    _add(index, by_cluster, counts, codes)
    # Places that are left empty need not be stored.
    k, has_clusters = rows.shape[1], len(centres) > 1
    shared = 4 * k * ((1 << bits) + 2 * k + has_clusters * len(centres))
    return Built(
        lambda queries, count: index.search(queries @ turn_queries, count)[1],
        index.pq.code_size + has_clusters * CLUSTER_BYTES,
        shared,
    )


def _means(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean of the rows of each cluster, 0 for one without rows; one after the other."""
    some = np.flatnonzero(counts)
    means = np.zeros((len(counts), rows.shape[1]), np.float32)
    first = np.cumsum(counts)[some] - counts[some]
    means[some] = np.add.reduceat(rows, first) / counts[some, None]
    return means


def _add(index: Any, by_cluster: np.ndarray, counts: np.ndarray, codes: np.ndarray) -> None:
    """Add codes that were chosen elsewhere to the lists of their clusters."""
    ids, codes = by_cluster.astype(np.int64), np.ascontiguousarray(codes[by_cluster])
    ends = np.cumsum(counts)
    for number, (start, stop) in enumerate(zip([0, *ends], ends, strict=False)):
        if start < stop:
            own, rows = ids[start:stop], codes[start:stop]
            index.invlists.add_entries(number, len(own), faiss.swig_ptr(own), faiss.swig_ptr(rows))
    index.ntotal = len(ids)
