"""Define a model for the rest of purescope: two encoders, two projections and a preprocess."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from purescope.errors import InputError, ModelError, near_miss
from purescope.formats import definitions
from purescope.maths.overlaps import Projections

RGB: TypeAlias = tuple[float, float, float]

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_RESIZES = ("shortest", "squash")
_LARGE = 1 << 24  # pixels of a resized image; the crop discards most of so many


@dataclass(frozen=True)
class Preprocess:
    """Resize an image to a square, scale it to [0, 1] and normalise it.

    The result is deterministic and equal to torchvision's. There are two steps, `pixels` and
    `normalise`: images are kept as bytes, and the arithmetic is done for a whole batch.

    Args:
        size: the side of the square that the model sees, in pixels.
        mean: the mean of each channel, subtracted after scaling to [0, 1].
        std: the standard deviation of each channel, the divisor.
        interpolation: "bicubic" or "bilinear", as in Pillow (antialiased).
        resize: how an image becomes a square. "shortest" resizes its shortest side to `size` and
            crops the centre, as CLIP does; "squash" ignores its proportions, as SigLIP does.
        resize_first: resize greyscale and CMYK images before they become RGB, as CLIP's own
            transform and the experiment's script do; otherwise afterwards. Only CMYK images differ,
            by a shade in some pixels.

    Raises:
        InputError: the size is below 1, a std is 0, or the interpolation or the resize is unknown.

    Examples:
        >>> preprocess = Preprocess(size=2, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> white = preprocess.pixels(Image.new("RGB", (6, 4), "white"))
        >>> white.shape, preprocess.normalise(white[None]).unique().tolist()
        (torch.Size([3, 2, 2]), [1.0])
    """

    size: int
    mean: RGB
    std: RGB
    interpolation: str = "bicubic"
    resize: str = "shortest"
    # Left out of the repr: it makes no difference for RGB images.
    resize_first: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("interpolation", self.interpolation, _FILTERS),
            ("resize", self.resize, _RESIZES),
        ):
            if value not in known:
                raise InputError(f"{name} {value!r}", **near_miss(value, known))
        if self.size < 1:
            raise InputError(f"preprocess size {self.size}", expected="at least 1 pixel")
        if 0 in self.std:
            raise InputError(
                f"preprocess std {self.std}", expected="no zero: the pixels are divided by it"
            )

    def pixels(self, image: Image.Image) -> UInt8[Tensor, "3 size size"]:
        """Return the square that the model sees, as bytes.

        An RGB image of that size is only copied.

        Raises:
            InputError: the image has more than 8 bits a channel, which Pillow would cut off at 255.
        """
        if image.mode == "F" or image.mode.startswith("I"):
            raise InputError(
                f"an image of mode {image.mode}",
                expected="RGB",
                fix="scale it to 8 bits a channel and convert it",
            )
        if image.mode != "RGB" and not (self.resize_first and image.mode in ("L", "CMYK")):
            image = image.convert("RGB")
        if image.size != (self.size, self.size):
            image = self._square(image)
        if image.mode != "RGB":
            image = image.convert("RGB")
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def normalise(self, batch: UInt8[Tensor, "n 3 size size"]) -> Float[Tensor, "n 3 size size"]:
        """Turn the bytes of a whole batch into the input of the model."""
        mean, std = (
            torch.tensor(rgb, device=batch.device).view(3, 1, 1) for rgb in (self.mean, self.std)
        )
        # In torchvision's order of operations, so that the result is equal to the last bit.
        return batch.float().div_(255).sub_(mean).div_(std)

    def _square(self, image: Image.Image) -> Image.Image:
        if self.resize == "squash":
            return image.resize((self.size, self.size), _FILTERS[self.interpolation])
        shortest = min(image.size)
        # Truncated, not rounded, as in torchvision: a pixel more would shift the crop.
        width, height = (int(self.size * side / shortest) for side in image.size)
        left, top = (round((side - self.size) / 2) for side in (width, height))
        if width * height > _LARGE:
            return self._square_from_crop(image, (width, height), (left, top))
        if image.size != (width, height):
            image = image.resize((width, height), _FILTERS[self.interpolation])
        return image.crop((left, top, left + self.size, top + self.size))

    def _square_from_crop(
        self, image: Image.Image, resized: tuple[int, int], corner: tuple[int, int]
    ) -> Image.Image:
        """Resize only the pixels that the crop keeps.

        An image of 1 x 20,000 pixels would otherwise be resized to 224 x 4,480,000 first.
        """
        left, top, right, bottom = (0, 0, *image.size)
        (x0, x1), (y0, y1) = (
            (first * side / whole, min(side, (first + self.size) * side / whole))
            for first, side, whole in zip(corner, image.size, resized, strict=True)
        )
        # Crop roughly first, with all pixels that the filter needs: Pillow resizes the sides of
        # long images in another order.
        margin = 3 * max(1, min(image.size) / self.size) + 1
        left, top = max(0, math.floor(x0 - margin)), max(0, math.floor(y0 - margin))
        right, bottom = min(right, math.ceil(x1 + margin)), min(bottom, math.ceil(y1 + margin))
        rough = image.crop((left, top, right, bottom))
        box = (x0 - left, y0 - top, x1 - left, y1 - top)
        return rough.resize((self.size, self.size), _FILTERS[self.interpolation], box=box)


def to_rgb(values: object) -> RGB | None:
    """Return a value of a configuration as three floats; None if it is not three numbers."""
    if not isinstance(values, list | tuple) or len(values) != 3:
        return None
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return None
    red, green, blue = map(float, values)
    return red, green, blue


OPENAI_PREPROCESS = Preprocess(
    size=224, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)
"""CLIP's preprocess; the experiment's script used it for all checkpoints (protocol "paper")."""


@dataclass(frozen=True)
class Tower:
    """Give access to the modules of one encoder, as `purescope.studies.layers` needs it.

    Args:
        modules: the modules in the order in which they run, by their names in the model.
        token: the token that the feature is read from: "first"; "last"; "end", the first token
            whose id is `end`; or "mean", if it is read from all tokens or positions.
        end: the id of the end-of-text token; None for the highest id in a sentence, as in CLIP's
            vocabulary.
        padding: the id of the tokens that "mean" leaves out; None if it leaves out none.
    """

    modules: Mapping[str, nn.Module]
    token: str
    end: int | None = None
    padding: int | None = None


def no_encoder(_: Any) -> NoReturn:
    """Stand in for the encoder of a model that has features only.

    Raises:
        ModelError: always.
    """
    raise ModelError(
        "there is no model to encode with, only features", fix="name a MODEL before the options"
    )


@dataclass(frozen=True)
class Model:
    """Hold a checkpoint that is ready to be measured.

    Args:
        label: its name in tables, plots and file names, e.g. "CC3M LaCLIP".
        spec: the name that the user gave, e.g. "runs/cc3m_laclip.pt".
        weight_space: the last linear map of each tower, float32 on the cpu, one row for each
            neuron; or a sentence that says which tower ends without one.
        neurons: the number of neurons of the embedding, d.
        preprocess: the preprocess that the checkpoint was trained with.
        encode_image: turns normalised pixels into features: the raw output of the projection,
            not normalised to unit length, float32 on the cpu.
        encode_text: does the same for any number of sentences.
        identity: the properties that affect its numbers: format, architecture, weights (a hash),
            activation, tokenizer, precision, logit_scale, projection_bias.
        lanes: the number of calls of `encode_image` that may run at the same time: one for each
            accelerator; 1 if it is not safe in threads; 0 for one on each core, which then share a
            batch.
        towers: the modules of "image" and "text"; empty if the encoders are not made of modules.
        device: where it encodes, as the manifest records it.
        are_cut: tells which sentences are too long and lose their end; None if that is not known.

    Examples:
        `purescope.load_model` makes a model from a checkpoint. This one is made by hand, with two
        neurons that respond to red and to blue:

        >>> def encode_text(texts):
        ...     return torch.tensor([["red" in text, "blue" in text] for text in texts]).float()
        >>> model = Model(
        ...     label="eye",
        ...     spec="made by hand",
        ...     weight_space=Projections(torch.eye(2), torch.eye(2)),
        ...     neurons=2,
        ...     preprocess=Preprocess(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        ...     encode_image=lambda pixels: pixels[:, [0, 2], 0, 0],
        ...     encode_text=encode_text,
        ...     identity={},
        ... )
        >>> blue = model.preprocess.pixels(Image.new("RGB", (2, 2), "blue"))
        >>> model.encode_image(model.preprocess.normalise(blue[None]))
        tensor([[0., 1.]])
        >>> model.encodes, model.projections.neurons
        (True, 2)
    """

    label: str
    spec: str
    weight_space: Projections | str
    neurons: int
    preprocess: Preprocess
    encode_image: Callable[[Float[Tensor, "n 3 size size"]], Float[Tensor, "n neuron"]]
    encode_text: Callable[[Sequence[str]], Float[Tensor, "n neuron"]]
    identity: Mapping[str, str]
    lanes: int = 1
    towers: Mapping[str, Tower] = field(default_factory=dict, repr=False)
    device: str = "cpu"
    are_cut: Callable[[list[str]], list[bool]] | None = field(default=None, repr=False)

    def _repr_html_(self) -> str:
        widths = (
            f"image {self.weight_space.image.shape[1]:,}, text {self.weight_space.text.shape[1]:,}"
            if isinstance(self.weight_space, Projections)
            else self.weight_space
        )
        entries: dict[str, object] = {
            "spec": self.spec,
            "neurons": f"{self.neurons:,}",
            "width of the projections": widths,
        }
        known: dict[str, object] = {
            name: self.identity[name] for name in ("format", "precision") if name in self.identity
        }
        return definitions(f"Model {self.label}", entries | {"preprocess": self.preprocess} | known)

    @property
    def encodes(self) -> bool:
        """Return whether the model has encoders; `no_encoder` stands in for missing ones."""
        return self.encode_text is not no_encoder

    @property
    def projections(self) -> Projections:
        """Return the last linear map of each tower, float32 on the cpu, one row for each neuron.

        Raises:
            ModelError: a tower ends without a linear map.
        """
        if isinstance(self.weight_space, str):
            raise ModelError(
                f"{self.label}: {self.weight_space}",
                expected="a linear projection at the end of both towers, to measure purity in "
                "their weights",
                fix="measure it in the activations of the neurons over a dataset: "
                "--space activations (space='activations')",
            )
        return self.weight_space
