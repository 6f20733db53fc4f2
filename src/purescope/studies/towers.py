"""Find the layers of a tower, and sum up their activations while the tower runs.

A place is where a layer hands on its result: attention, MLP, residual stream, convolutions. All
measures of activations A `[neuron, sample]` follow from A A^T and the sums of A's rows, so only
these are kept and no memory grows with the data. They are summed in float64 over differences from
the first sample, so that a large common offset costs no digits and a neuron that never changes has
a variance of exactly 0.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from purescope.errors import InputError
from purescope.models.model import Model, Tower
from purescope.models.sentences import find_ends

Matrix: TypeAlias = nn.Linear | nn.Conv2d | nn.MultiheadAttention

Entry: TypeAlias = tuple[str, nn.Module, Mapping[str, str]]
"""A name, a block or a single matrix, and the path of each kind in a block; empty for a matrix."""

# The modules that identify a block, and with which each kind of layer ends; the first row that fits
# counts.
_BLOCKS: tuple[Mapping[str, str], ...] = (
    # open_clip, OpenAI, the text tower of LaCLIP
    {"attention": "attn.out_proj", "mlp": "mlp.c_proj"},
    # timm: ViT, EVA, Swin; the image tower of LaCLIP
    {"attention": "attn.proj", "mlp": "mlp.fc2"},
    # timm: ViTamin
    {"attention": "attn.proj", "mlp": "mlp.w2"},
    # transformers: CLIP, SigLIP
    {"attention": "self_attn.out_proj", "mlp": "mlp.fc2"},
    # transformers: M2M-100, NLLB
    {"attention": "self_attn.out_proj", "mlp": "fc2"},
    # transformers: BERT, RoBERTa, XLM-RoBERTa
    {"attention": "attention.output.dense", "mlp": "output.dense"},
    # transformers: T5, mT5
    {"attention": "layer.0.SelfAttention.o", "mlp": "layer.1.DenseReluDense.wo"},
    # transformers: SigLIP's pooling head
    {"attention": "attention", "mlp": "mlp.fc2"},
    # timm: SigLIP's pooling head
    {"attention": "proj", "mlp": "mlp.fc2"},
    # timm: FastViT
    {"attention": "token_mixer.proj", "mlp": "mlp.fc2"},
    # timm: ConvNeXt
    {"conv": "conv_dw", "mlp": "mlp.fc2"},
    # timm: the convolutional stages of FastViT
    {"conv": "token_mixer.mixer.conv_kxk.0.conv", "mlp": "mlp.fc2"},
    # a bottleneck of open_clip's ModifiedResNet and of timm's ResNet
    {"conv": "conv3", "bn3": "bn3"},
    # a basic block of timm's ResNet
    {"conv": "conv2", "bn2": "bn2"},
    # timm: the convolutional stages of ViTamin
    {"conv": "conv3_1x1"},
    # the pooling of open_clip's ModifiedResNet
    {"attention": "c_proj", "query": "q_proj"},
    # timm: pooling by attention
    {"attention": "proj", "query": "q"},
    {"attention": "proj", "query": "qkv"},
    # CoCa's pooling
    {"attention": "attn", "query": "ln_q"},
)
_KINDS = ("conv", "attention", "mlp")
_BETWEEN = (".downsample.", ".backbone.pool.")  # the maps from one stage to the next
_MATRIX_KINDS: dict[type[nn.Module], str] = {
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
            "residual", the output of a block; "projection", the tower's last linear map; "linear",
            a map of an unknown block.
        name: name of the module in the model.
        neurons: number of outputs.
        weight: the weights, whose rows are the neurons; None where there is no single map, as for
            the residual stream.
        module: the module whose outputs are the activations; None for the projection, whose outputs
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
    """Return every place of both towers, image first, by depth.

    Layers outside blocks of a known form are listed one by one (`nn.Linear`, `nn.Conv2d` and
    `nn.MultiheadAttention`, in the order of modules), with a warning.

    Raises:
        InputError: the model does not give access to the modules of its towers.

    Warns:
        UserWarning: layers belong to no block of a known form.
    """
    if not model.towers:
        raise InputError(
            f"{model.label} is a model without towers",
            expected="a model of load_model, or Model(towers=...) with the modules behind its "
            "encoders",
        )
    return [
        place
        for name, tower in model.towers.items()
        for place in _places_of_tower(model, name, tower)
    ]


def _places_of_tower(model: Model, tower: str, modules: Tower) -> Iterator[Place]:
    projection = None if isinstance(model.weight_space, str) else getattr(model.weight_space, tower)
    entries = [
        entry
        for name, module in modules.modules.items()
        for entry in _walk(name, module, is_top=True)
        if not _is_projection(entry, projection)
    ]
    has_blocks = any(kinds for _, _, kinds in entries)
    before = len([*takewhile(lambda entry: not entry[2], entries)]) if has_blocks else 0
    if projection is None and entries and _ends_in_embedding(entries[-1], model.neurons):
        # If the other tower ends without a projection, this tower's projection is its last map.
        projection = _rows(entries.pop()[1])
    depth, unknown = 0, []
    for index, (name, module, kinds) in enumerate(entries):
        is_stem = index < before or (has_blocks and any(path in name for path in _BETWEEN))
        if not is_stem:
            depth += 1
        if kinds:
            yield from _places_of_block(tower, depth, name, module, kinds)
            continue
        if not is_stem:
            unknown.append(name)
        rows = _rows(module)
        matrix = next(kind for form, kind in _MATRIX_KINDS.items() if isinstance(module, form))
        yield Place(tower, depth, "stem" if is_stem else matrix, name, len(rows), rows, module)
    if unknown:
        warnings.warn(
            f"{model.label}: {len(unknown)} layers of the {tower} tower belong to no block of a "
            f"known form and are listed one by one, first {unknown[0]}",
            stacklevel=4,
        )
    name = f"{tower} projection"
    yield Place(tower, depth + 1, "projection", name, model.neurons, projection, None)


def _walk(name: str, module: nn.Module, *, is_top: bool = False) -> Iterator[Entry]:
    """Return blocks, and the matrices outside of them; a whole tower is no block, even if it looks
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


