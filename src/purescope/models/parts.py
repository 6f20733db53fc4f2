"""Parts of open_clip's models, wherever a family keeps them: towers, the token that each reads, its
last linear map.

A text tower may be one of transformers: its configuration comes from a folder or the hub.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor, nn

from purescope.errors import ModelError
from purescope.files.hub import fetch_file
from purescope.maths.overlaps import Projections
from purescope.models.model import Tower
from purescope.models.transformers_config import rebuilt_text_tower
from purescope.models.vocabulary import require_transformers

# open_clip's pool_type of a text tower: the word of `Tower`.
_TEXT_TOKENS = {"first": "first", "last": "last", "argmax": "end", "eos": "end", "none": "mean"}


def find_towers(module: Any) -> dict[str, Tower]:
    """Both towers of a CLIP, CustomTextCLIP or CoCa; a decoder of CoCa's is none of them."""
    return {
        "image": _image(module.visual),
        "text": _custom_text(module.text) if hasattr(module, "text") else _text(module),
    }


def _image(visual: Any) -> Tower:
    trunk = getattr(visual, "trunk", None)  # timm's
    is_first = (
        getattr(visual, "pool_type", None) == "tok"
        or getattr(trunk, "global_pool", None) == "token"
    )
    is_first = (
        is_first and getattr(visual, "attn_pool", None) is None
    )  # CoCa's pooling attends to every token
    return Tower({"visual": visual}, "first" if is_first else "mean")


def _text(module: Any) -> Tower:
    """CLIP keeps the parts of its text tower at the top level."""
    parts = {"token_embedding": module.token_embedding, "transformer": module.transformer}
    return Tower(
        parts,
        _TEXT_TOKENS[module.text_pool_type],
        end=_end(module.text_pool_type, module.text_eos_id),
    )


def _custom_text(text: Any) -> Tower:
    if hasattr(text, "pooler"):  # a tower of transformers
        is_first = (
            getattr(text.pooler, "cls_token_position", None) == 0
            or "Cls" in type(text.pooler).__name__
        )
        return Tower(
            {"text": text}, "first" if is_first else "mean", padding=text.config.pad_token_id
        )
    # A class token is appended to the sentence, and read whatever pool_type says.
    pool = text.pool_type if text.cls_emb is None else "last"
    return Tower({"text": text}, _TEXT_TOKENS[pool], end=_end(pool, text.eos_id))


def _end(pool: str, identity: int | None) -> int | None:
    """Only pool_type "eos" looks for the id that the configuration names."""
    return identity if pool == "eos" else None


Last: TypeAlias = tuple[Tensor, Tensor | None]
"""`[neuron, width]` and a bias."""

# Of a timm tower and of a ModifiedResNet, in the order in which they are looked for.
_IMAGE_LINEARS = ("attnpool.c_proj", "head.proj", "head.mlp.fc2", "head.pool.proj")


def find_projections(visual: Any, text: Any, where: str) -> tuple[Projections | str, list[str]]:
    """Both towers' projections, or a sentence that says which tower has none; and the towers whose
    has a bias.

    A head of several layers gives its last one, with a warning: what it projects are no longer the
    tower's features.
    """
    found = {"image": _image_projection(visual, where), "text": _text_projection(text, where)}
    biased = [
        tower
        for tower, last in found.items()
        if last and last[1] is not None and bool(last[1].any())
    ]
    if found["image"] and found["text"]:
        image, text_rows = (
            rows.detach().clone().contiguous() for rows, _ in (found["image"], found["text"])
        )
        return Projections(image=image, text=text_rows), biased
    without = [tower for tower, last in found.items() if last is None]
    towers = f"{' and '.join(without)} {'towers end' if len(without) > 1 else 'tower ends'}"
    return f"the {towers} without a projection", biased


def _image_projection(visual: Any, where: str) -> Last | None:
    if isinstance(getattr(visual, "proj", None), Tensor):  # open_clip's ViT: features @ proj
        return visual.proj.T, None
    modules = dict(visual.named_modules())
    for name in _IMAGE_LINEARS:
        if isinstance(modules.get(name), nn.Linear):
            if name == "head.mlp.fc2":
                _warn_of_head(where, f"visual.{name}")
            return modules[name].weight, modules[name].bias
    # With timm_proj "" the trunk's own classifier is the projection.
    classifier: Callable[[], Any] | None = getattr(modules.get("trunk"), "get_classifier", None)
    linear = classifier() if classifier and not len(visual.head) else None
    return (linear.weight, linear.bias) if isinstance(linear, nn.Linear) else None


def _text_projection(text: Any, where: str) -> Last | None:
    # A text tower of transformers has `proj`, open_clip's own has `text_projection`.
    projection = text.text_projection if hasattr(text, "text_projection") else text.proj
    if isinstance(projection, Tensor):
        return projection.T, None
    if isinstance(projection, nn.Sequential):
        _warn_of_head(where, "text.proj")
        projection = projection[-1]
    return (projection.weight, projection.bias) if isinstance(projection, nn.Linear) else None


def _warn_of_head(where: str, name: str) -> None:
    warnings.warn(
        f"{where}: {name} is the last of several layers; its purity is that of this layer alone",
        stacklevel=2,
    )


@dataclass(frozen=True)
class TextTower:
    """A text tower of transformers.

    Args:
        path: of its config.json.
        config: what is left of that.
        place: where it lies in the folder of the model; empty where it is on the hub.
    """

    path: Path
    config: Mapping[str, Any]
    place: str = ""


def find_text_tower(name: str, folder: Path | None, where: str, *, offline: bool) -> TextTower:
    """The text tower of a name, in the model's own folder or on the hub.

    Args:
        name: a folder in `folder`, or a repository.
        folder: of the model, where it is one.
        where: what messages call the model.
        offline: fetch nothing.

    Raises:
        ModelError: it is not there, cannot be fetched, or is none of open_clip's.
        MissingExtraError: transformers is not installed.
    """
    require_transformers()
    place = Path(name) / "config.json"
    if folder is not None and (folder / place).exists():
        return TextTower(folder / place, rebuilt_text_tower(folder / place), place.as_posix())
    try:
        path = fetch_file(name, ["config.json"], offline=offline)
    except ModelError as error:
        came = f"{where}: wants the text tower {name}. {error.came}"
        raise ModelError(came, expected=error.expected, fix=error.fix) from error
    return TextTower(path, rebuilt_text_tower(path))
