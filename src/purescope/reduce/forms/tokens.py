"""Write one tokenizer.json that makes the rows of tokens that a text tower takes.

The file has everything: it cleans, splits, cuts at the length of a row and pads, so that a program
needs the library `tokenizers` only. `Tokenizer.from_file("tokenizer.json").encode(text).ids` is a
row.
"""

import json
from pathlib import Path
from typing import Any

from purescope.errors import ModelError, printable
from purescope.models.tokenizer import Tokenizer
from purescope.models.tokenizer_files import private_folder

FILE = "tokenizer.json"

_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""


def write_tokenizer(tokenizer: Tokenizer, folder: Path, sentences: list[str]) -> dict[str, Any]:
    """Write the file, and return what a reader must know of it.

    Args:
        tokenizer: the tokenizer of the text tower.
        folder: the folder to write into.
        sentences: the file has to make the same rows of these as the tokenizer.

    Raises:
        ModelError: no such file makes the same tokens.
    """
    from tokenizers import normalizers

    made = _find_backend(tokenizer)
    made.enable_truncation(tokenizer.context)
    own = made.normalizer
    wanted, short = tokenizer(sentences).tolist(), tokenizer(["a"])[0].tolist()
    for side, padding in (("right", short[-1]), ("left", short[0])):
        made.enable_padding(
            direction=side,
            length=tokenizer.context,
            pad_id=padding,
            pad_token=made.id_to_token(padding) or "",
        )
        for cleaner in _make_cleaners():
            made.normalizer = normalizers.Sequence([*cleaner, *([own] if own is not None else [])])
            if [row.ids for row in made.encode_batch(sentences)] == wanted:
                made.save(str(folder / FILE))
                return {
                    "file": FILE,
                    "kind": printable(tokenizer.identity),
                    "context": tokenizer.context,
                    "padding": padding,
                    "padding_side": side,
                    "read_by": f'tokenizers.Tokenizer.from_file("{FILE}").encode(TEXT).ids',
                }
    raise ModelError(
        f"its tokenizer, {tokenizer.kind}, has no {FILE} that makes the same tokens",
        expected="a tokenizer of CLIP or of transformers, with the usual cleaning of sentences",
        fix="export it in the form of its own library, whose folder keeps the tokenizer",
    )


def _find_backend(tokenizer: Tokenizer) -> Any:
    """Return a tokenizer of `tokenizers` with the same vocabulary."""
    from tokenizers import Tokenizer as Backend

    if tokenizer.make_json is not None:
        return Backend.from_str(json.dumps(tokenizer.make_json()))
    from transformers import AutoTokenizer

    with private_folder() as private:
        tokenizer.save(private)
        loaded = AutoTokenizer.from_pretrained(
            private, local_files_only=True, trust_remote_code=False
        )
        backend = getattr(loaded, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"its tokenizer, {tokenizer.kind}, has no {FILE}",
                expected="one that the library tokenizers has",
                fix="export it in the form of its own library, whose folder keeps the tokenizer",
            )
        return Backend.from_str(backend.to_str())


def _make_cleaners() -> list[list[Any]]:
    """Return the ways to clean a sentence that open_clip and transformers have, as normalizers.

    What `ftfy` repairs beyond quotes, and entities of HTML, are left out.
    """
    from tokenizers import Regex, normalizers

    quotes = [
        normalizers.NFC(),
        normalizers.Replace(Regex("[‘’ʼ]"), "'"),  # noqa: RUF001 as ftfy does
        normalizers.Replace(Regex("[“”]"), '"'),
    ]
    spaces = [normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    lower = [normalizers.Lowercase()]
    bare = [normalizers.Replace("_", " "), normalizers.Replace(Regex(_PUNCTUATION), "")]
    return [
        [],
        lower,
        [*quotes, *spaces],
        [*quotes, *spaces, *lower],
        [*quotes, *bare, *lower, *spaces],
    ]
