"""A tokenizer of a model's own merges a second time, in the files of transformers that open_clip
finds in a folder.

open_clip opens `bpe_path` from the working directory, wherever the model lies; the one tokenizer
that it takes from the folder of a model is one of transformers. A folder with both is a model for
open_clip from anywhere, and needs no transformers here: the merges are read, and the twin must be
the same vocabulary.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purescope.errors import ModelError
from purescope.models.checkpoint import read_json

FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"
_HERE = "."  # open_clip takes the folder of the model, whatever the name is
# open_clip's SimpleTokenizer finds these words, and cleans the text before as HFTokenizer does.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CLEAN = "lower"  # SimpleTokenizer's default, and not HFTokenizer's


def can_have_twin(model: Mapping[str, Any]) -> bool:
    """Whether a model_cfg has merges of its own and says nothing else of its tokenizer."""
    return (model["text_cfg"].get("tokenizer_kwargs") or {}).keys() == {"bpe_path"}


def with_twin(model: Mapping[str, Any]) -> dict[str, Any]:
    """The model_cfg of a folder that holds the twin, too."""
    text = dict(model["text_cfg"])
    text |= {
        "hf_tokenizer_name": _HERE,
        "tokenizer_kwargs": {**text["tokenizer_kwargs"], "clean": _CLEAN},
    }
    return {**model, "text_cfg": text}


def has_twin(model: Mapping[str, Any]) -> bool:
    """Whether a model_cfg names merges and a tokenizer of transformers."""
    text = model["text_cfg"]
    return bool(text.get("hf_tokenizer_name")) and "bpe_path" in (
        text.get("tokenizer_kwargs") or {}
    )


def without_twin(model: Mapping[str, Any]) -> dict[str, Any]:
    """The same model_cfg without the twin: what it was before, to the letter."""
    text = {key: value for key, value in model["text_cfg"].items() if key != "hf_tokenizer_name"}
    options = {
        key: value
        for key, value in text["tokenizer_kwargs"].items()
        if (key, value) != ("clean", _CLEAN)
    }
    return {**model, "text_cfg": {**text, "tokenizer_kwargs": options}}


def write_twin(tokenizer: Any, folder: Path) -> None:
    """Write the files of transformers for open_clip's SimpleTokenizer; rows end in other padding,
    after their end.
    """
    start, end = (
        tokenizer.decoder[tokenizer.sot_token_id],
        tokenizer.decoder[tokenizer.eot_token_id],
    )
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": start,
        "eos_token": end,
        "pad_token": end,
    }
    for name, content in ((FILE, _backend(tokenizer, start, end)), (CONFIG, config)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def require_same(tokenizer: Any, folder: Path) -> None:
    """Compare the twin in a folder with the tokenizer that is used in its place.

    Raises:
        ModelError: it has another vocabulary or other merges, so that open_clip would make other
            tokens.
    """
    path = folder / FILE
    content = (
        read_json(path, "the tokenizer that open_clip reads, beside the merges")
        if path.exists()
        else {}
    )
    found = content.get("model") if isinstance(content, dict) else None
    merges = found.get("merges") if isinstance(found, dict) else None
    if (
        not isinstance(merges, list)
        or found is None
        or (found.get("vocab"), merges)
        != (
            tokenizer.encoder,
            [list(pair) for pair in tokenizer.bpe_ranks],
        )
    ):
        raise ModelError(
            f"{path}: {'another vocabulary than bpe_path names' if content else 'missing'}",
            expected="the tokenizer of the same merges, for open_clip",
            fix="copy the whole folder again, or drop hf_tokenizer_name from text_cfg",
        )


def _backend(tokenizer: Any, start: str, end: str) -> dict[str, Any]:
    """A tokenizer.json: words, bytes, merges, and both ends."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    ends = {
        token: {"id": token, "ids": [tokenizer.encoder[token]], "tokens": [token]}
        for token in (start, end)
    }
    words = {"type": "Split", "pattern": {"Regex": _WORDS}, "behavior": "Removed", "invert": True}
    as_bytes = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    around = [{"SpecialToken": {"id": token, "type_id": 0}} for token in (start, end)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": tokenizer.encoder[token], "content": token, **flags, "special": True}
            for token in (start, end)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [words, as_bytes]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around[0], first, around[1]],
            "pair": [around[0], first, second, around[1]],
            "special_tokens": ends,
        },
        "decoder": None,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": tokenizer.encoder,
            "merges": [list(pair) for pair in tokenizer.bpe_ranks],
        },
    }
