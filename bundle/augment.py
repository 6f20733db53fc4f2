"""Batches of augmented pictures: random background, placement, scale and colours; all on tensors,
one generator.
"""

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from bundle.drawing import Drawing

Uniform = Callable[..., Tensor]  # (low, high, *shape beyond the batch)

_HANDED = re.compile(r"left|right|arrow|letter|digit|number|clock|\d|text|sign|music|button")
_COLOUR = re.compile(r"red|blue|green|yellow|black|white|orange|purple|brown|pink|color|rainbow")


class Pictures:
    """`[n, 4, S, S]` uint8 RGBA pictures and what may be done to each without making its caption
    false.
    """

    def __init__(self, rgba: Tensor, drawings: list[Drawing]):
        self.rgba = rgba
        flags = [drawing.kind == "flag" for drawing in drawings]
        self.mono = torch.tensor([drawing.mono for drawing in drawings])
        self.flippable = torch.tensor(
            [
                not flag and not _HANDED.search(drawing.caption)
                for flag, drawing in zip(flags, drawings, strict=True)
            ]
        )
        self.greyable = torch.tensor(
            [
                not flag and not _COLOUR.search(drawing.caption)
                for flag, drawing in zip(flags, drawings, strict=True)
            ]
        )

    def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """`[n, 3, S, S]` float32 in [-1, 1]."""
        n = len(index)

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(n, *shape, generator=generator)

        def flags(allowed: Tensor, share: float) -> Tensor:
            return (allowed[index] & (uniform(0, 1) < share)).view(n, 1, 1, 1)

        pixels = self.rgba[index].float() / 255
        colour, alpha = pixels[:, :3], pixels[:, 3:]
        ink, paper = self._ink_and_paper(self.mono[index].view(n, 1, 1, 1), uniform)
        colour = torch.where(self.mono[index].view(n, 1, 1, 1), ink.expand_as(colour), colour)
        placed = _placed(
            torch.cat([colour * alpha, alpha], 1), flags(self.flippable, 0.5).view(n), uniform
        )
        picture = placed[:, :3] + paper * (1 - placed[:, 3:])
        picture = torch.where(
            flags(self.greyable, 0.2), picture.mean(1, keepdim=True).expand_as(picture), picture
        )
        contrast, brightness = uniform(0.75, 1.25, 1, 1, 1), uniform(-0.1, 0.1, 1, 1, 1)
        return 2 * ((picture - 0.5) * contrast + 0.5 + brightness).clamp(0, 1) - 1

    @staticmethod
    def _ink_and_paper(mono: Tensor, uniform: Uniform) -> tuple[Tensor, Tensor]:
        """One-colour glyphs: 40 % black on white, 15 % white on black, else dark on light;
        drawings: 60 % on white.
        """
        choice, ink, paper = uniform(0, 1, 1, 1, 1), uniform(0, 1, 3, 1, 1), uniform(0, 1, 3, 1, 1)
        black_on_white, white_on_black = choice < 0.4, (choice >= 0.4) & (choice < 0.55)
        glyph_ink = torch.where(black_on_white, 0.0, torch.where(white_on_black, 1.0, 0.6 * ink))
        glyph_paper = torch.where(
            black_on_white, 1.0, torch.where(white_on_black, 0.0, 0.5 + 0.5 * paper)
        )
        return glyph_ink, torch.where(mono, glyph_paper, torch.where(choice < 0.6, 1.0, paper))


def _placed(premultiplied: Tensor, flip: Tensor, uniform: Uniform) -> Tensor:
    """Random scale, stretch, rotation, shift and flip of premultiplied RGBA."""
    scale, stretch, angle = uniform(0.95, 1.35), uniform(0.9, 1.1), uniform(-0.2, 0.2)
    shift, sign = uniform(-0.15, 0.15, 2), torch.where(flip, -1.0, 1.0)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [
        torch.stack([sign * stretch * cos, -stretch * sin, shift[:, 0]], 1),
        torch.stack([sign * sin, cos, shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(premultiplied.shape), align_corners=False)
    return F.grid_sample(
        premultiplied, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
