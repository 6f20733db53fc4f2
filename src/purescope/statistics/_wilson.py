"""Wilson's interval of a fraction."""

from jaxtyping import Float
from torch import Tensor

NORMAL_975 = 1.959963984540054  # the 97.5 % quantile of a normal distribution


def wilson_interval(fraction: Float[Tensor, "*cell"], n: int) -> tuple[Float[Tensor, "*cell"], Float[Tensor, "*cell"]]:
    """95 % interval of a binomial fraction measured on `n` independent samples, both ends within [0, 1].

    Wilson (1927): the fractions p0 for which ``|p - p0| <= z sqrt(p0 (1 - p0) / n)``.

    Examples:
        >>> import torch
        >>> low, high = wilson_interval(torch.tensor(0.5), 100)
        >>> round(low.item(), 4), round(high.item(), 4)
        (0.4038, 0.5962)
    """
    z2 = NORMAL_975**2
    centre = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_975 / (1 + z2 / n) * (fraction * (1 - fraction) / n + z2 / (4 * n * n)).sqrt()
    return (centre - half).clamp(0, 1), (centre + half).clamp(0, 1)