def _places_of_block(
    tower: str, depth: int, name: str, block: nn.Module, kinds: Mapping[str, str]
) -> Iterator[Place]:
    rows: Tensor = torch.empty(0)
    for kind, path in kinds.items():
        module = block.get_submodule(path)
        rows = _rows(module)
        above = block.get_submodule(path.rpartition(".")[0])
        # torch reads the weights of the map at the end of its attention, and never calls the map.
        source = above if isinstance(above, nn.MultiheadAttention) else module
        yield Place(tower, depth, kind, f"{name}.{path}", len(rows), rows, source)
    if kinds.keys() != {"attention"}:  # pooling by attention alone has no residual stream
        yield Place(tower, depth, "residual", name, len(rows), None, block)


def _rows(module: nn.Module) -> Float[Tensor, "neuron width"]:
    """Return the weights; the kernel of a convolution is one long row for each output channel."""
    weight = module.out_proj.weight if isinstance(module, nn.MultiheadAttention) else module.weight
    assert isinstance(weight, Tensor)
    return weight.detach().flatten(1)


def _is_projection(entry: Entry, projection: Tensor | None) -> bool:
    """Tell whether a matrix, or the only matrix at the end of a pooling, is the projection."""
    _, module, kinds = entry
    if projection is None or len(kinds) > 1:
        return False
    rows = _rows(module.get_submodule(next(iter(kinds.values()), "")))
    return rows.shape == projection.shape and torch.equal(rows.cpu(), projection.to(rows.dtype))


def _ends_in_embedding(entry: Entry, neurons: int) -> bool:
    return isinstance(entry[1], nn.Linear) and entry[1].out_features == neurons


