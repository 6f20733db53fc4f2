"""Compare an exported model with the towers that it was made from, before its folder appears."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor

from purescope.errors import ModelError
from purescope.models.towers import Towers

TOLERANCE = 1e-5  # of the length of an embedding

_IMAGES = 3  # not the number that a form is traced with


def make_sentences(towers: Towers) -> list[str]:
    """Make sentences that differ in all that a tokenizer may treat in its own way.

    That is case, punctuation, quotes, white space, other scripts, and a length beyond the context.
    """
    return [
        "a photo of a cat",
        "A red_flag,  2 dogs and it's “the cat’s”!",
        "café 猫 🙂",
        "a cat or a dog, " * (towers.tokenize.context // 4 + 1),
    ]


def make_tokens(towers: Towers) -> Int64[Tensor, "n context"]:
    """Make the tokens of `make_sentences`."""
    return towers.tokenize(make_sentences(towers))


def make_pixels(towers: Towers) -> Float[Tensor, "n 3 size size"]:
    """Make images of noise, as the image tower takes them."""
    size = towers.preprocess.size
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (_IMAGES, 3, size, size), dtype=torch.uint8, generator=generator)
    return towers.preprocess.normalise(pixels)


def make_pictures(towers: Towers) -> list[Image.Image]:
    """Make images of noise for a library that prepares them itself: one to resize, one not."""
    size = towers.preprocess.size
    generator = torch.Generator().manual_seed(0)
    return [
        Image.fromarray(
            torch.randint(256, (side, side, 3), dtype=torch.uint8, generator=generator).numpy()
        )
        for side in (size, 2 * size)
    ]


def require_equal(
    form: str,
    tower: str,
    exported: Float[Tensor, "_ _"],
    expected: Float[Tensor, "row axis"],
) -> float:
    """Require that an exported tower computes what the tower computes.

    Args:
        form: what the message calls the export.
        tower: ``image`` or ``text``.
        exported: the embeddings that the library of the export computed.
        expected: those of the tower.

    Returns:
        The largest difference, as a share of the length of its row.

    Raises:
        ModelError: the shapes differ, or a difference is above `TOLERANCE`.

    Examples:
        >>> row = torch.tensor([[3.0, 4.0]])
        >>> round(require_equal("onnx", "image", row + torch.tensor([[0.0, 2e-5]]), row), 7)
        4e-06
    """
    shapes: Sequence[list[int]] = list(exported.shape), list(expected.shape)
    if shapes[0] != shapes[1]:
        raise ModelError(
            f"{form}: its {tower} tower gives embeddings of shape {shapes[0]}",
            expected=f"{shapes[1]}, as the model that was exported",
        )
    lengths = expected.double().norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    error: float = ((exported.double() - expected.double()) / lengths).abs().max().item()
    if not error <= TOLERANCE:  # also for NaN
        raise ModelError(
            f"{form}: its {tower} tower differs from the model by {error:.2g} of the length of an "
            f"embedding",
            expected=f"at most {TOLERANCE:g}, on images of noise and a few sentences",
            fix="export it in another form, and report the model and the versions of the libraries",
        )
    return error
