"""Load checkpoints in LaCLIP's own format: a timm ViT and CLIP's text tower in one torch.save file.

The format is defined by https://github.com/LijieFan/LaCLIP, which follows that of SLIP,
https://github.com/facebookresearch/SLIP:

- image: a ViT, whose normalised class token is multiplied by `image_projection` [width, neuron].
  It has GELU, layer norms with eps 1e-6, and queries and keys normalised within each head before
  they are multiplied (SLIP does not normalise them).
- text: CLIP's causal transformer with QuickGELU and eps 1e-5, whose end-of-text token is multiplied
  by `text_projection` [width, neuron].

Only the shapes in the file show the architecture. timm's ViT and open_clip's text tower take the
weights as they are.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import isqrt
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from purescope.errors import ModelError
from purescope.files.guard import guarded
from purescope.maths.overlaps import Projections
from purescope.models.configuration import CONTEXT, require_at_most, require_layers
from purescope.models.model import Preprocess, Tower
from purescope.models.sentences import encode_causal
from purescope.models.tokenizers import simple_tokenizer
from purescope.models.towers import Towers, Unfilled
from purescope.models.weights import fingerprint, fit, raise_faults

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_SIZES = {(384, 12, 12): "S", (768, 12, 12): "B", (1024, 24, 16): "L"}
_HEADS_WITHOUT_QK_NORM = {width: heads for width, _, heads in _SIZES}
_TEXT_HEAD_WIDTH = 64
_DIMENSIONS = {  # of the weights that give the shapes of the model
    "image_projection": 2,
    "text_projection": 2,
    "token_embedding.weight": 2,
    "positional_embedding": 2,
    "visual.pos_embed": 3,
    "visual.patch_embed.proj.weight": 4,
}


@dataclass(frozen=True)
class Architecture:
    """Hold the properties of a model that the shapes of a LaCLIP checkpoint show."""

    neurons: int
    image_size: int
    patch: int
    width: int
    depth: int
    heads: int
    qk_norm: bool
    text_width: int
    text_depth: int
    context: int
    vocabulary: int

    @property
    def name(self) -> str:
        """Return the name of a known size, e.g. "ViT-S/16", or else the numbers."""
        size = _SIZES.get((self.width, self.depth, self.heads))
        if size:
            return f"ViT-{size}/{self.patch}"
        return f"ViT {self.width}x{self.depth}/{self.patch}, {self.heads} heads"


def is_laclip(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether the weights have the names of this format."""
    return bool(tensors.keys() & {"image_projection", "visual.cls_token"})


def load(path: Path, tensors: Mapping[str, Tensor]) -> Towers:
    """Load the towers from the weights of a file in LaCLIP's format.

    Raises:
        ModelError: the weights do not fit their architecture.
    """
    architecture = find_architecture(path, tensors)
    require_layers(str(path), architecture.depth + architecture.text_depth, tensors)
    require_at_most(
        str(path), "the number of positions of a sentence", architecture.context, CONTEXT
    )
    with guarded(path.parent, what=str(path)):
        return _load(path, tensors, architecture)


def _load(path: Path, tensors: Mapping[str, Tensor], architecture: Architecture) -> Towers:
    tokenizer = simple_tokenizer(architecture.context)
    if tokenizer.vocab_size != architecture.vocabulary:
        raise ModelError(
            f"{path}: token_embedding.weight has {architecture.vocabulary} rows",
            expected=f"{tokenizer.vocab_size}, the entries of CLIP's vocabulary",
        )
    module = _LaClip(architecture)
    # In the file the weights of the text tower have no prefix.
    names = {name: name.removeprefix("text.") for name in module.state_dict()}
    wanted = {names[name]: weight for name, weight in module.state_dict().items()}
    weights = fit(path, tensors, wanted)
    module.load_state_dict({name: weights[names[name]] for name in names}, assign=True)
    return Towers(
        module=module,
        encode_image=module.encode_image,
        encode_text=module.encode_text,
        tokenize=tokenizer,
        reads_to_end=True,
        weight_space=Projections(
            image=weights["image_projection"].T.contiguous(),
            text=weights["text_projection"].T.contiguous(),
        ),
        neurons=architecture.neurons,
        # Its authors trained and evaluated with torchvision's default filter, which is bilinear.
        preprocess=Preprocess(
            architecture.image_size, IMAGENET_MEAN, IMAGENET_STD, interpolation="bilinear"
        ),
        identity={
            "format": "laclip",
            "architecture": f"{architecture.name}, text "
            f"{architecture.text_width}x{architecture.text_depth}",
            "activation": "image GELU, text QuickGELU",
            "weights": fingerprint(tensors),
            "tokenizer": tokenizer.identity,
            "logit_scale": f"{weights['logit_scale'].exp():.6g}",
            "projection_bias": "none",
        },
        towers={
            "image": Tower({"visual": module.visual}, "first"),
            "text": Tower(
                {
                    "token_embedding": module.text.token_embedding,
                    "transformer": module.text.transformer,
                },
                "end",
            ),
        },
        last_maps={"image": "image_projection", "text": "text.text_projection"},
    )


