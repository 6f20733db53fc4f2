"""The places in a tower where a layer hands on its result: attention, MLP, residual stream,
convolutions.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from purescope.errors import InputError
from purescope.models.model import Model, Tower

Matrix: TypeAlias = nn.Linear | nn.Conv2d | nn.MultiheadAttention

# What a block is known by, and where in it each kind of layer ends; the first row that fits counts.
_BLOCKS: tuple[Mapping[str, str], ...] = (
    {
        "attention": "attn.out_proj",
        "mlp": "mlp.c_proj",
    },  # open_clip, OpenAI, the text tower of LaCLIP
    {"attention": "attn.proj", "mlp": "mlp.fc2"},  # timm: ViT, EVA, Swin; the image tower of LaCLIP
    {"attention": "attn.proj", "mlp": "mlp.w2"},  # timm: ViTamin
    {"attention": "self_attn.out_proj", "mlp": "mlp.fc2"},  # transformers: CLIP, SigLIP
    {"attention": "self_attn.out_proj", "mlp": "fc2"},  # transformers: M2M-100, NLLB
    {
        "attention": "attention.output.dense",
        "mlp": "output.dense",
    },  # transformers: BERT, RoBERTa, XLM-RoBERTa
    {
        "attention": "layer.0.SelfAttention.o",
        "mlp": "layer.1.DenseReluDense.wo",
    },  # transformers: T5, mT5
    {"attention": "attention", "mlp": "mlp.fc2"},  # transformers: SigLIP's pooling head
    {"attention": "proj", "mlp": "mlp.fc2"},  # timm: SigLIP's pooling head
    {"attention": "token_mixer.proj", "mlp": "mlp.fc2"},  # timm: FastViT
    {"conv": "conv_dw", "mlp": "mlp.fc2"},  # timm: ConvNeXt
    {
        "conv": "token_mixer.mixer.conv_kxk.0.conv",
        "mlp": "mlp.fc2",
    },  # timm: FastViT before it attends
    {
        "conv": "conv3",
        "bn3": "bn3",
    },  # a bottleneck of open_clip's ModifiedResNet and of timm's ResNet
    {"conv": "conv2", "bn2": "bn2"},  # a basic block of timm's ResNet
    {"conv": "conv3_1x1"},  # timm: ViTamin before it attends
    {"attention": "c_proj", "query": "q_proj"},  # the pooling of open_clip's ModifiedResNet
    {"attention": "proj", "query": "q"},  # timm: pooling by attention
    {"attention": "proj", "query": "qkv"},
    {"attention": "attn", "query": "ln_q"},  # CoCa's pooling
)
_KINDS = ("conv", "attention", "mlp")
_BETWEEN = (".downsample.", ".backbone.pool.")  # the maps from one stage to the next
_GENERAL: dict[type[nn.Module], str] = {
    nn.Linear: "linear",
    nn.Conv2d: "conv",
    nn.MultiheadAttention: "attention",
}


@dataclass(frozen=True, eq=False)
class Place:
    """One place in a tower.

    Args:
        tower: "image" or "text".
        depth: 0 before the first block, n for the n-th block, and one more than the last for the
            projection.
        kind: "stem", a convolution or linear map between the pixels and the first block, or between
            two stages; "attention", "mlp" or "conv", the last map of that part of a block;
            "residual", what the block hands on; "projection", the tower's last linear map;
            "linear", one of an unknown block.
        name: of the module, as in the model.
        neurons: how many outputs it has.
        weight: rows are its output neurons; None where there is no single map, as for the residual
            stream.
        module: the module whose output are its activations; None for the projection, whose output
            are the features.
    """

    tower: str
    depth: int
    kind: str
    name: str
    neurons: int
    weight: Float[Tensor, "neuron width"] | None
    module: nn.Module | None


def find_places(model: Model) -> list[Place]:
    """Every place of both towers, image first, in the order of depth.

    A tower with layers in no block of a known form gives each of them by a general rule
    (`nn.Linear`, `nn.Conv2d` and `nn.MultiheadAttention`, in the order of modules), with a warning
    that names them.

    Raises:
        InputError: the model does not say what its towers are made of.
    """
    if not model.towers:
        raise InputError(
            f"{model.label} is a model without towers",
            expected="a model of load_model, or Model(towers=...) with the modules behind its "
            "encoders",
        )
    return [
        place
        for tower, parts in model.towers.items()
        for place in _tower_places(model, tower, parts)
    ]


def _tower_places(model: Model, tower: str, parts: Tower) -> Iterator[Place]:
    projection = None if isinstance(model.weight_space, str) else getattr(model.weight_space, tower)
    found = [
        entry
        for name, module in parts.modules.items()
        for entry in _walk(name, module, is_top=True)
        if not _is_projection(entry, projection)
    ]
    has_blocks = any(kinds for _, _, kinds in found)
    before = len([*takewhile(lambda entry: not entry[2], found)]) if has_blocks else 0
    if projection is None and found and _ends_in_embedding(found[-1], model.neurons):
        # A model whose other tower ends without a projection: this one's is its last map.
        projection = _rows(found.pop()[1])
    depth, unknown = 0, []
    for index, (name, module, kinds) in enumerate(found):
        is_stem = index < before or (has_blocks and any(part in name for part in _BETWEEN))
        if not is_stem:
            depth += 1
        if kinds:
            yield from _block_places(tower, depth, name, module, kinds)
            continue
        if not is_stem:
            unknown.append(name)
        rows = _rows(module)
        kind = (
            "stem"
            if is_stem
            else next(word for form, word in _GENERAL.items() if isinstance(module, form))
        )
        yield Place(tower, depth, kind, name, len(rows), rows, module)
    if unknown:
        warnings.warn(
            f"{model.label}: {len(unknown)} layers of the {tower} tower belong to no block of a "
            f"known form and are "
            f"listed one by one, first {unknown[0]}",
            stacklevel=4,
        )
    yield Place(
        tower, depth + 1, "projection", f"{tower} projection", model.neurons, projection, None
    )


Entry: TypeAlias = tuple[str, nn.Module, Mapping[str, str]]
"""A name, a block or a single matrix, and where in a block each kind is; empty for a matrix."""


def _walk(name: str, module: nn.Module, *, is_top: bool = False) -> Iterator[Entry]:
    """Blocks and the matrices outside of them; a part as a whole is no block, even where it looks
    like one.
    """
    kinds = {} if is_top else _match(module)
    if kinds or isinstance(module, Matrix):
        yield name, module, kinds
        return
    for child, below in module.named_children():
        yield from _walk(f"{name}.{child}", below)


def _match(module: nn.Module) -> Mapping[str, str]:
    inside = dict(module.named_modules())
    for row in _BLOCKS:
        ends = {kind: path for kind, path in row.items() if kind in _KINDS}
        if set(row.values()) <= inside.keys() and all(
            isinstance(inside[path], Matrix) for path in ends.values()
        ):
            return ends
    return {}


def _block_places(
    tower: str, depth: int, name: str, block: nn.Module, kinds: Mapping[str, str]
) -> Iterator[Place]:
    rows: Tensor = torch.empty(0)
    for kind, path in kinds.items():
        module = block.get_submodule(path)
        rows = _rows(module)
        above = block.get_submodule(path.rpartition(".")[0])
        # torch takes the weights out of the map at the end of its attention, and never calls it.
        source = above if isinstance(above, nn.MultiheadAttention) else module
        yield Place(tower, depth, kind, f"{name}.{path}", len(rows), rows, source)
    if kinds.keys() != {"attention"}:  # pooling by attention alone has no stream to add to
        yield Place(tower, depth, "residual", name, len(rows), None, block)


def _rows(module: nn.Module) -> Float[Tensor, "neuron width"]:
    """The weights of a matrix; a convolution's kernel is one long row for each of its channels."""
    weight = module.out_proj.weight if isinstance(module, nn.MultiheadAttention) else module.weight
    assert isinstance(weight, Tensor)
    return weight.detach().flatten(1)


def _is_projection(entry: Entry, projection: Tensor | None) -> bool:
    """Whether a matrix, or the one matrix at the end of a pooling, is what the model calls its
    projection.
    """
    _, module, kinds = entry
    if projection is None or len(kinds) > 1:
        return False
    rows = _rows(module.get_submodule(next(iter(kinds.values()), "")))
    return rows.shape == projection.shape and torch.equal(rows.cpu(), projection.to(rows.dtype))


def _ends_in_embedding(entry: Entry, neurons: int) -> bool:
    return isinstance(entry[1], nn.Linear) and entry[1].out_features == neurons
