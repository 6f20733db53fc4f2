"""Metrics as sums over images, so that ratios can be resampled by image."""

from typing import NamedTuple

import torch
from jaxtyping import Float32, Float64
from torch import Tensor


class PerImage(NamedTuple):
    """What each image adds to a metric; the metric is the sum of `sums` over the sum of `counts`.

    Args:
        sums: ``[order, k, image]``; 0 where the count is 0.
        counts: ``[image]``, the weight of the image: the number of its captions for a mean over
            captions, 1 for a mean over images, 0 for an image that does not count.
    """

    sums: Float32[Tensor, "order k image"]
    counts: Float64[Tensor, " image"]

    def mean(self) -> Float64[Tensor, "order k"]:
        """Return the metric; NaN if no image counts.

        Examples:
            >>> sums, counts = torch.tensor([[[1.0, 2.0]]]), torch.tensor([1.0, 3.0])
            >>> PerImage(sums, counts.double()).mean()
            tensor([[0.7500]], dtype=torch.float64)
        """
        return torch.stack([by_k.double().sum(1) for by_k in self.sums]) / self.counts.sum()
