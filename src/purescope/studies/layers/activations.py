"""Activations at every place of a tower, taken while the tower runs and kept as sums: no memory
grows with the data.

All that is measured of activations A `[neuron, sample]` follows from A A^T and the sums of A's
rows. They are summed in float64 over differences from the first sample, so that a large common
offset costs no digits and a neuron that never changes has a variance of exactly 0.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from purescope.errors import InputError
from purescope.models.model import Tower
from purescope.studies.layers.places import Place


class Moments:
    """First and second moments of rows that come a few at a time.

    Examples:
        >>> moments = Moments()
        >>> moments.add(torch.tensor([[1.0, 2.0]]))
        >>> moments.add(torch.tensor([[3.0, 2.0]]))
        >>> moments.gram(), moments.gram(centred=True)
        (tensor([[10., 8.], [ 8., 8.]], dtype=torch.float64), tensor([[2., 0.], [0., 0.]], dtype=torch.float64))
    """

    def __init__(self) -> None:
        self.samples = 0

    def add(self, rows: Float[Tensor, "sample neuron"]) -> None:
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
        """A A^T of all rows so far; `centred` takes each neuron's mean away first."""
        if centred:
            return self._squares - torch.outer(self._sum, self._sum) / self.samples
        cross = torch.outer(self._first, self._sum)
        return (
            self._squares + cross + cross.T + self.samples * torch.outer(self._first, self._first)
        )


def collect(
    places: Sequence[Place],
    tower: Tower,
    encode: Callable[[Any], Float[Tensor, "n neuron"]],
    batches: Iterable[Any],
    *,
    name: str,
) -> dict[Place, Moments]:
    """Run a tower over batches and sum up the activations of each place, one row a sample.

    A sample's row is that of the token that the tower reads, or the mean over tokens, as
    `Tower.token` says; for channels that have positions it is the mean over positions.

    Args:
        places: of this tower.
        tower: the modules that `encode` runs, and the token.
        encode: a batch to features.
        batches: what `encode` takes, images or sentences.
        name: what a message calls the model and the tower.

    Raises:
        InputError: an activation is NaN or infinite, or of a shape of no known layout; or a module
            did not run.
    """
    moments = {place: Moments() for place in places}
    with _reading(places, tower) as reader:
        for batch in batches:
            reader.begin(len(batch))
            features = encode(batch)
            for place in places:
                rows = [features] if place.module is None else reader.rows[place]
                if sum(map(len, rows)) != len(batch):
                    raise InputError(
                        f"{name}: {place.name} gave {sum(map(len, rows))} activations for "
                        f"{len(batch)} samples",
                        expected="one for each: a module that the encoder runs once",
                    )
                if not all(part.isfinite().all() for part in rows):
                    raise InputError(f"{name}: an activation of {place.name} is NaN or infinite")
                for part in rows:
                    moments[place].add(part)
    return moments


class _Reader:
    """Reduces each output to one row a sample while the tower runs, so that no output outlives its
    module.
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
        self.samples = len(inputs[0])  # an encoder may cut a batch of sentences

    def read(self, place: Place, module: nn.Module, inputs: object, output: Any) -> None:
        output = output if isinstance(output, Tensor) else output[0]
        self.rows[place].append(self._reduce(output, place).float().cpu())

    def _reduce(self, output: Tensor, place: Place) -> Float[Tensor, "n neuron"]:
        if output.ndim == 4 and output.shape[-1] != place.neurons:
            output = output.movedim(
                1, -1
            )  # channels come before positions in convolutions, after them elsewhere
        if (
            output.shape[-1] != place.neurons
            or output.ndim not in (2, 3, 4)
            or len(output) % self.samples
        ):
            raise InputError(
                f"{place.name} gives activations of shape {list(output.shape)} for {self.samples} "
                f"samples",
                expected=f"{place.neurons} neurons in the last dimension, or channels before two "
                f"of positions",
            )
        if output.ndim == 2 and len(output) == self.samples:
            return output
        if (
            output.ndim == 4 or len(output) != self.samples
        ):  # or windows of an image, one after the other
            return output.reshape(self.samples, -1, place.neurons).mean(dim=1)
        return (self._token_weights(output).to(output.dtype)[..., None] * output).sum(dim=1)

    def _token_weights(self, output: Float[Tensor, "n token neuron"]) -> Float[Tensor, "n token"]:
        """Each token's part in the sample's row: 1 for the token that is read, or the same for
        all.
        """
        weights = torch.zeros(output.shape[:2], device=output.device)
        match self.tower.token:
            case "first":
                weights[:, 0] = 1
            case "last":
                weights[:, -1] = 1
            case "end" if self.tokens is not None:
                end = (
                    self.tokens if self.tower.end is None else (self.tokens == self.tower.end).int()
                )
                weights[torch.arange(len(weights)), end.argmax(dim=1)] = 1
            case _:
                weights += 1
                if self.tokens is not None and self.tower.padding is not None:
                    weights *= self.tokens != self.tower.padding
                weights /= weights.sum(dim=1, keepdim=True)
        return weights


@contextmanager
def _reading(places: Sequence[Place], tower: Tower) -> Iterator[_Reader]:
    """Hooks on the modules of the places, and on the embedding through which a sentence's tokens
    come in.
    """
    reader = _Reader(tower, places)
    handles = [
        place.module.register_forward_hook(partial(reader.read, place))
        for place in places
        if place.module is not None
    ]
    modules = (module for part in tower.modules.values() for module in part.modules())
    embedding = next((module for module in modules if isinstance(module, nn.Embedding)), None)
    if (
        embedding is not None and places[0].tower == "text"
    ):  # an image tower may look up its positions in one
        handles.append(embedding.register_forward_pre_hook(reader.read_tokens))
    try:
        yield reader
    finally:
        for handle in handles:
            handle.remove()
