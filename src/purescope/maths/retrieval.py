"""Retrieval between images and captions with pruned embeddings, for every k at once.

A caption searches the images, and an image searches the captions. With the first k neurons of an
order, the score of a pair is the cosine of image and caption over the kept neurons, as in a smaller
model that is deployed (``renormalise=True``), or the product of their whole unit vectors over the
kept neurons. `purescope.maths.screening` says how the places are counted.

Two things are called recall. Papers on CLIP, and CLIP_benchmark, count an image as found if any of
its captions is among the first n. True recall is the share of its captions that are. A caption has
one image, so both are the same when captions search images.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int, Int64, Shaped, UInt8
from torch import Tensor

from purescope.errors import InputError
from purescope.maths import cells
from purescope.maths.per_image import PerImage
from purescope.parallel import on_each_core

RECALL_AT = (1, 5, 10)
PLACES = 10  # places that count: a rank of PLACES means that place or any later one


class RetrievalRanks(NamedTuple):
    """Places of the right answers; both ``[order, k, caption]``: 0 is the first place, and 10 any
    place from the eleventh on.

    Args:
        image_rank: how many images beat the caption's own image when the caption searches images.
        text_rank: how many captions beat this caption when its image searches captions; other
            captions of the same image count too.
    """

    image_rank: UInt8[Tensor, "order k caption"]
    text_rank: UInt8[Tensor, "order k caption"]


def retrieval_ranks_by_k(
    image: Float[Tensor, "image neuron"],
    text: Float[Tensor, "caption neuron"],
    image_of: Int[Tensor, " caption"],
    orders: Int64[Tensor, "*order neuron"],
    ks: Sequence[int],
    *,
    renormalise: bool = True,
) -> RetrievalRanks:
    """Compute the place of each right answer in both directions, with the first k neurons of each
    order.

    A competitor beats the right answer by a larger score, or by an equal score and a lower index,
    as in a stable sort. Scores are equal if float64 sums of that many products cannot distinguish
    them. A row that is zero over the kept neurons has score 0 with everything.

    Args:
        image: ``[image, neuron]`` image features, float32 or float64; norms do not matter. Images
            without a caption are competitors only.
        text: ``[caption, neuron]`` caption features, of the same dtype.
        image_of: ``[caption]``, the index of each caption's image.
        orders: one order ``[neuron]`` or several ``[order, neuron]``, as `purescope.order_neurons`
            makes them.
        ks: how many neurons to keep, each from 1 to d; results are sorted by ascending k, each k
            once.
        renormalise: scale images and captions to unit norm again over the kept neurons, as a
            smaller model does. Otherwise they are scaled over all neurons.

    Returns:
        `image_rank` and `text_rank`, each ``[order, k, caption]`` uint8, from 0 to 10.

    Raises:
        InputError: shapes or dtypes do not fit, a feature is NaN or infinite, an index of an image
            or a k is out of range, or an order is not a permutation.

    Examples:
        Neuron 0 cannot tell the two images apart, so the lower index comes first; neurons 0 and 1
        can:

        >>> image = torch.tensor([[0.6, 0.8], [0.6, -0.8]])
        >>> own, order = torch.tensor([0, 1]), torch.arange(2)
        >>> retrieval_ranks_by_k(image, image, own, order, [1, 2]).image_rank.tolist()
        [[[0, 1], [0, 0]]]
    """
    # What is compiled is imported where it is asked for.
    from purescope.maths.screening import Pairs

    orders, ks = cells.check(image, text, torch.zeros(len(image), dtype=torch.int64), orders, ks)
    _check_owners(image_of, len(text), len(image))
    pairs = Pairs.make(
        cells.unit_rows(image),
        cells.unit_rows(text),
        image_of.long(),
        renormalise=renormalise,
        places=PLACES,
    )
    shape = len(orders), len(ks), len(text)
    image_rank, text_rank = (torch.empty(shape, dtype=torch.uint8) for _ in range(2))
    # All neurons together are the same in every order: they are searched in the first one only.
    some = [k for k in ks if k < image.shape[1]]

    def search(position: int) -> tuple[Tensor, Tensor]:
        return pairs.ranks(orders[position], some if position else ks)

    places = image_rank, text_rank
    searched = on_each_core(search, range(len(orders) if some else 1))
    for position, ranks in enumerate(searched):
        for place, rank in zip(places, ranks, strict=True):
            place[position, : len(rank)] = rank
    for place in places:
        place[1:, len(some) :] = place[0, len(some) :]
    return RetrievalRanks(image_rank, text_rank)


def retrieval_metrics(
    ranks: RetrievalRanks, image_of: Int[Tensor, " caption"], images: int
) -> dict[str, PerImage]:
    """Compute retrieval metrics image by image, from the places of `retrieval_ranks_by_k`.

    All metrics run from 0 to 1, and 1 is best. For n in 1, 5 and 10:

    - ``image_retrieval_recall@n``: share of captions whose image is among the first n.
    - ``text_retrieval_recall@n``: share of images of which at least one caption is among the first
      n, as in CLIP_benchmark.
    - ``text_retrieval_true_recall@n``: mean over images of the share of the image's captions that
      are among the first n; below 1 if an image has more than n captions.

    And for both directions nDCG at 10 with equal gains (Järvelin and Kekäläinen 2002): place p,
    from 0, adds ``1 / log2(p + 2)``, divided by the largest sum possible. It is a mean over
    captions for ``image_retrieval_ndcg@10`` and over images for ``text_retrieval_ndcg@10``.

    Args:
        ranks: places of the right answers.
        image_of: ``[caption]``, the index of each caption's image.
        images: number of images; those without a caption do not count.

    Returns:
        For each name, what each image adds: see `PerImage`.

    Raises:
        InputError: the number of captions or an index of an image does not fit.

    Examples:
        One image with two captions: the first finds the image at once, the second in third place.

        >>> rank = torch.tensor([[[0, 2]]], dtype=torch.uint8)
        >>> own = torch.tensor([0, 0])
        >>> metrics = retrieval_metrics(RetrievalRanks(rank, rank), own, images=1)
        >>> metrics["image_retrieval_recall@1"].mean().item()
        0.5
        >>> metrics["text_retrieval_recall@1"].mean().item()
        1.0
    """
    _check_owners(image_of, ranks.image_rank.shape[-1], images)
    image_of = image_of.long()
    captions = image_of.bincount(minlength=images).double()
    counts = {True: captions, False: (captions > 0).double()}
    metrics: dict[str, PerImage] = {}
    shape = *ranks.image_rank.shape[:2], images
    for order, (image_rank, text_rank) in enumerate(zip(*ranks, strict=True)):
        for name, by_caption, sums in _order_sums(image_rank, text_rank, image_of, captions):
            if order == 0:
                metrics[name] = PerImage(torch.empty(shape), counts[by_caption])
            metrics[name].sums[order] = sums
    return metrics


def _order_sums(
    image_rank: UInt8[Tensor, "k caption"],
    text_rank: UInt8[Tensor, "k caption"],
    image_of: Int64[Tensor, " caption"],
    captions: Float64[Tensor, " image"],
) -> Iterator[tuple[str, bool, Float64[Tensor, "k image"]]]:
    """Yield each metric's name, whether it is a mean over captions, and its sums, of one order."""
    some = captions.clamp(min=1)
    for n in RECALL_AT:
        yield f"image_retrieval_recall@{n}", True, _by_image(image_rank < n, image_of, captions)
        hits = _by_image(text_rank < n, image_of, captions)
        yield f"text_retrieval_recall@{n}", False, (hits > 0).double()
        yield f"text_retrieval_true_recall@{n}", False, hits / some
    # The last gain is that of all later places.
    gains = 1 / torch.arange(2, PLACES + 3, dtype=torch.float64).log2()
    gains[PLACES] = 0
    best = gains.cumsum(0)[some.long().clamp(max=PLACES) - 1]
    image_gain = _by_image(gains[image_rank.long()], image_of, captions)
    yield f"image_retrieval_ndcg@{PLACES}", True, image_gain
    text_gain = _by_image(gains[text_rank.long()], image_of, captions)
    yield f"text_retrieval_ndcg@{PLACES}", False, text_gain / best


def _by_image(
    values: Shaped[Tensor, "k caption"],
    image_of: Int64[Tensor, " caption"],
    captions: Float64[Tensor, " image"],
) -> Float64[Tensor, "k image"]:
    sums = torch.zeros(len(captions), len(values), dtype=torch.float64)
    return sums.index_add_(0, image_of, values.T.double()).T


def _check_owners(image_of: Tensor, captions: int, images: int) -> None:
    is_whole = not (image_of.is_floating_point() or image_of.dtype == torch.bool)
    if image_of.shape != (captions,) or not is_whole:
        raise InputError(
            f"image_of is {image_of.dtype} of shape {list(image_of.shape)} for {captions} captions",
            expected="whole numbers, one for each caption: the index of its image",
        )
    outside = ((image_of < 0) | (image_of >= images)).nonzero()[:, 0]
    if len(outside):
        first = int(outside[0])
        raise InputError(
            f"image_of[{first}] = {int(image_of[first])}",
            expected=f"the index of an image, 0 to {images - 1}; {len(outside)} are outside",
        )
