"""CLIP's byte-pair tokenizer, as open_clip implements it, with an identity for the manifest."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from purescope.errors import ModelError


@dataclass(frozen=True)
class Tokenizer:
    """Sentences to token rows of one length; a longer one is cut, and still ends in the end-of-text token."""

    tokenizer: Any  # open_clip's SimpleTokenizer, which has no types
    context: int

    def __call__(self, sentences: list[str]) -> Int64[Tensor, "n context"]:
        tokens: Tensor = self.tokenizer(sentences)
        return tokens

    @property
    def vocab_size(self) -> int:
        """The number of different tokens."""
        return len(self.tokenizer.encoder)

    @property
    def identity(self) -> str:
        """Kind, sizes and a hash of the vocabulary."""
        entries = "\n".join(self.tokenizer.encoder)
        digest = hashlib.sha256(entries.encode()).hexdigest()[:12]
        return f"CLIP BPE, {self.vocab_size} entries ({digest}), context {self.context}"


def simple_tokenizer(
    context: int, options: Mapping[str, Any] | None = None, *, folder: Path | None = None
) -> Tokenizer:
    """open_clip's SimpleTokenizer; a relative `bpe_path` among its options is one inside `folder`.

    Raises:
        ModelError: the vocabulary file is missing or broken, or an option is unknown.
    """
    from open_clip.tokenizer import SimpleTokenizer

    options = dict(options or {})
    if "bpe_path" in options and folder is not None:
        options["bpe_path"] = str(folder / options["bpe_path"])
    try:
        return Tokenizer(SimpleTokenizer(context_length=context, **options), context)
    except (OSError, EOFError, ValueError, TypeError, AssertionError) as error:
        raise ModelError(
            f"{folder}: no tokenizer from {options}: {error}",
            expected="options of open_clip's SimpleTokenizer, bpe_path naming a gzipped list of merges",
        ) from error