class Moments:
    """First and second moments of rows that arrive in batches.

    Examples:
        >>> moments = Moments()
        >>> moments.add(torch.tensor([[1.0, 2.0]]))
        >>> moments.add(torch.tensor([[3.0, 2.0]]))
        >>> moments.gram().tolist(), moments.gram(centred=True).tolist()
        ([[10.0, 8.0], [8.0, 8.0]], [[2.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self) -> None:
        self.samples = 0

    def add(self, rows: Float[Tensor, "sample neuron"]) -> None:
        """Add a batch of rows."""
        rows = rows.double()
        if not self.samples:
            self._first = rows[0].clone()
            self._sum = torch.zeros_like(self._first)
            self._squares = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64)
        rows = rows - self._first
        self._sum += rows.sum(dim=0)
        self._squares.addmm_(rows.T, rows)
        self.samples += len(rows)

    def gram(self, *, centred: bool = False) -> Float[Tensor, "neuron neuron"]:
        """Return A A^T of all rows so far; `centred` subtracts the mean of each neuron first."""
        if centred:
            return self._squares - torch.outer(self._sum, self._sum) / self.samples
        cross = torch.outer(self._first, self._sum)
        offset = self.samples * torch.outer(self._first, self._first)
        return self._squares + cross + cross.T + offset


def collect(
    places: Sequence[Place],
    tower: Tower,
    encode: Callable[[Any], Float[Tensor, "n neuron"]],
    batches: Iterable[Any],
    *,
    name: str,
) -> dict[Place, Moments]:
    """Run a tower over batches and sum up the activations of each place, one row for each sample.

    The row of a sample is that of the token that the tower reads, or the mean over tokens, as
    `Tower.token` says; for channels with positions it is the mean over positions.

    Args:
        places: places of this tower.
        tower: the modules that `encode` runs, and the token.
        encode: turns a batch into features.
        batches: batches of images or sentences, as `encode` takes them.
        name: name of the model and the tower in errors.

    Raises:
        InputError: an activation is NaN or infinite, or has a shape of no known layout; or a module
            did not run.
    """
    moments = {place: Moments() for place in places}
    with _hooks(places, tower) as reader:
        for batch in batches:
            reader.begin(len(batch))
            features = encode(batch)
            for place in places:
                outputs = [features] if place.module is None else reader.rows[place]
                count = sum(map(len, outputs))
                if count != len(batch):
                    raise InputError(
                        f"{name}: {place.name} gave {count} activations for {len(batch)} samples",
                        expected="one for each: a module that the encoder runs once",
                    )
                if not all(rows.isfinite().all() for rows in outputs):
                    raise InputError(f"{name}: an activation of {place.name} is NaN or infinite")
                for rows in outputs:
                    moments[place].add(rows)
    return moments


class _Reader:
    """Reduces each output to one row for each sample while the tower runs.

    So no output lives longer than the run of its module.
    """

    def __init__(self, tower: Tower, places: Sequence[Place]) -> None:
        self.tower = tower
        self.rows: dict[Place, list[Float[Tensor, "n neuron"]]] = {place: [] for place in places}
        self.samples = 0
        self.tokens: Int64[Tensor, "n context"] | None = None

    def begin(self, samples: int) -> None:
        self.samples, self.tokens = samples, None
        for rows in self.rows.values():
            rows.clear()

    def read_tokens(
        self, module: nn.Module, inputs: tuple[Int64[Tensor, "n context"], ...]
    ) -> None:
        self.tokens = inputs[0]
        self.samples = len(inputs[0])  # an encoder may split a batch of sentences

    def read(self, place: Place, module: nn.Module, inputs: object, output: Any) -> None:
        output = output if isinstance(output, Tensor) else output[0]
        self.rows[place].append(self._reduce(output, place).float().cpu())

    def _reduce(self, output: Tensor, place: Place) -> Float[Tensor, "n neuron"]:
        if output.ndim == 4 and output.shape[-1] != place.neurons:
            output = output.movedim(1, -1)  # channels come first in convolutions
        fits = output.ndim in (2, 3, 4) and output.shape[-1] == place.neurons
        if not fits or len(output) % self.samples:
            raise InputError(
                f"{place.name} gives activations of shape {list(output.shape)} for {self.samples} "
                f"samples",
                expected=f"{place.neurons} neurons in the last dimension, or channels before two "
                f"of positions",
            )
        has_windows = len(output) != self.samples  # windows of an image, one after the other
        if output.ndim == 2 and not has_windows:
            return output
        if output.ndim == 4 or has_windows:
            return output.reshape(self.samples, -1, place.neurons).mean(dim=1)
        return (self._token_weights(output).to(output.dtype)[..., None] * output).sum(dim=1)

    def _token_weights(self, output: Float[Tensor, "n token neuron"]) -> Float[Tensor, "n token"]:
        """Return the weight of each token in the row of its sample.

        It is 1 for the token that the tower reads, or the same for all tokens.
        """
        weights = torch.zeros(output.shape[:2], device=output.device)
        match self.tower.token:
            case "first":
                weights[:, 0] = 1
            case "last":
                weights[:, -1] = 1
            case "end" if self.tokens is not None:
                ends = find_ends(self.tokens, self.tower.end)
                weights[torch.arange(len(weights)), ends] = 1
            case _:
                weights += 1
                if self.tokens is not None and self.tower.padding is not None:
                    weights *= self.tokens != self.tower.padding
                weights /= weights.sum(dim=1, keepdim=True)
        return weights


@contextmanager
def _hooks(places: Sequence[Place], tower: Tower) -> Iterator[_Reader]:
    """Attach a reader to the modules of the places, and to the embedding of the tokens."""
    reader = _Reader(tower, places)
    handles = [
        place.module.register_forward_hook(partial(reader.read, place))
        for place in places
        if place.module is not None
    ]
    modules = (module for top in tower.modules.values() for module in top.modules())
    embedding = next((module for module in modules if isinstance(module, nn.Embedding)), None)
    # An image tower may look up its positions in an embedding.
    if embedding is not None and places[0].tower == "text":
        handles.append(embedding.register_forward_pre_hook(reader.read_tokens))
    try:
        yield reader
    finally:
        for handle in handles:
            handle.remove()
