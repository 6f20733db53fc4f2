"""Checkpoints in LaCLIP's own format: a timm ViT beside CLIP's text tower, in one file of
torch.save.

The format, from its definition (https://github.com/LijieFan/LaCLIP, itself after SLIP's,
https://github.com/facebookresearch/SLIP):

- image: a ViT that ends at the normalised class token, times `image_projection` [width, neuron].
  GELU, layer norms with eps 1e-6, queries and keys normalised within each head before they meet
  (SLIP's are not).
- text: CLIP's causal transformer with QuickGELU, read at the end-of-text token, times
  `text_projection` [width, neuron]; eps 1e-5.

Nothing in the file tells the architecture but the shapes; timm's ViT and open_clip's text tower
take the weights as they are.
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
from purescope.models.checkpoint import fingerprint, fit, refuse
from purescope.models.configuration import CONTEXT, require_at_most, require_layers
from purescope.models.model import Preprocess, Tower
from purescope.models.towers import Towers, Unfilled
from purescope.models.vocabulary import simple_tokenizer

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_SIZES = {(384, 12, 12): "S", (768, 12, 12): "B", (1024, 24, 16): "L"}
_HEADS_WITHOUT_QK_NORM = {width: heads for width, _, heads in _SIZES}
_TEXT_HEAD_WIDTH = 64
_SHAPE_GIVING = {  # and how many dimensions each has
    "image_projection": 2,
    "text_projection": 2,
    "token_embedding.weight": 2,
    "positional_embedding": 2,
    "visual.pos_embed": 3,
    "visual.patch_embed.proj.weight": 4,
}


@dataclass(frozen=True)
class Architecture:
    """Everything that the shapes of a LaCLIP checkpoint say about its model."""

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
        """E.g. "ViT-S/16", or the numbers where it is none of the known sizes."""
        size = _SIZES.get((self.width, self.depth, self.heads))
        measures = f"{self.width}x{self.depth}/{self.patch}, {self.heads} heads"
        return f"ViT-{size}/{self.patch}" if size else f"ViT {measures}"


def is_laclip(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the weights have the names of this format."""
    return bool(tensors.keys() & {"image_projection", "visual.cls_token"})


def load(path: Path, tensors: Mapping[str, Tensor]) -> Towers:
    """The towers of the weights in a LaCLIP-format file.

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
    # The text tower's weights stand at the top level of the format.
    names = {name: name.removeprefix("text.") for name in module.state_dict()}
    wanted = {names[name]: weight for name, weight in module.state_dict().items()}
    weights = fit(path, tensors, wanted)
    module.load_state_dict({name: weights[names[name]] for name in names}, assign=True)
    return Towers(
        module=module,
        encode_image=module.encode_image,
        encode_text=module.encode_text,
        tokenize=tokenizer,
        weight_space=Projections(
            image=weights["image_projection"].T.contiguous(),
            text=weights["text_projection"].T.contiguous(),
        ),
        neurons=architecture.neurons,
        preprocess=_preprocess(architecture),
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
    )


def find_architecture(path: Path, tensors: Mapping[str, Tensor]) -> Architecture:
    """Read the architecture off the shapes; the heads off the width of a head's query norm.

    Raises:
        ModelError: a weight that gives a shape is missing, or the shapes give no model.
    """
    refuse(path, {"missing": [name for name in _SHAPE_GIVING if name not in tensors]})
    shapes = {name: tensors[name].shape for name in _SHAPE_GIVING}
    odd = [
        name for name, shape in shapes.items() if len(shape) != _SHAPE_GIVING[name] or 0 in shape
    ]
    refuse(path, {"wrong shape": [f"{name} {list(shapes[name])}" for name in odd]})
    width, neurons = shapes["image_projection"]
    vocabulary, text_width = shapes["token_embedding.weight"]
    patch = shapes["visual.patch_embed.proj.weight"][-1]
    grid = max(1, isqrt(shapes["visual.pos_embed"][1] - 1))  # one position is the class token's
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
        heads=_heads(path, width, query_norm),
        qk_norm=query_norm is not None,
        text_width=text_width,
        text_depth=_count_blocks(tensors, r"transformer\.resblocks\.(\d+)\."),
        context=shapes["positional_embedding"][0],
        vocabulary=vocabulary,
    )


def _count_blocks(tensors: Mapping[str, Tensor], pattern: str) -> int:
    return len({match[1] for name in tensors if (match := re.match(pattern, name))})


def _heads(path: Path, width: int, query_norm: Tensor | None) -> int:
    if query_norm is None:
        if width not in _HEADS_WITHOUT_QK_NORM:
            raise ModelError(
                f"{path}: no visual.blocks.0.attn.q_norm.weight, and width {width} tells no number "
                f"of heads",
                expected=f"q_norm, or one of the widths "
                f"{', '.join(map(str, _HEADS_WITHOUT_QK_NORM))}",
            )
        return _HEADS_WITHOUT_QK_NORM[width]
    if query_norm.numel() == 0 or width % query_norm.numel():
        raise ModelError(
            f"{path}: a q_norm of {query_norm.numel()} cuts the width {width} into no heads",
            expected="one that divides the width",
            fix="give the whole, unchanged checkpoint",
        )
    return width // query_norm.numel()


def _preprocess(architecture: Architecture) -> Preprocess:
    # Trained and evaluated by its authors with torchvision's default filter, which is bilinear.
    return Preprocess(
        architecture.image_size, IMAGENET_MEAN, IMAGENET_STD, interpolation="bilinear"
    )


class _LaClip(nn.Module):
    """The towers under the format's names, but `text.` before the text tower's; no weight has
    values yet.
    """

    def __init__(self, architecture: Architecture) -> None:
        from open_clip.transformer import QuickGELU, TextTransformer
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        # On the meta device nothing is allocated or drawn: seconds are saved, the random state is
        # untouched.
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
        # The one tensor that is no weight: it gets its values here.
        self.text.register_buffer("attn_mask", self.text.build_causal_mask(), persistent=False)

    def encode_image(self, images: Float[Tensor, "n 3 size size"]) -> Float[Tensor, "n neuron"]:
        features: Tensor = self.visual(images) @ self.image_projection
        return features

    def encode_text(self, tokens: Int64[Tensor, "n context"]) -> Float[Tensor, "n neuron"]:
        # Attention is causal and the feature is read at the end-of-text token, the highest id: the
        # padding after the longest sentence changes nothing, and without it short prompts take a
        # fifth of the time.
        end = tokens.argmax(1)
        length = int(end.max()) + 1
        text = self.text
        hidden = text.token_embedding(tokens[:, :length]) + text.positional_embedding[:length]
        hidden = text.ln_final(text.transformer(hidden, attn_mask=text.attn_mask[:length, :length]))
        features: Tensor = (
            hidden[torch.arange(len(tokens), device=tokens.device), end] @ text.text_projection
        )
        return features
