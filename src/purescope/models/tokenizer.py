"""Define a tokenizer: sentences in, rows of tokens out, and what a manifest says of it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from purescope.models.tokenizer_files import PrivateFolder


@dataclass(frozen=True)
class Vocabulary:
    """Hold the number of each token. Nobody changes it, so copies of a model share it.

    Examples:
        >>> vocabulary = Vocabulary({"a": 0, "b</w>": 2})
        >>> len(vocabulary), vocabulary.size
        (2, 3)
    """

    numbers: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __deepcopy__(self, memo: Mapping[int, Any]) -> "Vocabulary":
        return self

    @cached_property
    def size(self) -> int:
        """Return the number of rows that an embedding of tokens needs."""
        return max(self.numbers.values()) + 1

    @cached_property
    def digest(self) -> str:
        """Return twelve hexadecimal digits of a hash of all tokens, in the order of their
        numbers.
        """
        tokens = "\n".join(sorted(self.numbers, key=self.numbers.__getitem__))
        return hashlib.sha256(tokens.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Tokenizer:
    """Turn sentences into rows of tokens of one length.

    A sentence that is too long is cut and still ends as the model expects.

    Args:
        rows: the function that makes the rows.
        vocabulary: the number of each token.
        kind: the name of its kind for the manifest, e.g. "CLIP BPE".
        context: the length of a row.
        save: writes the tokenizer into the folder of a copy of the model, as open_clip or
            transformers reads it.
        lengths: counts the tokens of each sentence before it is cut.
        folder: a private folder that the tokenizer needs as long as it exists.
        save_plain: writes a tokenizer of transformers that cleans sentences by itself, with CLIP's
            names of the special tokens; None if transformers has none that makes the same rows.
        make_json: makes the content of a tokenizer.json that splits sentences in the same way, and
            cleans nothing; None if the files that `save` writes have one.
    """

    rows: Callable[[list[str]], Int64[Tensor, "n context"]]
    vocabulary: Vocabulary
    kind: str
    context: int
    save: Callable[[Path], object]
    lengths: Callable[[list[str]], list[int]]
    folder: PrivateFolder | None = None
    save_plain: Callable[[Path], object] | None = None
    make_json: Callable[[], Mapping[str, Any]] | None = None

    def are_cut(self, sentences: list[str]) -> list[bool]:
        """Tell which sentences are too long and lose their end."""
        return [length > self.context for length in self.lengths(sentences)]

    def __call__(self, sentences: list[str]) -> Int64[Tensor, "n context"]:
        return self.rows(sentences)

    @property
    def vocab_size(self) -> int:
        """Return the number of tokens that a text tower must know."""
        return self.vocabulary.size

    @property
    def identity(self) -> str:
        """Return the kind, the sizes and a hash of the vocabulary."""
        known = f"{len(self.vocabulary)} entries ({self.vocabulary.digest})"
        return f"{self.kind}, {known}, context {self.context}"
