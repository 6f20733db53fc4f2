"""The parts of codes that need NumPy only.

Signs, axes dealt out to parts, codewords chosen for likely queries, and a second ranking.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

_LEAST = 1e-4  # weight that every dimension has, of the mean weight
_ALONG = 5.0  # weight of an error along a row, against one across it, see `refine`
_REFINED = 256  # rows at a time: BLAS starts no threads of its own, and all of it fits the cache
_RESCORED = 64  # queries whose candidates are scored at a time


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale float32 rows to length 1; rows of zeros stay zeros.

    Examples:
        >>> unit(np.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.0, 1.0], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    scaled: np.ndarray = rows / lengths
    return scaled


def draw_rotation(size: int, seed: int) -> np.ndarray:
    """Draw a rotation ``[dimension, axis]``, float32, all equally likely."""
    normal = np.random.default_rng(seed).standard_normal((size, size))
    axes, triangle = np.linalg.qr(normal)
    # Without the signs, those of the axes would follow from the algorithm.
    return (axes * np.sign(np.diag(triangle))).astype(np.float32)


def signs(rows: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return the signs of turned rows as bits, eight in a byte, the first highest.

    Examples:
        >>> signs(np.array([[1.0, -1.0, 2.0]]), np.eye(3)).tolist()
        [[160]]
    """
    return np.packbits(rows @ turn > 0, axis=1)


