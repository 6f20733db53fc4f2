"""One tokenizer.json makes the rows of every kind of tokenizer, or is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers

from purescope.errors import ModelError
from purescope.models.tokenizer import Tokenizer
from purescope.models.tokenizers import simple_tokenizer, transformers_tokenizer
from purescope.reduce.forms.tokens import FILE, write_tokenizer
from tests.models.test_transformers import cased, word_tokenizer

SENTENCES = ["a photo of a cat", "A red_flag,  it's\tmine!", "“two” Dogs’ tails", "cat, " * 40, ""]


def assert_same_rows(tokenizer: Tokenizer, folder: Path) -> dict[str, Any]:
    entry = write_tokenizer(tokenizer, folder, SENTENCES)
    backend = tokenizers.Tokenizer.from_file(str(folder / FILE))
    others = ["Other WORDS,   with_more: punctuation (and 3 numbers)", "x " * 100]
    for sentences in (SENTENCES, others):
        rows = [backend.encode(sentence).ids for sentence in sentences]
        assert rows == tokenizer(sentences).tolist()
    assert entry["context"] == len(rows[0])
    return entry


@pytest.mark.parametrize("clean", ["lower", "whitespace", "canonicalize"])
def test_tokenizers_of_open_clip(clean: str, tmp_path: Path) -> None:
    entry = assert_same_rows(simple_tokenizer(16, {"clean": clean}), tmp_path)
    assert (entry["context"], entry["padding"]) == (16, 0)


def test_tokenizers_of_transformers(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path / "words")
    assert_same_rows(transformers_tokenizer(tmp_path / "words", 12, family="siglip"), tmp_path)


@pytest.mark.filterwarnings("ignore:.*sentences are lower-cased:UserWarning")
def test_sentences_are_lower_cased_in_front_of_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "gemma").mkdir()
    cased(tmp_path / "gemma")
    tokenizer = transformers_tokenizer(tmp_path / "gemma", 64, family="siglip")
    assert assert_same_rows(tokenizer, tmp_path)["padding_side"] == "left"
    normalizer = json.loads((tmp_path / FILE).read_text())["normalizer"]
    assert normalizer["normalizers"][0] == {"type": "Lowercase"}


def test_rows_that_no_such_file_makes_are_refused(tmp_path: Path) -> None:
    tokenizer = simple_tokenizer(8, {"reduction_mask": "shuffle"})
    with pytest.raises(ModelError, match=r"CLIP BPE, has no tokenizer\.json that makes the same"):
        write_tokenizer(tokenizer, tmp_path, SENTENCES)
    assert not list(tmp_path.iterdir())
