"""Find and replace the last linear map of a tower, whose rows are the neurons.

A name says where it is in a module: a `Linear`, whose weight is ``[neuron, width]`` and which may
have a bias, or a parameter ``[width, neuron]`` that the features are multiplied by.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LastMap(NamedTuple):
    """The weights of a last linear map, one row for each neuron, and its bias if it has one."""

    rows: Float[Tensor, "neuron width"]
    bias: Float[Tensor, " neuron"] | None


def read_last_map(module: nn.Module, name: str) -> LastMap:
    """Return the weights of the map with a name, not copied.

    Examples:
        >>> rows, bias = read_last_map(nn.Sequential(nn.Linear(3, 2, bias=False)), "0")
        >>> rows.shape, bias
        (torch.Size([2, 3]), None)
    """
    linear = _get(module, name)
    if isinstance(linear, nn.Linear):
        bias = linear.bias
        return LastMap(linear.weight.detach(), None if bias is None else bias.detach())
    return LastMap(linear.detach().T, None)


def replace_last_map(module: nn.Module, name: str, new: LastMap) -> None:
    """Put new weights in the place of the map with a name; the old tensors are left as they are.

    The number of neurons may be another. The map gets a bias only if it had one.

    Examples:
        >>> model = nn.Sequential(nn.Linear(3, 2))
        >>> replace_last_map(model, "0", LastMap(torch.ones(1, 3), torch.zeros(1)))
        >>> model(torch.ones(1, 3)).tolist(), model[0].out_features
        ([[3.0]], 1)
    """
    linear = _get(module, name)
    if isinstance(linear, nn.Linear):
        linear.weight = _parameter(new.rows)
        linear.register_parameter("bias", None if new.bias is None else _parameter(new.bias))
        linear.out_features = len(new.rows)
        return
    owner, _, parameter = name.rpartition(".")
    setattr(module.get_submodule(owner), parameter, _parameter(new.rows.T))


def _get(module: nn.Module, name: str) -> nn.Linear | Tensor:
    owner, _, last = name.rpartition(".")
    found = getattr(module.get_submodule(owner), last)
    if not isinstance(found, nn.Linear | Tensor):
        raise TypeError(f"{name} is a {type(found).__name__}, no Linear and no parameter")
    return found


def _parameter(weights: Tensor) -> nn.Parameter:
    return nn.Parameter(weights.to(torch.float32).contiguous(), requires_grad=False)
