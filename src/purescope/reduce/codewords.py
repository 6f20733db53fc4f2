"""Product quantization for likely queries: axes dealt out to parts, and codewords for the parts.

A row is cut into parts, and each part is replaced by one of its codewords. `weigh` turns rows so
that an error counts as much as it changes products with queries. faiss learns the first codewords
and takes the nearest ones. Then `refine` chooses others for the queries that are likely to ask for
a row, and `improve` moves the codewords to where they serve these choices best.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from purescope.compiling import compiled

_LEAST = 1e-4  # weight that every dimension has, of the mean weight
_ALONG = 5.0  # weight of an error along a row, against one across it, see `refine`
_REFINED = 1024  # rows at a time, on each core


def weigh(
    centred: np.ndarray,
    query_mean: np.ndarray,
    rest: np.ndarray,
    parts: int,
    *,
    multiple: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Return how rows and queries are turned before rows are quantized in parts.

    Args:
        centred: ``[row, dimension]`` without their mean.
        query_mean: ``[dimension]``, the mean of queries.
        rest: ``[row, dimension]``, what is quantized of each row.
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
    left = (rest.T @ rest).astype(np.float64) / len(rest)
    variances, axes = np.linalg.eigh(root @ left @ root)
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
        codes: ``[row, part]`` uint8, the codewords so far.
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
    weights = _weights(towards)
    along = (_along(rows, towards, centroids, codes) * np.sqrt(weights)).astype(np.float32)
    scale = np.sqrt(weights).astype(np.float32)
    used = _used(centroids)
    tables = np.ascontiguousarray(centroids[:, :, :used].transpose(0, 2, 1))
    squares, chosen = np.square(tables).sum(axis=1), codes.copy()
    parts, directions = (_by_part(array, centroids)[:, :, :used] for array in (rows, towards))

    def work(block: slice) -> None:
        _choose(
            parts[block], directions[block], scale[block], along[block], tables, squares,
            chosen[block],
        )  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, _blocks(rows)))
    return chosen


@compiled
def _choose(
    parts: np.ndarray,
    directions: np.ndarray,
    scale: np.ndarray,
    along: np.ndarray,
    tables: np.ndarray,
    squares: np.ndarray,
    codes: np.ndarray,
) -> None:
    """Go through the parts of each row, and change its codes in place.

    Args:
        parts: ``[row, part, place]``, what is quantized.
        directions: ``[row, part, place]``.
        scale: ``[row]``, by which directions are multiplied.
        along: ``[row]``, the product of the scaled direction with the error so far.
        tables: ``[part, place, codeword]``.
        squares: ``[part, codeword]``, squared lengths of codewords.
        codes: ``[row, part]``.
    """
    words = tables.shape[2]
    products, costs = np.empty(words, np.float32), np.empty(words, np.float32)
    for row in range(len(parts)):
        rest = along[row]
        for part in range(len(tables)):
            products[:] = 0
            costs[:] = squares[part]
            for place in range(tables.shape[1]):
                u, x = scale[row] * directions[row, part, place], parts[row, part, place]
                _add_scaled(products, u, costs, -x - x, tables, part, place)
            rest -= products[codes[row, part]]
            # |x - w|^2 + (rest + u.w)^2 without what is the same for all codewords w
            for word in range(words):
                costs[word] += products[word] * (products[word] + rest + rest)
            best, least = 0, costs[0]
            for word in range(words):
                if costs[word] < least:
                    best, least = word, costs[word]
            codes[row, part] = best
            rest += products[best]


@compiled
def _add_scaled(
    products: np.ndarray,
    u: float,
    costs: np.ndarray,
    x: float,
    tables: np.ndarray,
    part: int,
    place: int,
) -> None:
    for word in range(len(products)):
        products[word] += u * tables[part, place, word]
        costs[word] += x * tables[part, place, word]


def improve(
    rows: np.ndarray, towards: np.ndarray, centroids: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Move codewords to where the cost of `refine` is least, while each row keeps its codes.

    One part after the other: with the other parts as they are, the cost is a square of the words of
    a part, and each word is the solution of a system as large as the part has places. A word that
    no row has stays.

    Args:
        rows, towards, centroids, codes: as for `refine`.

    Returns:
        The codewords, ``[part, codeword, place]`` float32.

    Examples:
        Without a direction a codeword goes to the mean of its rows:

        >>> rows, centroids = np.float32([[1], [3], [8]]), np.float32([[[0], [9]]])
        >>> improve(rows, 0 * rows, centroids, np.uint8([[0], [0], [1]])).ravel().tolist()
        [2.0, 8.0]
    """
    weights, along = _weights(towards), _along(rows, towards, centroids, codes)
    used = _used(centroids)
    parts, directions = (_by_part(array, centroids)[:, :, :used] for array in (rows, towards))
    moved = centroids.copy()
    for part in range(len(centroids)):
        # float64 and in one piece
        place, u = parts[:, part].astype(np.float64), directions[:, part].astype(np.float64)
        codewords = moved[part, :, :used].astype(np.float64)
        own = np.ascontiguousarray(codes[:, part])
        along -= np.einsum("rp,rp->r", u, codewords[own] - place)
        matrices, sums, counts = _normal_equations(place, u, weights, along, own, len(codewords))
        is_used = counts > 0
        codewords[is_used] = np.linalg.solve(matrices[is_used], sums[is_used, :, None])[:, :, 0]
        along += np.einsum("rp,rp->r", u, codewords[own] - place)
        moved[part, :, :used] = codewords
    return moved