def weigh(
    centred: np.ndarray, query_mean: np.ndarray, parts: int, *, multiple: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return how rows and queries are turned before rows are quantized in parts.

    Args:
        centred: ``[row, dimension]`` without their mean.
        query_mean: ``[dimension]``, the mean of queries.
        parts: number of parts, at most one for each dimension.
        multiple: what the number of places of a part is a multiple of.

    Returns:
        Two matrices ``[dimension, place]``, float32, for rows and for queries. Products stay what
        they were: the first times the second transposed is the unit matrix. Each part has the same
        number of places, of which some may be empty.
    """
    covariance = (centred.T @ centred).astype(np.float64) / len(centred)
    moment = covariance + np.outer(query_mean, query_mean).astype(np.float64)
    # So that its inverse exists, where rows do not fill the space.
    size = max(float(np.trace(moment)), 1e-30) / len(moment)
    weights, axes = np.linalg.eigh(moment + _LEAST * size * np.eye(len(moment)))
    root, inverse = (axes * weights**power @ axes.T for power in (0.5, -0.5))
    variances, axes = np.linalg.eigh(root @ covariance @ root)
    places = allocate(np.maximum(variances, 0), parts, multiple=multiple)
    turns = []
    for matrix in (root, inverse):
        turn = np.zeros((len(moment), len(places)), np.float32)
        turn[:, places >= 0] = matrix @ axes[:, places[places >= 0]]
        turns.append(turn)
    return turns[0], turns[1]


def allocate(variances: np.ndarray, parts: int, *, multiple: int = 1) -> np.ndarray:
    """Deal axes out to parts of one size, so that the products of variances are about the same.

    Args:
        variances: of each axis, none below 0.
        parts: number of parts, at most one for each axis.
        multiple: what the number of places of a part is a multiple of.

    Returns:
        The axes of one part after the other; -1 for a place that is left empty.

    Examples:
        >>> allocate(np.array([8.0, 4.0, 2.0, 1.0]), 2).tolist()
        [0, 3, 1, 2]
    """
    width = -(-len(variances) // parts)
    logs = np.log2(np.maximum(variances, 1e-12 * max(float(variances.max()), 1e-30)))
    members: list[list[int]] = [[] for _ in range(parts)]
    sums = np.zeros(parts)
    floor = float(logs.min())
    for axis in np.argsort(-variances, kind="stable"):
        part = int(sums.argmin())
        members[part].append(int(axis))
        # Above the floor, so that a part with an axis never looks emptier than one without.
        sums[part] += logs[axis] - floor + 1
        if len(members[part]) == width:
            sums[part] = np.inf
    places = -(-width // multiple) * multiple
    return np.array([axis for part in members for axis in (part + [-1] * places)[:places]])


def refine(
    rows: np.ndarray,
    towards: np.ndarray,
    centroids: np.ndarray,
    codes: np.ndarray,
    *,
    threads: int = 1,
) -> np.ndarray:
    """Choose codewords again, so that errors are small in the direction of likely queries.

    The queries that ask for a row lie in its direction u more than in any other. So an error e of a
    row costs ``e.e + 5 (u.e - c)^2 / u.u`` instead of ``e.e``: the anisotropic loss of ScaNN (Guo
    et al. 2020). The constant c is the mean of u.e over all rows, because what is added to all
    products changes no order. Each row goes through its parts once, and takes for each the codeword
    of the least cost, with those of the other parts as they are.

    Args:
        rows: ``[row, part * place]`` float32, what is quantized.
        towards: ``[row, part * place]`` float32, the direction u of each row.
        centroids: ``[part, codeword, place]`` float32.
        codes: ``[row, part]`` uint8, the nearest codewords.
        threads: number of threads.

    Returns:
        The codes, ``[row, part]`` uint8.

    Examples:
        Two axes with the codewords 0 and 1. Likely queries ask for the sum of both axes: 0.8 and
        1.2 are nearer to 1 than to 0 and 2.

        >>> rows, centroids = np.float32([[0.4, 0.4], [0.6, 0.6]]), np.float32([[[0], [1]]] * 2)
        >>> refine(rows, np.ones_like(rows), centroids, np.uint8([[0, 0], [1, 1]])).tolist()
        [[1, 0], [0, 1]]
    """
    blocks = [slice(first, first + _REFINED) for first in range(0, len(rows), _REFINED)]
    along = np.concatenate([_along(rows, towards, centroids, codes, block) for block in blocks])
    scale = np.sqrt(_ALONG / np.maximum(np.square(towards).sum(axis=1), 1e-30))
    along = ((along - along.mean()) * scale).astype(np.float32)
    tables, chosen = centroids.transpose(0, 2, 1).copy(), codes.copy()
    squares = np.square(centroids).sum(axis=2)[:, None]
    # One more place, which is 1 in the rows, adds the squares of the codewords to the products.
    longer = np.concatenate([tables, squares], axis=1)

    def work(block: slice) -> None:
        scaled = _by_part(towards[block] * scale[block, None].astype(np.float32), centroids)
        parts, rest = _by_part(rows[block], centroids), along[block]
        number = np.arange(len(rest))
        for part, codewords in enumerate(chosen[block].T):  # a view: changed in place
            u = scaled[:, part]
            products = u @ tables[part]
            rest -= products[number, codewords]
            # |x - w|^2 + (rest + u.w)^2 without what is the same for all codewords w
            linear = np.ones((len(rest), len(longer[part])), np.float32)
            linear[:, :-1] = 2 * rest[:, None] * u - 2 * parts[:, part]
            costs = linear @ longer[part]
            costs += np.square(products)
            codewords[:] = costs.argmin(axis=1)
            rest += products[number, codewords]

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, blocks))
    return chosen


def _by_part(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return rows as ``[row, part, place]``."""
    return rows.reshape(len(rows), len(centroids), centroids.shape[2])


def _along(
    rows: np.ndarray,
    towards: np.ndarray,
    centroids: np.ndarray,
    codes: np.ndarray,
    block: slice,
) -> np.ndarray:
    """Return the product of each direction with the error of its row, in float64."""
    made = centroids[np.arange(len(centroids)), codes[block]]
    error = made - _by_part(rows[block], centroids)
    product: np.ndarray = np.einsum("rpw,rpw->r", error, _by_part(towards[block], centroids))
    return product.astype(np.float64)


def rescore(
    candidates: np.ndarray, vectors: np.ndarray, queries: np.ndarray, count: int
) -> np.ndarray:
    """Return the best candidates by the products of whole vectors, the best first.

    Args:
        candidates: ``[query, candidate]``, rows of `vectors`; -1 for none.
        vectors: ``[row, dimension]``.
        queries: ``[query, dimension]``.
        count: number of rows to return for each query.
    """
    best = np.empty((len(candidates), count), candidates.dtype)
    for first in range(0, len(candidates), _RESCORED):
        block = slice(first, first + _RESCORED)
        found = candidates[block]
        scores = np.einsum("qcd,qd->qc", vectors[np.maximum(found, 0)], queries[block])
        scores[found < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        best[block] = np.take_along_axis(found, order, axis=1)
    return best
