"""The last linear maps of a module in training, told by the names of its parameters."""

from torch import Tensor, nn

from purescope.errors import ModelError
from purescope.maths.overlaps import Projections

# Names of parameters, and whether their rows are neurons; they may stand deeper, as in a LightningModule.
_IMAGE = {
    "visual_projection.weight": True,  # transformers
    "image_projection": False,  # LaCLIP, SLIP
    "visual.proj": False,  # OpenAI's and open_clip's ViT
    "visual.attnpool.c_proj.weight": True,  # their ResNet
    "visual.head.proj.weight": True,  # open_clip's timm towers
}
_TEXT = {"text_projection.weight": True, "text_projection": False, "text.proj.weight": True}


def projections_of(module: nn.Module) -> Projections:
    """The projections of a CLIP of open_clip, LaCLIP, SLIP, OpenAI or transformers, or of a module that holds one.

    Copies in float32 on the cpu, rows being neurons: training goes on without changing them.

    Raises:
        ModelError: a tower's projection goes by no name that is known, or by several.

    Examples:
        >>> import torch
        >>> module = nn.Module()
        >>> module.image_projection = nn.Parameter(torch.zeros(3, 2))
        >>> module.text_projection = nn.Parameter(torch.zeros(4, 2))
        >>> projections_of(module).text.shape
        torch.Size([2, 4])
    """
    parameters = dict(module.named_parameters())
    return Projections(image=_find(parameters, _IMAGE, "image"), text=_find(parameters, _TEXT, "text"))


def _find(parameters: dict[str, nn.Parameter], names: dict[str, bool], tower: str) -> Tensor:
    found = {name: end for name in parameters for end in names if name == end or name.endswith(f".{end}")}
    if len(found) != 1:
        raise ModelError(
            f"{'several' if found else 'no'} {tower} projections by name{': ' if found else ''}{', '.join(found)}",
            expected=f"one parameter that is called, or ends in, {' or '.join(names)}",
            fix="give the projections themselves: Projections(image=..., text=...), rows being neurons",
        )
    name, end = next(iter(found.items()))
    weight = parameters[name].detach().float().cpu().clone()
    return weight if names[end] else weight.T.contiguous()
