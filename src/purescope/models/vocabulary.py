"""Tokenizers, as open_clip and transformers implement them, with an identity for the manifest."""

import gzip
import hashlib
import io
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from purescope.errors import MissingExtraError, ModelError
from purescope.files.reading import read_bytes
from purescope.models.checkpoint import read_json
from purescope.models.tokenizer_files import CONFIG, Folder, rebuild, require_own, require_own_files
from purescope.models.twin import require_same, write_twin

HF_FILES = ("*.json", "*.txt", "*.model")
"""The names of the files of a tokenizer in a repository of the hub."""

_CASED = "a photo of a Persian Cat, A RED FLAG"
_MERGES = 16_000_000  # bytes of a list of merges, unpacked: five times CLIP's own


@dataclass(frozen=True)
class Tokenizer:
    """Sentences to token rows of one length; a longer one is cut, and still ends as the model
    expects.

    Args:
        rows: what makes them.
        entries: the vocabulary: each token and its number.
        kind: what it is, for the manifest, e.g. "CLIP BPE".
        context: the length of a row.
        save: writes the files that open_clip reads it from into a folder that holds a model of its
            own.
        kept: a private folder that it needs as long as it lives.
    """

    rows: Callable[[list[str]], Int64[Tensor, "n context"]]
    entries: Mapping[str, int]
    kind: str
    context: int
    save: Callable[[Path], object]
    kept: Folder | None = None

    def __call__(self, sentences: list[str]) -> Int64[Tensor, "n context"]:
        return self.rows(sentences)

    @property
    def vocab_size(self) -> int:
        """How many tokens a text tower must know."""
        return max(self.entries.values()) + 1

    @property
    def identity(self) -> str:
        """Kind, sizes and a hash of the vocabulary."""
        entries = "\n".join(sorted(self.entries, key=lambda entry: self.entries[entry]))
        digest = hashlib.sha256(entries.encode()).hexdigest()[:12]
        return f"{self.kind}, {len(self.entries)} entries ({digest}), context {self.context}"


def simple_tokenizer(
    context: int,
    options: Mapping[str, Any] | None = None,
    *,
    merges: Path | None = None,
    twin: Path | None = None,
) -> Tokenizer:
    """open_clip's SimpleTokenizer; `merges` is the file that a `bpe_path` among its options names.

    A folder with the same tokenizer in the files of transformers, `twin`, is compared with it.

    Raises:
        ModelError: the vocabulary file is missing or broken, an option is unknown, or the twin
            differs.
    """
    from open_clip.tokenizer import SimpleTokenizer

    options = dict(options or {})
    packed = b""
    try:
        if merges is not None:
            packed = _read_merges(merges)
            options["bpe_path"] = io.BytesIO(packed)  # what was checked, not the file again
        tokenizer = SimpleTokenizer(**options) if options else _clips_own()
    except (OSError, EOFError, ValueError, TypeError, AssertionError, RecursionError) as error:
        told = options | ({"bpe_path": str(merges)} if merges else {})
        raise ModelError(
            f"{merges.parent if merges else None}: no tokenizer from {told}: {error}",
            expected="options of open_clip's SimpleTokenizer, bpe_path naming a gzipped list of "
            "merges",
        ) from error

    if twin is not None:
        require_same(tokenizer, twin)
    alone = options.keys() == {"bpe_path"}

    def save(target: Path) -> None:
        if merges is not None:
            require_own(merges.parent, merges)
            (target / merges_name(str(merges))).write_bytes(packed)
            if alone:
                write_twin(tokenizer, target)

    return Tokenizer(
        partial(tokenizer, context_length=context), tokenizer.encoder, "CLIP BPE", context, save
    )


def merges_name(path: str) -> str:
    """What a copy of a list of merges is called: as it was, unless that could be another file of a
    model.

    Examples:
        >>> merges_name("words/mine.txt.gz"), merges_name("words/open_clip_model.safetensors")
        ('mine.txt.gz', 'merges.txt.gz')
    """
    name = Path(path).name
    return name if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.gz", name) else "merges.txt.gz"


def _read_merges(path: Path) -> bytes:
    """A gzipped file, once it is known that it does not unpack to any size."""
    packed = read_bytes(path)
    with gzip.open(io.BytesIO(packed)) as unpacked:
        if len(unpacked.read(_MERGES + 1)) > _MERGES:
            raise ValueError(f"it unpacks to more than {_MERGES:,} bytes")
    return packed


