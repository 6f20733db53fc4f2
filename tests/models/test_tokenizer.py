"""Test that a tokenizer says which sentences it cuts, against the number of their tokens."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from open_clip.tokenizer import SimpleTokenizer

from purescope.models.tokenizers import (
    open_clip_hf_tokenizer,
    simple_tokenizer,
    transformers_tokenizer,
)
from tests.models.test_transformers import cased, word_tokenizer

transformers = pytest.importorskip("transformers")

CONTEXT = 8
# One to twelve words of a token each, in words of several letters and in capitals.
SENTENCES = [
    *(" ".join(["cat"] * length) for length in range(1, 13)),
    *("a" * length for length in range(1, 13)),
    "A RED FLAG",
    "",
]


def test_the_sentences_that_clips_own_tokenizer_cuts() -> None:
    """A start and an end are part of a row."""
    tokenizer = simple_tokenizer(CONTEXT)
    encode = SimpleTokenizer().encode
    expected = [len(encode(text)) + 2 > CONTEXT for text in SENTENCES]
    assert tokenizer.are_cut(SENTENCES) == expected
    assert 0 < sum(expected) < len(SENTENCES)
    assert tokenizer.are_cut([]) == []


def words(folder: Path) -> None:
    word_tokenizer().save_pretrained(folder)


def gemma(folder: Path) -> None:
    """Letters as tokens, and one token at the end."""
    cased(folder)


def clip(folder: Path) -> None:
    """Its padding is the token at the end."""
    symbols = [chr(code) for code in range(33, 127)]
    names = [*symbols, *(f"{symbol}</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {name: index for index, name in enumerate(names)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)


@pytest.mark.filterwarnings("ignore:.*lower-cased, as the model was trained:UserWarning")
@pytest.mark.parametrize("make", [words, gemma, clip])
@pytest.mark.parametrize("by", ["transformers", "open_clip"])
def test_the_sentences_that_others_cut(
    make: Callable[[Path], None], by: str, tmp_path: Path
) -> None:
    make(tmp_path)
    if by == "transformers":
        tokenizer = transformers_tokenizer(tmp_path, CONTEXT, family="siglip")
    else:
        tokenizer = open_clip_hf_tokenizer(tmp_path, CONTEXT, {}, mode=None)
    whole: Any = transformers.AutoTokenizer.from_pretrained(tmp_path)
    lengths = [len(ids) for ids in whole(SENTENCES, truncation=False)["input_ids"]]
    expected = [length > CONTEXT for length in lengths]
    assert tokenizer.are_cut(SENTENCES) == expected
    assert 0 < sum(expected) < len(SENTENCES)


def test_open_clips_mode_with_a_token_of_its_own_at_the_end(tmp_path: Path) -> None:
    """A start, an end and the token of the class leave five of eight."""
    gemma(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config |= {"cls_token": "<eos>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = open_clip_hf_tokenizer(tmp_path, CONTEXT, {}, mode="clips")
    assert tokenizer.are_cut(["a" * length for length in (1, 5, 6)]) == [False, False, True]
    six, seven = tokenizer(["aaaaa", "aaaaab"])
    assert six.tolist() == seven.tolist(), "the sixth letter is not read"


def test_sentences_are_cleaned_before_they_are_counted(tmp_path: Path) -> None:
    gemma(tmp_path)
    tokenizer = open_clip_hf_tokenizer(tmp_path, CONTEXT, {}, mode=None)
    assert tokenizer.are_cut(["a     b \n  c", "a b c d e"]) == [False, True]


def test_the_identity_has_twelve_digits_of_the_hash_of_all_entries_in_their_order() -> None:
    tokenizer = simple_tokenizer(16, {})
    numbers = tokenizer.vocabulary.numbers
    entries = "\n".join(sorted(numbers, key=lambda entry: numbers[entry]))
    digest = hashlib.sha256(entries.encode()).hexdigest()[:12]
    assert f"{len(numbers)} entries ({digest}), context 16" in tokenizer.identity


@pytest.mark.parametrize(
    ("options", "is_plain"),
    [
        ({}, True),
        ({"clean": "lower"}, True),
        ({"clean": "lower", "reduction_mask": "", "additional_special_tokens": None}, True),
        ({"clean": "whitespace"}, False),
        ({"reduction_mask": "shuffle"}, False),
        ({"additional_special_tokens": ["<x>"]}, False),
    ],
    ids=str,
)
def test_only_clips_own_tokenizer_is_written_as_a_plain_one(
    options: dict[str, Any], is_plain: bool
) -> None:
    assert (simple_tokenizer(16, options).save_plain is not None) is is_plain
