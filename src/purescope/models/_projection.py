"""The last linear map of each of open_clip's towers, wherever its family keeps it."""

import warnings
from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn

from purescope.maths.overlaps import Projections

Last: TypeAlias = tuple[Tensor, Tensor | None]
"""`[neuron, width]` and a bias."""

# Of a timm tower and of a ModifiedResNet, in the order in which they are looked for.
_IMAGE_LINEARS = ("attnpool.c_proj", "head.proj", "head.mlp.fc2", "head.pool.proj")


def find_projections(visual: Any, text: Any, where: str) -> tuple[Projections | str, list[str]]:
    """Both towers' projections, or a sentence that says which tower has none; and the towers whose has a bias.

    A head of several layers gives its last one, with a warning: what it projects are no longer the tower's features.
    """
    found = {"image": _image(visual, where), "text": _text(text, where)}
    biased = [tower for tower, last in found.items() if last and last[1] is not None and bool(last[1].any())]
    if found["image"] and found["text"]:
        image, text_rows = (rows.detach().clone().contiguous() for rows, _ in (found["image"], found["text"]))
        return Projections(image=image, text=text_rows), biased
    without = [tower for tower, last in found.items() if last is None]
    towers = f"{' and '.join(without)} {'towers end' if len(without) > 1 else 'tower ends'}"
    return f"the {towers} without a projection", biased


def _image(visual: Any, where: str) -> Last | None:
    if isinstance(getattr(visual, "proj", None), Tensor):  # open_clip's ViT: features @ proj
        return visual.proj.T, None
    modules = dict(visual.named_modules())
    for name in _IMAGE_LINEARS:
        if isinstance(modules.get(name), nn.Linear):
            if name == "head.mlp.fc2":
                _warn_of_head(where, f"visual.{name}")
            return modules[name].weight, modules[name].bias
    # With timm_proj "" the trunk's own classifier is the projection.
    classifier: Callable[[], Any] | None = getattr(modules.get("trunk"), "get_classifier", None)
    linear = classifier() if classifier and not len(visual.head) else None
    return (linear.weight, linear.bias) if isinstance(linear, nn.Linear) else None


def _text(text: Any, where: str) -> Last | None:
    # A text tower of transformers has `proj`, open_clip's own has `text_projection`.
    projection = text.text_projection if hasattr(text, "text_projection") else text.proj
    if isinstance(projection, Tensor):
        return projection.T, None
    if isinstance(projection, nn.Sequential):
        _warn_of_head(where, "text.proj")
        projection = projection[-1]
    return (projection.weight, projection.bias) if isinstance(projection, nn.Linear) else None


def _warn_of_head(where: str, name: str) -> None:
    warnings.warn(
        f"{where}: {name} is the last of several layers; its purity is that of this layer alone", stacklevel=2
    )
