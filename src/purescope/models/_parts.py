"""The two towers of open_clip's models, and the token that each reads its feature from."""

from typing import Any

from purescope.models.model import Tower

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
    is_first = getattr(visual, "pool_type", None) == "tok" or getattr(trunk, "global_pool", None) == "token"
    is_first = is_first and getattr(visual, "attn_pool", None) is None  # CoCa's pooling attends to every token
    return Tower({"visual": visual}, "first" if is_first else "mean")


def _text(module: Any) -> Tower:
    """CLIP keeps the parts of its text tower at the top level."""
    parts = {"token_embedding": module.token_embedding, "transformer": module.transformer}
    return Tower(parts, _TEXT_TOKENS[module.text_pool_type], end=_end(module.text_pool_type, module.text_eos_id))


def _custom_text(text: Any) -> Tower:
    if hasattr(text, "pooler"):  # a tower of transformers
        is_first = getattr(text.pooler, "cls_token_position", None) == 0 or "Cls" in type(text.pooler).__name__
        return Tower({"text": text}, "first" if is_first else "mean", padding=text.config.pad_token_id)
    # A class token is appended to the sentence, and read whatever pool_type says.
    pool = text.pool_type if text.cls_emb is None else "last"
    return Tower({"text": text}, _TEXT_TOKENS[pool], end=_end(pool, text.eos_id))


def _end(pool: str, identity: int | None) -> int | None:
    """Only pool_type "eos" looks for the id that the configuration names."""
    return identity if pool == "eos" else None
