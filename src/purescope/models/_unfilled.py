"""Building modules whose weights are to be replaced, without drawing random ones first."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FILLS: set[Callable[..., Any]] = {
    Tensor.normal_,
    Tensor.uniform_,
    Tensor.erfinv_,  # of a truncated normal distribution
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.trunc_normal_,
    nn.init.kaiming_uniform_,
    nn.init.kaiming_normal_,
    nn.init.xavier_uniform_,
    nn.init.xavier_normal_,
}


class Unfilled(TorchFunctionMode):
    """A context in which random weights stay as they lie in memory: for what is loaded over them in a moment.

    A model of a billion weights is there at once, where numbers for them take half a minute to draw; memory that
    nothing is written to is not even taken.

    Examples:
        >>> import torch
        >>> weight = torch.zeros(2)
        >>> with Unfilled():
        ...     torch.nn.init.normal_(weight)
        tensor([0., 0.])
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Hand back the tensor that was to be filled, and run all else."""
        kwargs = kwargs or {}
        if func in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
