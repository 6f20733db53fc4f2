"""Count better competitors in a block of products, by compiled loops.

A query asks for its partner: a caption for its image among the images, or an image for one of its
captions among the captions. A competitor's score is its product times a scale. Above the query's
upper bound it is better than the partner for sure, and below the lower bound it is not. Between
them float32 cannot tell, and the pair is noted.

The loops over all products have no branch, so that a processor compares eight at once. What they
find is looked at one by one.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from purescope.compiling import compiled

Products = Float32[np.ndarray, "image caption"]
Row = Float32[np.ndarray, " caption"]
Counts = Int32[np.ndarray, " caption"]

_SPAN, _PART = 256, 32  # captions that are compared with an image at once, and what is left of them


class Queries(NamedTuple):
    """What is known of the queries of one direction; a query is a caption.

    Args:
        lower, upper: bounds of the score; infinite for a query that nothing more is looked for.
        better: how many competitors are better for sure.
        unsure: how many pairs are noted; one more than `most` for a query that is given up.
        places: better competitors after which nothing more is looked for.
        most: how many pairs of a query are noted.
    """

    lower: Float32[np.ndarray, "k query"]
    upper: Float32[np.ndarray, "k query"]
    better: Int32[np.ndarray, "k query"]
    unsure: Int32[np.ndarray, "k query"]
    places: int
    most: int


class Notes(NamedTuple):
    """Pairs that float32 cannot tell from a query and its partner.

    Args:
        pairs: position of k, query and competitor.
        used: how many rows are taken.
    """

    pairs: Int64[np.ndarray, "note 3"]
    used: Int64[np.ndarray, "1"]


@compiled
def compare_block(
    block: Products,
    image_scale: Float32[np.ndarray, " image"],
    caption_scale: Row,
    k: int,
    images: int,
    captions: int,
    first: Int64[np.ndarray, " images"],
    lowest: Float32[np.ndarray, "k images"],
    to_images: tuple[Queries, Notes],
    to_captions: tuple[Queries, Notes],
) -> None:
    """Compare the images of a block with the own image of each caption, and its captions with the
    own captions of each image.

    Args:
        block: ``[image, caption]`` float32 products, a multiple of four rows.
        image_scale: ``[image]``, by which products are multiplied when captions search images; NaN
            in a row that is no image.
        caption_scale: ``[caption]``, by which they are multiplied when images search captions.
        k: position of the k.
        images, captions: the first image and caption of the block.
        first: ``[image + 1]``, where the captions of each image begin.
        lowest: ``[k, image]``, the lowest of the lower bounds of an image's captions, changed in
            place.
        to_images, to_captions: the `Queries` and `Notes` of each direction, changed in place.
    """
    inside = min(len(block), lowest.shape[1] - images)
    starts = first[images : images + inside + 1] - captions
    own = np.zeros(block.shape[1], np.float32)
    _hide_own(block, starts, own)
    _search_images(block, image_scale, k, images, captions, to_images)
    _search_captions(block[:inside], caption_scale, k, images, captions, first, lowest, to_captions)
    _show_own(block, starts, own)


@compiled
def _hide_own(block: Products, starts: Int64[np.ndarray, " image"], own: Row) -> None:
    """Put own pairs, which are no competitors, behind all others. Captions of the same image are
    compared by `compare_own`.
    """
    for row in range(len(starts) - 1):
        for column in range(max(starts[row], 0), min(starts[row + 1], len(own))):
            own[column] = block[row, column]
            block[row, column] = -np.inf


@compiled
def _show_own(block: Products, starts: Int64[np.ndarray, " image"], own: Row) -> None:
    for row in range(len(starts) - 1):
        for column in range(max(starts[row], 0), min(starts[row + 1], len(own))):
            block[row, column] = own[column]


@compiled
def _search_images(
    block: Products,
    scale: Float32[np.ndarray, " image"],
    k: int,
    images: int,
    captions: int,
    to_images: tuple[Queries, Notes],
) -> None:
    """Compare a block of images with the own image of each of its captions."""
    queries, notes = to_images
    rows, columns = block.shape
    lower, upper = queries.lower[k, captions:], queries.upper[k, captions:]
    possible, sure = np.zeros(columns, np.int32), np.zeros(columns, np.int32)
    for row in range(0, rows, 4):
        _add_above(block[row : row + 4], scale[row : row + 4], lower, upper, possible, sure)
    for column in range(columns):
        query = captions + column
        queries.better[k, query] += sure[column]
        if queries.better[k, query] >= queries.places:
            lower[column] = upper[column] = np.inf
        elif possible[column] > sure[column]:
            low, high = lower[column], upper[column]
            for row in range(rows):
                if low < block[row, column] * scale[row] <= high:
                    _note(notes, queries, k, query, images + row)


@compiled
def _add_above(
    four: Products,
    scale: Float32[np.ndarray, " image"],
    lower: Row,
    upper: Row,
    possible: Counts,
    sure: Counts,
) -> None:
    """Add to each column how many of its four scores are above its lower and its upper bound."""
    row0, row1, row2, row3 = four[0], four[1], four[2], four[3]
    scale0, scale1, scale2, scale3 = scale[0], scale[1], scale[2], scale[3]
    for column in range(len(possible)):
        low, high = lower[column], upper[column]
        score0, score1 = row0[column] * scale0, row1[column] * scale1
        score2, score3 = row2[column] * scale2, row3[column] * scale3
        possible[column] += (
            np.int32(score0 > low)
            + np.int32(score1 > low)
            + np.int32(score2 > low)
            + np.int32(score3 > low)
        )
        sure[column] += (
            np.int32(score0 > high)
            + np.int32(score1 > high)
            + np.int32(score2 > high)
            + np.int32(score3 > high)
        )


@compiled
def _search_captions(
    block: Products,
    scale: Row,
    k: int,
    images: int,
    captions: int,
    first: Int64[np.ndarray, " images"],
    lowest: Float32[np.ndarray, "k images"],
    to_captions: tuple[Queries, Notes],
) -> None:
    """Compare a block of captions with the own captions of each of its images."""
    queries, notes = to_captions
    lower, upper, better = queries.lower[k], queries.upper[k], queries.better[k]
    for row in range(len(block)):
        products, bound = block[row], lowest[k, images + row]
        begin, end = first[images + row], first[images + row + 1]
        if bound == np.inf:
            continue
        for start in range(0, len(scale), _SPAN):
            span = slice(start, start + _SPAN)
            if not _count_above(products[span], scale[span], bound):
                continue
            for start_of_part in range(start, min(start + _SPAN, len(scale)), _PART):
                part = slice(start_of_part, start_of_part + _PART)
                if not _count_above(products[part], scale[part], bound):
                    continue
                if _count_better(
                    products[part], scale[part], bound,
                    lower[begin:end], upper[begin:end], better[begin:end], queries.places,
                ):  # fmt: skip
                    place = captions + start_of_part
                    _note_unsure(products[part], scale[part], k, place, begin, end, queries, notes)
                bound = _least(lower[begin:end])
        lowest[k, images + row] = bound


@compiled
def _count_above(products: Row, scale: Row, bound: float) -> np.int32:
    """Count the scores of a row that are above a bound."""
    count = np.int32(0)
    for column in range(len(scale)):
        # In 32 bits again at each step: 64 would halve what is counted at once.
        count = np.int32(count + np.int32(products[column] * scale[column] > bound))
    return count


@compiled
def _count_better(
    products: Row,
    scale: Row,
    bound: float,
    lower: Float32[np.ndarray, " own"],
    upper: Float32[np.ndarray, " own"],
    better: Int32[np.ndarray, " own"],
    places: int,
) -> bool:
    """Count the captions that are better than each own caption of an image. Tell whether there are
    any of which float32 cannot say.
    """
    is_unsure = False
    for column in range(len(scale)):
        score = products[column] * scale[column]
        if score <= bound:
            continue
        for query in range(len(lower)):
            if score > upper[query]:
                better[query] += 1
                if better[query] >= places:
                    lower[query] = upper[query] = np.inf
            elif score > lower[query]:
                is_unsure = True
    return is_unsure


@compiled
def _note_unsure(
    products: Row,
    scale: Row,
    k: int,
    captions: int,
    begin: int,
    end: int,
    queries: Queries,
    notes: Notes,
) -> None:
    """Note the captions of which float32 cannot say whether they are better."""
    for query in range(begin, end):
        low, high = queries.lower[k, query], queries.upper[k, query]
        for column in range(len(scale)):
            if low < products[column] * scale[column] <= high:
                _note(notes, queries, k, query, captions + column)


@compiled
def _least(values: Float32[np.ndarray, " own"]) -> np.float32:
    least = np.float32(np.inf)
    for value in values:
        least = min(least, value)
    return least


@compiled
def _note(notes: Notes, queries: Queries, k: int, query: int, competitor: int) -> None:
    """Note a pair, or give the query up if it has too many or there is no room."""
    queries.unsure[k, query] += 1
    used = notes.used[0]
    if queries.unsure[k, query] > queries.most or used == len(notes.pairs):
        queries.unsure[k, query] = queries.most + 1
        queries.lower[k, query] = queries.upper[k, query] = np.inf
        return
    notes.pairs[used, 0] = k
    notes.pairs[used, 1] = query
    notes.pairs[used, 2] = competitor
    notes.used[0] = used + 1


@compiled
def compare_own(
    score: Float64[np.ndarray, "k caption"],
    tie: Float64[np.ndarray, "k caption"],
    index: Int64[np.ndarray, " caption"],
    first: Int64[np.ndarray, " images"],
    queries: Queries,
) -> None:
    """Compare the captions of each image with each other, up to the places that count.

    Args:
        score: ``[k, caption]`` float64, of each caption and its image.
        tie: ``[k, caption]`` float64, how far equal scores are apart at most.
        index: ``[caption]``; of equal scores the lower index is better.
        first: ``[image + 1]``, where the captions of each image begin.
        queries: the `Queries` to captions, changed in place.
    """
    for k in range(len(score)):
        for image in range(len(first) - 1):
            for query in range(first[image], first[image + 1]):
                for other in range(first[image], first[image + 1]):
                    excess = score[k, other] - score[k, query]
                    is_tied = excess >= -tie[k, query] and index[other] < index[query]
                    if excess > tie[k, query] or is_tied:
                        queries.better[k, query] += 1
                        if queries.better[k, query] == queries.places:
                            queries.lower[k, query] = queries.upper[k, query] = np.inf
                            break
