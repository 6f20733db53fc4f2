"""Make tokenizers of open_clip and transformers, with an identity for the manifest."""

import gzip
import io
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope.errors import ModelError
from purescope.files.reading import read_bytes
from purescope.models.checkpoint import read_json
from purescope.models.open_clip_config import choose_merges_name
from purescope.models.tokenizer import Tokenizer, Vocabulary
from purescope.models.tokenizer_files import (
    CONFIG,
    PrivateFolder,
    find_tokenizer_files,
    rebuild,
    refuse_outside_links,
)
from purescope.models.tokenizer_twins import (
    make_twin,
    require_same_vocabulary,
    write_plain,
    write_twin,
)
from purescope.models.transformers_config import require_transformers

HF_FILES = ("*.json", "*.txt", "*.model")
"""The names of a tokenizer's files in a repository of the hub."""

_CASED = "a photo of a Persian Cat, A RED FLAG"
_MERGES = 16_000_000  # bytes of an unpacked list of merges: five times CLIP's own
# Options of SimpleTokenizer that leave sentences and tokens as those of CLIP are.
_PLAIN_OPTIONS = {"clean": "lower", "reduction_mask": "", "additional_special_tokens": None}


def simple_tokenizer(
    context: int,
    options: Mapping[str, Any] | None = None,
    *,
    merges: Path | None = None,
    twin: Path | None = None,
) -> Tokenizer:
    """Make open_clip's SimpleTokenizer.

    Args:
        context: the length of a row.
        options: the options of SimpleTokenizer.
        merges: the file that the option `bpe_path` names.
        twin: a folder with the same tokenizer in the files of transformers, to compare.

    Raises:
        ModelError: the file of merges is missing or broken, an option is unknown, or the twin
            differs.
    """
    from open_clip.tokenizer import SimpleTokenizer

    options = dict(options or {})
    packed = b""
    try:
        if merges is not None:
            packed = _read_merges(merges)
            options["bpe_path"] = io.BytesIO(packed)  # the checked bytes, not the file again
        if options.keys() <= {"bpe_path"}:
            tokenizer, vocabulary = _make_plain_tokenizer(packed)
        else:
            tokenizer = SimpleTokenizer(**options)
            vocabulary = Vocabulary(tokenizer.encoder)
    except (OSError, EOFError, ValueError, TypeError, AssertionError, RecursionError) as error:
        given = options | ({"bpe_path": str(merges)} if merges else {})
        raise ModelError(
            f"{merges.parent if merges else None}: no tokenizer from {given}: {error}",
            expected="options of open_clip's SimpleTokenizer, bpe_path naming a gzipped list of "
            "merges",
        ) from error

    if twin is not None:
        require_same_vocabulary(tokenizer, twin)

    def save(target: Path) -> None:
        if merges is not None:
            refuse_outside_links(merges.parent, merges)
            (target / choose_merges_name(str(merges))).write_bytes(packed)
            if options.keys() == {"bpe_path"}:
                write_twin(tokenizer, target)

    # Copies of a model share the tokenizer, as they share functions: it only looks things up.
    def rows(sentences: list[str]) -> Tensor:
        ids: Tensor = tokenizer(sentences, context_length=context)
        return ids

    changes = {name: value for name, value in options.items() if name in _PLAIN_OPTIONS}
    is_plain = changes.items() <= _PLAIN_OPTIONS.items()
    return Tokenizer(
        rows,
        vocabulary,
        "CLIP BPE",
        context,
        save,
        # With a token at the start and one at the end.
        lambda sentences: [len(tokenizer.encode(sentence)) + 2 for sentence in sentences],
        save_plain=(lambda target: write_plain(tokenizer, target, context=context))
        if is_plain
        else None,
        make_json=lambda: make_twin(tokenizer),
    )


def _read_merges(path: Path) -> bytes:
    """Read a gzipped file, and make sure that it does not unpack to an unbounded size."""
    packed = read_bytes(path)
    with gzip.open(io.BytesIO(packed)) as unpacked:
        if len(unpacked.read(_MERGES + 1)) > _MERGES:
            raise ValueError(f"it unpacks to more than {_MERGES:,} bytes")
    return packed


@lru_cache(maxsize=8)
def _make_plain_tokenizer(merges: bytes) -> tuple[Any, Vocabulary]:
    """Make the tokenizer of a packed list of merges, or CLIP's own, once: it takes as long as
    reading a small model.
    """
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer(bpe_path=io.BytesIO(merges)) if merges else SimpleTokenizer()
    return tokenizer, Vocabulary(tokenizer.encoder)


def open_clip_hf_tokenizer(
    folder: Path, context: int, options: Mapping[str, Any], *, mode: str | None
) -> Tokenizer:
    """Make open_clip's wrapper of a tokenizer of transformers, without running code in its files.

    Args:
        folder: the folder with the files of the tokenizer.
        context: the length of a row.
        options: the options of HFTokenizer.
        mode: its tokenizer_mode.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: the tokenizer is missing or broken, or an option is unknown.

    Warns:
        UserWarning: the files ask for lower case, and open_clip does not apply it.
    """
    require_transformers()
    from open_clip.tokenizer import HFTokenizer

    def build(private: Path) -> tuple[Any, Any]:
        safe = {**options, "local_files_only": True, "trust_remote_code": False}
        rows = HFTokenizer(str(private), context, tokenizer_mode=mode, **safe)
        return rows, rows.tokenizer

    tokenizer = _build_in_private_folder(folder, context, build)
    if _read_lower_case(folder) and _depends_on_case(tokenizer.rows):
        warnings.warn(
            f"{folder}: its tokenizer asks for lower case (do_lower_case), and open_clip's does "
            f"not apply it; if the model was trained on lower-cased sentences, add "
            f'"tokenizer_kwargs": {{"clean": "lower"}} to text_cfg',
            stacklevel=4,
        )
    return tokenizer


