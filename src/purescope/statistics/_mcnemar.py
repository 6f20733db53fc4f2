"""McNemar's test of two answers to the same questions."""

import math

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from purescope.errors import InputError


def mcnemar(first: Bool[Tensor, "*cell sample"], second: Bool[Tensor, "*cell sample"]) -> Float64[Tensor, "*cell"]:
    """Exact two-sided p of the hypothesis that both are right equally often, from samples on which one of them is.

    Of the n samples on which the two differ, the first is right on b; under the hypothesis b is binomial (n, 1/2):
    ``p = min(1, 2 P(B <= min(b, n - b)))``, and 1 without such samples (McNemar, Psychometrika 12, 1947, in the exact
    form). Samples count as independent; classes play no part.

    Raises:
        InputError: the two differ in shape, or there are no samples.

    Examples:
        The first is right on five samples on which the second is wrong, and never the other way: ``2 / 2^5``.

        >>> mcnemar(torch.tensor([True] * 5 + [False]), torch.tensor([False] * 6))
        tensor(0.0625, dtype=torch.float64)
    """
    if first.shape != second.shape or first.ndim < 1 or not first.shape[-1]:
        raise InputError(
            f"answers {list(first.shape)} and {list(second.shape)}",
            expected="two of one shape [*cell, sample], with one sample or more",
        )
    only_first, only_second = (first & ~second).sum(-1), (second & ~first).sum(-1)
    fewer, differing = torch.minimum(only_first, only_second), only_first + only_second
    pairs = zip(fewer.flatten().tolist(), differing.flatten().tolist(), strict=True)
    p = torch.tensor([_two_sided(b, n) for b, n in pairs], dtype=torch.float64)
    return p.view(fewer.shape)


def _two_sided(b: int, n: int) -> float:
    """``min(1, 2 P(B <= b))`` of the binomial (n, 1/2), summed as logarithms: 2^-n underflows from n = 1075 on."""
    i = torch.arange(b + 1, dtype=torch.float64)
    logs = math.lgamma(n + 1) - torch.lgamma(i + 1) - torch.lgamma(n - i + 1) - (n - 1) * math.log(2)
    return min(1.0, logs.logsumexp(0).exp().item())
