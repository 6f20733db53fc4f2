"""Measures of a layer A `[neuron, width]` by its Gram matrix A A^T, and what random neurons would have.

From A A^T follow all cosines and singular values of A: activations need not be kept, and an eigenvalue decomposition of
512 neurons takes a fraction of the time of the singular values of an A 2048 wide. Each function equals its namesake of
`purescope.maths.overlaps` and `purescope.maths.layer_measures`, to rounding.

For a Gaussian matrix of m rows and n columns the squared singular values, over n, follow the law of Marchenko and
Pastur (1967): with y = m / n <= 1 and x = 1 + y + 2 sqrt(y) cos t, the mean of f(x) is the integral over t from 0 to
pi of f(x) 2 sin^2 t / (pi x). No draw, no seed.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def mean_overlap(gram: Float[Tensor, "neuron neuron"]) -> float:
    """Mean over the live neurons of `purescope.maths.overlaps.overlap`; NaN where all are dead.

    Examples:
        >>> A = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]]).double()
        >>> round(mean_overlap(A @ A.T), 4)
        0.2357
    """
    norms = gram.diagonal().sqrt()
    live = norms > 0
    norms = norms[live]
    cosines = (gram[live][:, live] / norms / norms[:, None]).clamp(-1, 1).abs().fill_diagonal_(0)
    return float(cosines.sum() / max(len(gram) - 1, 1) / live.sum())


def effective_rank(gram: Float[Tensor, "neuron neuron"]) -> float:
    """``exp(entropy of the singular values over their sum)`` (Roy and Vetterli 2007), 1 to the rank; NaN for zeros.

    Examples:
        >>> round(effective_rank(torch.eye(3, dtype=torch.float64)), 4)
        3.0
    """
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    return float(torch.special.entr(values / values.sum()).sum().exp())


def participation_ratio(gram: Float[Tensor, "neuron neuron"]) -> float:
    """``(sum of s^2)^2 / sum of s^4`` of the singular values s, 1 to the rank; NaN for zeros.

    Examples:
        >>> round(participation_ratio(torch.diag(torch.tensor([4.0, 1.0]))), 4)  # 5^2 / 17
        1.4706
    """
    return float(gram.trace().square() / gram.square().sum())


def random_effective_rank(neurons: int, width: int) -> float:
    """Expected effective rank (Roy and Vetterli 2007) of a Gaussian matrix, by the law of Marchenko and Pastur.

    With p_i = s_i / sum s, the entropy of m singular values s is ``log m + log E s - E[s log s] / E s``.

    Examples:
        >>> round(random_effective_rank(512, 512)), round(random_effective_rank(512, 50_000))
        (412, 511)
    """
    rows, columns = sorted((neurons, width))
    y = rows / columns
    t = (torch.arange(4096, dtype=torch.float64) + 0.5) * math.pi / 4096
    x = 1 + y + 2 * math.sqrt(y) * t.cos()
    weight = 2 * t.sin() ** 2 / x / 4096
    s = x.sqrt()
    mean = (weight * s).sum()
    return float(rows * mean * (-(weight * s * s.log()).sum() / mean).exp())


def random_participation_ratio(neurons: int, width: int) -> float:
    """Participation ratio of a Gaussian matrix G: ``(E tr W)^2 / E tr W^2`` made exact for W = G G^T.

    ``E (tr W)^2 = m n (m n + 2)`` and ``E tr W^2 = m n (m + n + 1)``.

    Examples:
        >>> round(random_participation_ratio(512, 512))
        256
    """
    return (neurons * width + 2) / (neurons + width + 1)