@compiled
def _normal_equations(
    places: np.ndarray,
    directions: np.ndarray,
    weights: np.ndarray,
    along: np.ndarray,
    codes: np.ndarray,
    words: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add ``1 + w u u^T`` and ``x + w u (u.x - rest)`` of the rows of each codeword."""
    width = places.shape[1]
    matrices, sums = np.zeros((words, width, width)), np.zeros((words, width))
    counts = np.zeros(words, np.int64)
    for row in range(len(places)):
        word, u, x = codes[row], directions[row], places[row]
        counts[word] += 1
        product = -along[row]
        for place in range(width):
            product += u[place] * x[place]
        for place in range(width):
            sums[word, place] += x[place] + weights[row] * product * u[place]
            matrices[word, place, place] += 1
            for other in range(width):
                matrices[word, place, other] += weights[row] * u[place] * u[other]
    return matrices, sums, counts


def _weights(towards: np.ndarray) -> np.ndarray:
    """Return the weight of an error along each row, float64."""
    squares = np.einsum("rd,rd->r", towards, towards).astype(np.float64)
    weights: np.ndarray = _ALONG / np.maximum(squares, 1e-30)
    return weights


def _along(
    rows: np.ndarray, towards: np.ndarray, centroids: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    """Return the product of each direction with the error of its row, without the mean of all, in
    float64.
    """
    parts, directions = (_by_part(array, centroids) for array in (rows, towards))
    along = _products(parts, directions, centroids, codes)
    along -= along.mean()
    return along


@compiled
def _products(
    parts: np.ndarray, directions: np.ndarray, centroids: np.ndarray, codes: np.ndarray
) -> np.ndarray:
    products = np.zeros(len(parts))
    for row in range(len(parts)):
        for part in range(len(centroids)):
            word = codes[row, part]
            for place in range(centroids.shape[2]):
                error = centroids[part, word, place] - parts[row, part, place]
                products[row] += directions[row, part, place] * error
    return products


def _blocks(rows: np.ndarray) -> Iterator[slice]:
    return (slice(first, first + _REFINED) for first in range(0, len(rows), _REFINED))


def _by_part(rows: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Return rows as ``[row, part, place]``."""
    return rows.reshape(len(rows), len(centroids), centroids.shape[2])


def _used(centroids: np.ndarray) -> int:
    """Return the number of places up to the last one that is not empty in all codewords."""
    used = np.flatnonzero(centroids.any(axis=(0, 1)))
    return int(used[-1]) + 1 if len(used) else 1
