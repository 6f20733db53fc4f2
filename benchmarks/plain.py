"""The plain way: for each strategy and k, mask, multiply, argmax, and scikit-learn's silhouette."""

import numpy as np
import torch
from sklearn.metrics import silhouette_score
from torch import Tensor


def sweep(image: Tensor, text: Tensor, labels: Tensor, orders: Tensor, ks: list[int]) -> tuple[Tensor, Tensor]:
    """Accuracy and silhouette ``[order, k]``, as a script that follows the experiment's text computes them."""
    accuracy, silhouette = (torch.empty(len(orders), len(ks), dtype=torch.float64) for _ in range(2))
    for row, order in enumerate(orders):
        for column, k in enumerate(ks):
            mask = torch.zeros(image.shape[1], dtype=image.dtype)
            mask[order[:k]] = 1
            kept = image * mask
            right = (kept @ (text * mask).T).argmax(dim=1) == labels
            accuracy[row, column] = right.double().mean()
            silhouette[row, column] = silhouette_score(np.asarray(kept), np.asarray(labels), metric="cosine")
    return accuracy, silhouette


def products(prepared: list[tuple[Tensor, Tensor]]) -> None:
    """The floor: for each cell the two bare matrix products, logits and cosines to class means, and nothing else.

    `prepared` holds, for each strategy and k, the kept columns of the image features and of the class features, as
    `columns` makes them outside the timing.
    """
    for kept, weights in prepared:
        torch.mm(kept, weights)
        torch.mm(kept, weights)


def columns(image: Tensor, text: Tensor, orders: Tensor, ks: list[int]) -> list[tuple[Tensor, Tensor]]:
    """Contiguous ``[image, k]`` and ``[k, class]`` for each strategy and k."""
    return [(image[:, order[:k]], text[:, order[:k]].T.contiguous()) for order in orders for k in ks]
