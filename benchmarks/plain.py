"""The plain way: for each strategy and k, mask, multiply, argmax, and scikit-learn's silhouette."""

import numpy as np
import torch
from sklearn.metrics import silhouette_score
from torch import Tensor


def cell(image: Tensor, text: Tensor, labels: Tensor, kept: Tensor) -> tuple[float, float]:
    """Accuracy and silhouette with the neurons `kept`, as a script that follows the experiment's
    text computes them.
    """
    mask = torch.zeros(image.shape[1], dtype=image.dtype)
    mask[kept] = 1
    masked = image * mask
    right = (masked @ (text * mask).T).argmax(dim=1) == labels
    silhouette = silhouette_score(np.asarray(masked), np.asarray(labels), metric="cosine")
    return right.double().mean().item(), float(silhouette)


def products(prepared: list[tuple[Tensor, Tensor]]) -> None:
    """The floor: for each cell the two bare matrix products, logits and cosines to class means, and
    nothing else.

    `prepared` holds, for each strategy and k, the kept columns of the image features and of the
    class features, as `columns` makes them outside the timing.
    """
    for kept, weights in prepared:
        torch.mm(kept, weights)
        torch.mm(kept, weights)


def columns(
    image: Tensor, text: Tensor, orders: Tensor, ks: list[int]
) -> list[tuple[Tensor, Tensor]]:
    """Contiguous ``[image, k]`` and ``[k, class]`` for each strategy and k."""
    return [
        (image[:, order[:k]], text[:, order[:k]].T.contiguous()) for order in orders for k in ks
    ]