def transformers_tokenizer(folder: Path, context: int, *, family: str) -> Tokenizer:
    """Make the tokenizer of a model of transformers.

    Rows are padded to the whole context, as SigLIP was trained. Sentences are lower-cased first if
    the model was trained on such sentences and its tokenizer does not lower-case them. That is a
    tokenizer with ``do_lower_case`` whose class ignores it, or SigLIP 2, which has Gemma's.

    Args:
        folder: the folder of the model.
        context: the length of a row.
        family: "clip" or "siglip".

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: the tokenizer is missing or broken.

    Warns:
        UserWarning: sentences are lower-cased.
    """
    require_transformers()
    from transformers import AutoTokenizer

    def build(private: Path) -> tuple[Any, Any]:
        tokenizer = AutoTokenizer.from_pretrained(
            private, local_files_only=True, trust_remote_code=False
        )

        def rows(sentences: list[str]) -> Tensor:
            batch = tokenizer(
                sentences,
                padding="max_length",
                truncation=True,
                max_length=context,
                return_tensors="pt",
            )
            ids: Tensor = batch["input_ids"]
            return ids

        return rows, tokenizer

    tokenizer = _build_in_private_folder(folder, context, build)
    lower_case = _read_lower_case(folder)
    if lower_case is None:
        lower_case = family == "siglip" and tokenizer.kind.startswith("Gemma")
    if not lower_case or not _depends_on_case(tokenizer.rows):
        return tokenizer
    warnings.warn(
        f"{folder}: sentences are lower-cased, as the model was trained; its {tokenizer.kind} does "
        f"not do it",
        stacklevel=4,
    )
    return replace(
        tokenizer,
        kind=f"{tokenizer.kind} of lower-cased sentences",
        rows=lambda sentences: tokenizer.rows([sentence.lower() for sentence in sentences]),
        lengths=lambda sentences: tokenizer.lengths([sentence.lower() for sentence in sentences]),
    )


def _read_lower_case(folder: Path) -> bool | None:
    """Read the option ``do_lower_case`` of a tokenizer; None if it is not set."""
    path = folder / CONFIG
    if not path.exists():
        return None
    option = read_json(path, "the files of a tokenizer").get("do_lower_case")
    return option if isinstance(option, bool) else None


def _depends_on_case(rows: Callable[[list[str]], Tensor]) -> bool:
    cased, lower = rows([_CASED, _CASED.lower()])
    return not cased.equal(lower)


def _build_in_private_folder(
    folder: Path, context: int, build: Callable[[Path], tuple[Any, Any]]
) -> Tokenizer:
    """Build a tokenizer from a private folder with its rebuilt files.

    `build` takes the private folder and returns the function for rows and the tokenizer.
    """
    private = PrivateFolder()
    try:
        rebuild(folder, private.path)
        rows, tokenizer = build(private.path)
        rows(["a"])  # so that a missing file is reported here, not in the middle of a run
        entries = _read_entries(tokenizer)
    except ModelError:
        private.remove()
        raise
    except Exception as error:
        private.remove()
        raise _unusable(folder, error) from error
    # A slow tokenizer reads its file again when it is copied to another device.
    if tokenizer.is_fast:
        private.remove()

    def save(target: Path) -> None:
        refuse_outside_links(folder, *find_tokenizer_files(folder))
        rebuild(folder, target)

    # The wrapper of open_clip cleans sentences before, and may add three tokens of its own.
    clean = getattr(rows, "clean_fn", str)
    adds_own = getattr(rows, "tokenizer_mode", "") == "clips"

    def lengths(sentences: list[str]) -> list[int]:
        texts = [clean(sentence) for sentence in sentences]
        ids = tokenizer(texts, add_special_tokens=not adds_own, truncation=False, verbose=False)[
            "input_ids"
        ]
        return [len(tokens) + 3 * adds_own for tokens in ids]

    needed = None if tokenizer.is_fast else private
    return Tokenizer(
        rows,
        Vocabulary(entries),
        type(tokenizer).__name__,
        context,
        save,
        lengths,
        needed,
        save_plain=save,
    )


def _read_entries(tokenizer: Any) -> dict[str, int]:
    """Return the vocabulary, and refuse one of special tokens only.

    transformers makes such a vocabulary silently if the file of the vocabulary is missing.
    """
    entries: dict[str, int] = tokenizer.get_vocab()
    if entries.keys() <= set(tokenizer.all_special_tokens):
        raise ValueError("it has no vocabulary")
    return entries


def _unusable(folder: Path, error: Exception) -> ModelError:
    """Make an error with one line of the original, which can be of any kind."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ModelError(
        f"{folder}: no tokenizer: {reason}",
        expected="tokenizer_config.json with tokenizer.json, or the vocabulary files of a known "
        "tokenizer",
        fix="copy them from the model that this one was trained from: "
        "tokenizer.save_pretrained(FOLDER)",
    )
