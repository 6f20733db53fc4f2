"""What a model is to the rest of purescope: two encoders, two projections, and how images are
prepared.
"""

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
_LARGE = 1 << 24  # pixels of a resized image, of which most are cut away


@dataclass(frozen=True)
class Preprocess:
    """Resize to a square, scale to [0, 1], normalise: deterministic, equal to torchvision.

    It comes in two steps, so that an image is kept as bytes and the arithmetic is done a batch at a
    time.

    Args:
        size: the side of the square that the model sees, in pixels.
        mean: of each channel, subtracted after scaling to [0, 1].
        std: of each channel, divided by.
        interpolation: "bicubic" or "bilinear", as Pillow does them (antialiased).
        resize: how an image becomes a square: "shortest" makes its shortest side `size` and cuts
            the centre out, as CLIP does; "squash" ignores its proportions, as SigLIP does.
        resize_first: resize grey and CMYK images before they become RGB, as CLIP's own transform
            and the experiment's script do; otherwise after it. Only CMYK differs, by a shade here
            and there.

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
    resize_first: bool = field(
        default=False, repr=False
    )  # no other result, unless an image is no RGB

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
        """The square that the model sees, as bytes; an RGB image that is it already is only copied.

        Raises:
            InputError: it is an image of numbers of more than 8 bits, which Pillow would cut off at
                255.
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
        """Bytes of a whole batch to what the model takes."""
        mean, std = (
            torch.tensor(rgb, device=batch.device).view(3, 1, 1) for rgb in (self.mean, self.std)
        )
        # In torchvision's order of operations: equal to the last bit.
        return batch.float().div_(255).sub_(mean).div_(std)

    def _square(self, image: Image.Image) -> Image.Image:
        if self.resize == "squash":
            return image.resize((self.size, self.size), _FILTERS[self.interpolation])
        shortest = min(image.size)
        # Truncated, not rounded, as in torchvision: a pixel more would shift the crop.
        width, height = (int(self.size * side / shortest) for side in image.size)
        left, top = (round((side - self.size) / 2) for side in (width, height))
        if width * height > _LARGE:
            return self._square_of_line(image, (width, height), (left, top))
        if image.size != (width, height):
            image = image.resize((width, height), _FILTERS[self.interpolation])
        return image.crop((left, top, left + self.size, top + self.size))

    def _square_of_line(
        self, image: Image.Image, resized: tuple[int, int], corner: tuple[int, int]
    ) -> Image.Image:
        """Resize only what the crop keeps: a line of 1 x 20,000 pixels would be one of 224 x
        4,480,000 first.
        """
        left, top, right, bottom = (0, 0, *image.size)
        (x0, x1), (y0, y1) = (
            (first * side / whole, min(side, (first + self.size) * side / whole))
            for first, side, whole in zip(corner, image.size, resized, strict=True)
        )
        # Cut roughly first, with all pixels that the filter looks at: Pillow works on long pictures
        # in another order.
        margin = 3 * max(1, min(image.size) / self.size) + 1
        left, top = max(0, math.floor(x0 - margin)), max(0, math.floor(y0 - margin))
        right, bottom = min(right, math.ceil(x1 + margin)), min(bottom, math.ceil(y1 + margin))
        part = image.crop((left, top, right, bottom))
        box = (x0 - left, y0 - top, x1 - left, y1 - top)
        return part.resize((self.size, self.size), _FILTERS[self.interpolation], box=box)


def as_rgb(values: object) -> RGB | None:
    """Three finite numbers of a configuration as a colour; None where they are not."""
    if not isinstance(values, list | tuple) or len(values) != 3:
        return None
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        return None
    red, green, blue = map(float, values)
    return red, green, blue


OPENAI_PREPROCESS = Preprocess(
    size=224, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)
"""CLIP's own, which the experiment's script used whatever the checkpoint (protocol "paper")."""


@dataclass(frozen=True)
class Tower:
    """The modules of one encoder as they run, for who wants to look inside; see
    `purescope.studies.layers`.

    Args:
        modules: its parts in the order in which they run, by the names that they have in the model.
        token: the token that the tower's feature is read from: "first"; "last"; "end", the first
            one whose id is `end`; or "mean", where it is read from all tokens or positions.
        end: the id of the end-of-text token; None for the highest id in a sentence, as CLIP's
            vocabulary has it.
        padding: the id of tokens that "mean" leaves out; None where it leaves out none.
    """

    modules: Mapping[str, nn.Module]
    token: str
    end: int | None = None
    padding: int | None = None


def no_encoder(_: Any) -> NoReturn:
    """The encoder of a model of which only features are known."""
    raise ModelError(
        "there is no model to encode with, only features", fix="name a MODEL before the options"
    )


@dataclass(frozen=True)
class Model:
    """A checkpoint ready to be measured.

    Args:
        label: its name in tables, plots and file names, e.g. "CC3M LaCLIP".
        spec: what the user named, e.g. "runs/cc3m_laclip.pt".
        weight_space: the last linear map of each tower, float32 on the cpu, rows being neurons; or,
            where a tower ends without one, a sentence that says so.
        neurons: how many there are in the embedding, d.
        preprocess: the checkpoint's own.
        encode_image: normalised pixels to features: the projection's raw output, no unit rows,
            float32 on the cpu.
        encode_text: the same for sentences, any number of them.
        identity: what distinguishes its numbers from another model's: format, architecture, weights
            (a hash), activation, tokenizer, precision, logit_scale, projection_bias.
        lanes: how many calls of `encode_image` may run at the same time: one for each accelerator,
            1 where it is not safe in threads; 0 for as many as there are cores, which then share a
            batch.
        towers: the modules behind "image" and "text"; empty where the encoders are made of none.

    Examples:
        `purescope.load_model` makes one of a checkpoint. By hand, two neurons that see red and
        blue:

        >>> model = Model(
        ...     label="eye", spec="made by hand", weight_space=Projections(torch.eye(2), torch.eye(2)), neurons=2,
        ...     preprocess=Preprocess(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        ...     encode_image=lambda pixels: pixels[:, [0, 2], 0, 0],
        ...     encode_text=lambda texts: torch.tensor([["red" in t, "blue" in t] for t in texts]).float(),
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
        """Whether it has encoders: `no_encoder` stands for those of a model of which only features
        are known.
        """
        return self.encode_text is not no_encoder

    @property
    def projections(self) -> Projections:
        """The last linear map of each tower, float32 on the cpu, rows being neurons.

        Raises:
            ModelError: a tower ends without one.
        """
        if isinstance(self.weight_space, str):
            raise ModelError(
                f"{self.label}: {self.weight_space}",
                expected="a linear projection at the end of both towers, to measure purity in "
                "their weights",
                fix="measure it in the neurons' activations over a data set: --space activations "
                "(space='activations')",
            )
        return self.weight_space