def find_architecture(path: Path, tensors: Mapping[str, Tensor]) -> Architecture:
    """Find the architecture from shapes, and the number of heads from that of the query norm.

    Raises:
        ModelError: a weight that gives a shape is missing, or no model has these shapes.
    """
    raise_faults(path, {"missing": [name for name in _DIMENSIONS if name not in tensors]})
    shapes = {name: tensors[name].shape for name in _DIMENSIONS}
    wrong = [
        f"{name} {list(shape)}"
        for name, shape in shapes.items()
        if len(shape) != _DIMENSIONS[name] or 0 in shape
    ]
    raise_faults(path, {"wrong shape": wrong})
    width, neurons = shapes["image_projection"]
    vocabulary, text_width = shapes["token_embedding.weight"]
    patch = shapes["visual.patch_embed.proj.weight"][-1]
    grid = max(1, isqrt(shapes["visual.pos_embed"][1] - 1))  # without the class token
    query_norm = tensors.get("visual.blocks.0.attn.q_norm.weight")
    if text_width % _TEXT_HEAD_WIDTH:
        raise ModelError(
            f"{path}: text width {text_width}", expected=f"a multiple of {_TEXT_HEAD_WIDTH}"
        )
    return Architecture(
        neurons=neurons,
        image_size=grid * patch,
        patch=patch,
        width=width,
        depth=_count_blocks(tensors, r"visual\.blocks\.(\d+)\."),
        heads=_count_heads(path, width, query_norm),
        qk_norm=query_norm is not None,
        text_width=text_width,
        text_depth=_count_blocks(tensors, r"transformer\.resblocks\.(\d+)\."),
        context=shapes["positional_embedding"][0],
        vocabulary=vocabulary,
    )


def _count_blocks(tensors: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})


def _count_heads(path: Path, width: int, query_norm: Tensor | None) -> int:
    if query_norm is None:
        if width not in _HEADS_WITHOUT_QK_NORM:
            raise ModelError(
                f"{path}: no visual.blocks.0.attn.q_norm.weight, and no known number of heads for "
                f"width {width}",
                expected=f"q_norm, or one of the widths "
                f"{', '.join(map(str, _HEADS_WITHOUT_QK_NORM))}",
            )
        return _HEADS_WITHOUT_QK_NORM[width]
    head_width = query_norm.numel()
    if head_width == 0 or width % head_width:
        raise ModelError(
            f"{path}: a q_norm of {head_width} does not divide the width {width} into heads",
            expected="a divisor of the width",
            fix="give the whole, unchanged checkpoint",
        )
    return width // head_width


class _LaClip(nn.Module):
    """Hold the towers under the names of the format, with `text.` before those of the text tower.

    The weights have no values yet.
    """

    def __init__(self, architecture: Architecture) -> None:
        from open_clip.transformer import QuickGELU, TextTransformer
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        # The meta device allocates and draws nothing: it saves seconds and keeps the random state.
        with torch.device("meta"), Unfilled():
            self.visual = VisionTransformer(
                img_size=architecture.image_size,
                patch_size=architecture.patch,
                embed_dim=architecture.width,
                depth=architecture.depth,
                num_heads=architecture.heads,
                qk_norm=architecture.qk_norm,
                norm_layer=partial(nn.LayerNorm, eps=1e-6),
                num_classes=0,
            )
            self.text = TextTransformer(
                context_length=architecture.context,
                vocab_size=architecture.vocabulary,
                width=architecture.text_width,
                heads=architecture.text_width // _TEXT_HEAD_WIDTH,
                layers=architecture.text_depth,
                output_dim=architecture.neurons,
                act_layer=QuickGELU,
            )
            self.image_projection = nn.Parameter(
                torch.empty(architecture.width, architecture.neurons)
            )
            self.logit_scale = nn.Parameter(torch.empty(()))
        # This tensor is not a weight of the checkpoint, so it gets its values here.
        self.text.register_buffer("attn_mask", self.text.build_causal_mask(), persistent=False)

    def encode_image(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n neuron"]:
        features: Tensor = self.visual(images) @ self.image_projection
        return features

    def encode_text(self, tokens: Int64[Tensor, "n context"]) -> Float[Tensor, "n neuron"]:
        return encode_causal(self.text, tokens, None)
