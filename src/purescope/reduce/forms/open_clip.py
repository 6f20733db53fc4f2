"""Write a smaller model as a folder of open_clip, where its configuration can say so.

open_clip has one number for the width of the embedding, ``embed_dim``, and derives other sizes from
it: those of attentional pooling and of heads with several layers. A model that has them can be cut,
but not written in this form.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purescope.errors import ModelError
from purescope.models.convert import own_form, write_towers
from purescope.models.towers import Towers

_POOLS = ("abs_attn", "rot_attn")


def write_open_clip(towers: Towers, folder: Path) -> None:
    """Write a model into a folder that open_clip loads as ``local-dir:FOLDER``.

    Raises:
        ModelError: it is no model of open_clip.
    """
    require_open_clip_form(towers, towers.neurons)
    write_towers(towers, folder)


def require_open_clip_form(towers: Towers, k: int) -> None:
    """Refuse a model that open_clip cannot hold with k dimensions.

    Args:
        towers: the model before it is cut.
        k: the number of dimensions to keep.

    Raises:
        ModelError: open_clip cannot build it; the message says why.

    Examples:
        >>> from purescope.models import find_towers
        >>> require_open_clip_form(find_towers("bundled:clip")[0], 32)
    """
    if towers.identity["format"] == "laclip":
        raise ModelError(
            "a LaCLIP checkpoint has no open_clip form: open_clip builds image towers that timm "
            "has under a name, and none of these is LaCLIP's, which normalises queries and keys",
            expected="a model of open_clip",
            fix="--to purescope, the form that purescope reads, or --to onnx",
        )
    if own_form(towers) != "open_clip":
        raise ModelError(
            "a model of transformers has no open_clip form",
            expected="a model of open_clip or OpenAI",
            fix="--to transformers",
        )
    model = json.loads(towers.identity["architecture"])
    reason = _find_reason(model) if k != towers.neurons else ""
    if reason:
        raise ModelError(
            f"open_clip cannot hold this model with {k:,} of {towers.neurons:,} dimensions: "
            f"{reason}, whose sizes follow embed_dim",
            expected="a model that ends in one linear map",
            fix="--to onnx, or --to rotation for vectors that it made",
        )


def _find_reason(model: Mapping[str, Any]) -> str:
    """Return what of a model has sizes that open_clip derives from embed_dim; empty if nothing."""
    vision, text = model["vision_cfg"], model["text_cfg"]
    if "multimodal_cfg" in model:
        return "it is a CoCa, with attentional pooling and a caption decoder"
    if vision.get("attentional_pool"):
        return "its image tower has attentional pooling"
    if vision.get("timm_model_name"):
        projection = vision.get("timm_proj", "linear")
        if projection == "mlp":
            return "its image tower has an MLP head"
        if projection == "linear" and vision.get("timm_pool") in _POOLS:
            return "its image tower has attentional pooling"
    if text.get("hf_model_name") and text.get("hf_proj_type", "mlp") == "mlp":
        return "its text tower has an MLP head"
    return ""