@cache
def _clips_own() -> Any:
    """The one that nearly every model has; to build it takes as long as to read a small model."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def open_clip_hf_tokenizer(
    folder: Path, context: int, options: Mapping[str, Any], *, mode: str | None
) -> Tokenizer:
    """open_clip's wrapper of a tokenizer of transformers, from its files in a folder; no code in
    them runs.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: the tokenizer is missing or broken, or an option is unknown.
    """
    require_transformers()
    from open_clip.tokenizer import HFTokenizer

    def build(private: Path) -> tuple[Any, Any]:
        safe = {**options, "local_files_only": True, "trust_remote_code": False}
        rows = HFTokenizer(str(private), context, tokenizer_mode=mode, **safe)
        return rows, rows.tokenizer

    found = _from_private(folder, context, build)
    if _lower_case(folder) and _tells_case(found.rows):
        warnings.warn(
            f"{folder}: its tokenizer is to lower-case sentences (do_lower_case), and open_clip's "
            f"does not; if the "
            f'model was trained on such ones, say "tokenizer_kwargs": {{"clean": "lower"}} in text_cfg',
            stacklevel=4,
        )
    return found


def transformers_tokenizer(folder: Path, context: int, *, family: str) -> Tokenizer:
    """The tokenizer in a folder of transformers; rows are padded to the whole context, as SigLIP
    was trained.

    Sentences are lower-cased first for a model that was trained on such ones and whose tokenizer
    leaves them as they are: one that says ``do_lower_case`` and is of a class without it, or SigLIP
    2, which has Gemma's.

    Args:
        folder: of the model.
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

    found = _from_private(folder, context, build)
    asked = _lower_case(folder)
    wants = asked if asked is not None else family == "siglip" and found.kind.startswith("Gemma")
    if not wants or not _tells_case(found.rows):
        return found
    warnings.warn(
        f"{folder}: sentences are lower-cased, as the model was trained; its {found.kind} does not",
        stacklevel=4,
    )
    rows = found.rows
    lower = replace(found, kind=f"{found.kind} of lower-cased sentences")
    return replace(lower, rows=lambda sentences: rows([sentence.lower() for sentence in sentences]))


def _lower_case(folder: Path) -> bool | None:
    """What a tokenizer's configuration says of it; None where it says nothing."""
    path = folder / CONFIG
    said = (
        read_json(path, "the files of a tokenizer").get("do_lower_case") if path.exists() else None
    )
    return said if isinstance(said, bool) else None


def _tells_case(rows: Callable[[list[str]], Tensor]) -> bool:
    cased, lower = rows([_CASED, _CASED.lower()])
    return not cased.equal(lower)


def _from_private(
    folder: Path, context: int, build: Callable[[Path], tuple[Any, Any]]
) -> Tokenizer:
    """A tokenizer of a folder's files, rebuilt in a folder of our own; `build` makes the rows and
    the tokenizer.
    """
    private = Folder()
    try:
        rebuild(folder, private.path)
        rows, tokenizer = build(private.path)
        rows(["a"])  # what is missing for a row shows here, not in the middle of a run
        entries = _entries(tokenizer)
    except ModelError:
        private.remove()
        raise
    except Exception as error:
        private.remove()
        raise _unusable(folder, error) from error
    # A copy of a tokenizer that is no fast one, for another device, reads its file again.
    kept = None if tokenizer.is_fast else private
    if kept is None:
        private.remove()

    def save(target: Path) -> None:
        require_own_files(folder)
        rebuild(folder, target)

    return Tokenizer(rows, entries, type(tokenizer).__name__, context, save, kept)


def _entries(tokenizer: Any) -> dict[str, int]:
    """The vocabulary; where its file is missing, transformers makes one of special tokens only, and
    says nothing.
    """
    entries: dict[str, int] = tokenizer.get_vocab()
    if entries.keys() <= set(tokenizer.all_special_tokens):
        raise ValueError("it has no vocabulary")
    return entries


def _unusable(folder: Path, error: Exception) -> ModelError:
    """One line of what can be anything: transformers raises whatever its parts do."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ModelError(
        f"{folder}: no tokenizer: {reason}",
        expected="tokenizer_config.json with tokenizer.json, or the vocabulary files of a known "
        "tokenizer",
        fix="copy them from the model that this one was trained from: "
        "tokenizer.save_pretrained(FOLDER)",
    )


def require_transformers() -> None:
    """Raise MissingExtraError unless the extra [hf] is there."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error
