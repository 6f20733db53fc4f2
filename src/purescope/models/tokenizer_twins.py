"""Write open_clip's SimpleTokenizer in the files of transformers.

A *twin* lies beside the merges in a folder of open_clip, which reads both. A *plain* tokenizer is
for a model in the form of transformers, which cleans sentences by nothing else.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purescope.errors import ModelError
from purescope.models.checkpoint import read_json
from purescope.models.tokenizer_files import CONFIG

_TWIN = "tokenizer.json"
# open_clip's SimpleTokenizer splits text into these words. It cleans the text before as HFTokenizer
# does.
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_CLEANING = {"[‘’ʼ]": "'", "[“”]": '"', r"\s+": " "}  # noqa: RUF001 what ftfy straightens
_START, _END = "<|startoftext|>", "<|endoftext|>"  # as transformers spells them


def write_twin(tokenizer: Any, folder: Path) -> None:
    """Write the files of transformers for open_clip's SimpleTokenizer.

    Rows are the same up to their end; the padding after it differs.
    """
    start = tokenizer.decoder[tokenizer.sot_token_id]
    end = tokenizer.decoder[tokenizer.eot_token_id]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": start,
        "eos_token": end,
        "pad_token": end,
    }
    _write(folder, make_twin(tokenizer), config)


def write_plain(tokenizer: Any, folder: Path, *, context: int) -> None:
    """Write a tokenizer of transformers that makes the rows of open_clip's SimpleTokenizer.

    It cleans sentences by itself, as open_clip does: curved quotes, white space, and lower case;
    only entities of HTML and broken encodings stay. (CLIPTokenizer keeps curved quotes too, which
    are other tokens.) The special tokens have the names that they have in transformers; their
    numbers are the same. Rows are the same up to their end; the padding after it differs.
    """
    twin = make_twin(tokenizer, {tokenizer.sot_token_id: _START, tokenizer.eot_token_id: _END})
    steps = [_replace(pattern, text) for pattern, text in _CLEANING.items()]
    twin["normalizer"] = {
        "type": "Sequence",
        "normalizers": [{"type": "NFC"}, *steps, {"type": "Lowercase"}],
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": _START,
        "eos_token": _END,
        "pad_token": _END,
        "unk_token": _END,
        "model_max_length": context,
    }
    _write(folder, twin, config)


def _replace(pattern: str, text: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": text}


def _write(folder: Path, twin: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    for name, content in ((_TWIN, twin), (CONFIG, config)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def require_same_vocabulary(tokenizer: Any, folder: Path) -> None:
    """Compare the twin in a folder with the tokenizer that purescope uses instead.

    Raises:
        ModelError: the twin has another vocabulary or other merges, so that open_clip would make
            other tokens.
    """
    path = folder / _TWIN
    expected = "the tokenizer of the same merges, for open_clip"
    content = read_json(path, expected) if path.exists() else {}
    model = content.get("model") if isinstance(content, dict) else None
    merges = [list(pair) for pair in tokenizer.bpe_ranks]
    if (
        not isinstance(model, dict)
        or model.get("vocab") != tokenizer.encoder
        or model.get("merges") != merges
    ):
        raise ModelError(
            f"{path}: {'another vocabulary than bpe_path names' if content else 'missing'}",
            expected=expected,
            fix="copy the whole folder again, or drop hf_tokenizer_name from text_cfg",
        )


def make_twin(tokenizer: Any, names: Mapping[int, str] | None = None) -> dict[str, Any]:
    """Make the content of a tokenizer.json: words, bytes, merges, and the tokens at both ends.

    Args:
        tokenizer: open_clip's SimpleTokenizer.
        names: the names of tokens that have another there than in the tokenizer, by number.
    """
    names = names or {}
    encoder = {names.get(number, token): number for token, number in tokenizer.encoder.items()}
    start, end = (
        names.get(number, tokenizer.decoder[number])
        for number in (tokenizer.sot_token_id, tokenizer.eot_token_id)
    )
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    words = {"type": "Split", "pattern": {"Regex": _WORDS}, "behavior": "Removed", "invert": True}
    as_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    around = [{"SpecialToken": {"id": token, "type_id": 0}} for token in (start, end)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": encoder[token], "content": token, **flags, "special": True}
            for token in (start, end)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [words, {**as_bytes, "use_regex": False}],
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around[0], first, around[1]],
            "pair": [around[0], first, second, around[1]],
            "special_tokens": {
                token: {"id": token, "ids": [encoder[token]], "tokens": [token]}
                for token in (start, end)
            },
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
            "vocab": encoder,
            "merges": [list(pair) for pair in tokenizer.bpe_ranks],
        },
    }
