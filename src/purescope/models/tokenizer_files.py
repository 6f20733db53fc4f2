"""Rebuild the files of a tokenizer in a private folder, which transformers reads instead.

transformers takes the class of a tokenizer from `tokenizer_config.json` or `config.json`. It may
name a model, which unpickles its weights, or an Auto class, which runs code in the same folder.
transformers also takes paths and templates from there. The rebuilt files name a class of the table
below and have plain values for known keys.

The number of characters that a tokenizer makes out of a sentence, and the number of words that it
adds, have bounds that all known tokenizers keep.
"""

import errno
import json
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from purescope.errors import ModelError, near_miss
from purescope.files import reading
from purescope.files.reading import open_whole
from purescope.models.checkpoint import read_dictionary
from purescope.models.configuration import (
    FLAG,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    dictionary_of,
    keep_known,
    list_of,
    one_of,
)

CONFIG = "tokenizer_config.json"

_CLASS_NAMES = (
    "Albert Bert CLIP DistilBert GPT2 Gemma Llama M2M100 MT5 Nllb Roberta Siglip Siglip2 T5 "
    "XLMRoberta"
)
CLASSES = frozenset(f"{name}Tokenizer" for name in _CLASS_NAMES.split())
"""Tokenizers of transformers' CLIP and SigLIP models and of open_clip's text towers.

Each name may end in "Fast".
"""

# Classes whose tokenizer.json says everything; transformers 4 wrote the first without "Fast".
_PLAIN_CLASSES = frozenset({"PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"})
# If no class is named, transformers takes that of the model type.
_MODEL_TYPES = (
    "bert clip distilbert gemma gemma2 gpt2 m2m_100 mt5 roberta siglip siglip2 t5 xlm-roberta"
)
_COPIED = re.compile(
    r"tokenizer\.json|vocab\.json|merges\.txt|vocab\.txt|(spiece|sentencepiece\.bpe|tokenizer)\.model"
)
_LARGEST = 256_000_000  # bytes of a file: four times the largest known

_COUNT = Kind(
    "a whole number below 1,000", lambda value: WHOLE.holds(value) and 0 <= int(str(value)) < 1000
)
# A length of 10**30 means no limit.
_LENGTH = Kind("a number", lambda value: NUMBER.holds(value) or isinstance(value, int))
_FLAGS = ("lstrip", "rstrip", "normalized", "single_word", "special")
_ADDED = dictionary_of(
    {"content": TEXT, **dict.fromkeys(_FLAGS, FLAG), "__type": one_of("AddedToken")}
)
_TOKEN = TEXT | _ADDED | NOTHING
_TOKENS = list_of(TEXT | _ADDED, most=100_000)
_TOKENS_BY_NAME = Kind(
    "a dictionary of tokens",
    lambda value: isinstance(value, dict) and all(map(_TOKEN.holds, value.values())),
)


def _are_numbered_tokens(value: object) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch("[0-9]{1,9}", number) and _ADDED.holds(token)
        for number, token in value.items()
    )


_TOKENS_BY_NUMBER = Kind("a dictionary of numbers and tokens", _are_numbered_tokens)
_NUMBERS_BY_TOKEN = Kind(
    "a dictionary of tokens and numbers",
    lambda value: isinstance(value, dict) and all(map(WHOLE.holds, value.values())),
)
_ADDING = ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder")
_OPTIONS_BY_KIND: tuple[tuple[str, Kind], ...] = (
    (
        "bos_token eos_token unk_token sep_token pad_token cls_token mask_token",
        _TOKEN,
    ),
    ("additional_special_tokens", _TOKENS | NOTHING),
    ("extra_special_tokens", _TOKENS | _TOKENS_BY_NAME | NOTHING),
    (
        "add_bos_token add_eos_token add_prefix_space clean_up_tokenization_spaces "
        "do_basic_tokenize do_lower_case keep_accents legacy legacy_behaviour remove_space "
        "split_special_tokens spaces_between_special_tokens strip_accents tokenize_chinese_chars "
        "trim_offsets use_default_system_prompt add_dummy_prefix canonicalize",
        FLAG | NOTHING,
    ),
    (
        "model_max_length max_len max_length stride pad_to_multiple_of pad_token_type_id",
        _LENGTH | NOTHING,
    ),
    ("extra_ids num_madeup_words", _COUNT | NOTHING),
    (
        "errors language_codes src_lang tgt_lang truncation_strategy wordpieces_prefix",
        TEXT | NOTHING,
    ),
    ("padding_side truncation_side", one_of("left", "right") | NOTHING),
    ("model_input_names", list_of(TEXT)),
    ("never_split", list_of(TEXT, most=1000) | NOTHING),
)
_SENTENCEPIECE_FLAGS = ("add_bos", "add_eos", "reverse", "emit_unk_piece", "enable_sampling")
_SENTENCEPIECE = dictionary_of(
    dict.fromkeys(_SENTENCEPIECE_FLAGS, FLAG) | dict.fromkeys(("nbest_size", "alpha"), NUMBER)
)
OPTIONS: Mapping[str, Kind] = {
    **{name: kind for names, kind in _OPTIONS_BY_KIND for name in names.split()},
    "sp_model_kwargs": _SENTENCEPIECE | NOTHING,
}
"""The keys of `tokenizer_config.json` that are kept: they change tokens and nothing else."""


class PrivateFolder:
    """Hold a private folder that is removed with the last reference, or when Python ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="purescope-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def __deepcopy__(self, _: object) -> "PrivateFolder":
        """Share the folder with copies of a tokenizer: none of them writes into it."""
        return self


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a private folder for the duration of a `with` block."""
    folder = PrivateFolder()
    try:
        yield folder.path
    finally:
        folder.remove()


def rebuild(source: Path, target: Path) -> None:
    """Write the known content of a tokenizer into another folder.

    Args:
        source: the folder of the model or the tokenizer.
        target: the folder to write into. A config.json in it stays. Without one, it gets a
            config.json with only the model type, from which transformers takes the class if no
            class is named.

    Raises:
        ModelError: a file is not a regular one, is broken or too large, or asks for a class that is
            not in the table.
    """
    config, model = (_read(source / name) for name in (CONFIG, "config.json"))
    class_name = config.get("tokenizer_class") or model.get("tokenizer_class")
    if class_name is not None:
        _require_known_class(source, class_name)
    model_type = model.get("model_type")
    is_known = isinstance(model_type, str) and model_type in _MODEL_TYPES.split()
    if is_known and not (target / "config.json").exists():
        _write(target / "config.json", {"model_type": model_type})
    tokens = {key: _TOKEN for key in config if _is_token(key)}
    known = {**tokens, "added_tokens_decoder": _TOKENS_BY_NUMBER, **OPTIONS}
    rebuilt = keep_known(config, known, f"{source / CONFIG}: it")
    _check_added_words(source / CONFIG, *(rebuilt.get(key) for key in _ADDING))
    if (source / CONFIG).exists() or class_name is not None:
        _write(target / CONFIG, rebuilt | ({"tokenizer_class": class_name} if class_name else {}))
    for name, check in (
        ("special_tokens_map.json", _rebuild_token_map),
        ("added_tokens.json", _check_added_tokens),
    ):
        if (source / name).exists():
            _write(target / name, check(source / name))
    copied = sorted(path for path in source.iterdir() if _COPIED.fullmatch(path.name))
    for path in copied:
        _copy(path, target / path.name)
    if (target / "tokenizer.json").exists():
        _check_tokenizer_json(target / "tokenizer.json", source / "tokenizer.json")
    # transformers would make merges from the vocabulary: different ones, and in unbounded time.
    if {path.name for path in copied} == {"vocab.json"}:
        raise ModelError(
            f"{source}: no tokenizer: vocab.json without merges.txt", fix="copy the whole folder"
        )


def refuse_outside_links(folder: Path, *paths: Path) -> None:
    """Refuse links that lead out of a folder, except into the files of the same cache of the hub.

    Reading through a link keeps the content on this machine. A copy in a folder that is passed on
    does not.

    Raises:
        ModelError: one of the paths is such a link.
    """
    inside = folder.resolve()
    blobs = [parent / "blobs" for parent in inside.parents[:4]]
    for path in paths:
        real = path.resolve()
        if path.exists() and not real.is_relative_to(inside) and real.parent not in blobs:
            raise ModelError(
                f"{path}: a link out of the folder, to {real}",
                expected="the model's own files, which are copied",
                fix="if it is intended, put the file itself in its place",
            )


def find_tokenizer_files(folder: Path) -> list[Path]:
    """Find the files of a tokenizer in a folder."""
    return [path for path in sorted(folder.iterdir()) if is_tokenizer_file(path.name)]


def is_tokenizer_file(name: str) -> bool:
    """Return whether a file of a tokenizer can have this name."""
    configurations = (CONFIG, "config.json", "special_tokens_map.json", "added_tokens.json")
    return name in configurations or bool(_COPIED.fullmatch(name))


def _require_known_class(source: Path, name: object) -> None:
    if not isinstance(name, str):
        raise ModelError(
            f"{source}: no tokenizer: tokenizer_class is {name!r}",
            expected="the name of a tokenizer",
        )
    if not ({name, name.removesuffix("Fast")} & CLASSES or name in _PLAIN_CLASSES):
        raise ModelError(
            f"{source}: no tokenizer: it wants the class {name!r}",
            **near_miss(name, CLASSES | _PLAIN_CLASSES),
        )


def _is_token(key: str) -> bool:
    """Return whether a key names one more special token, which only this model has."""
    return bool(re.fullmatch(r"[a-z0-9_]{1,60}_token", key)) and key not in OPTIONS


def _rebuild_token_map(path: Path) -> dict[str, Any]:
    content = _read(path)
    known = {key: _TOKEN for key in content if _is_token(key)}
    known |= {
        key: OPTIONS[key]
        for key in OPTIONS
        if key.endswith(("_token", "_tokens")) and key[:4] != "add_"
    }
    return keep_known(content, known | {"additional_special_tokens": _TOKENS}, f"{path}: it")


def _check_added_tokens(path: Path) -> dict[str, Any]:
    content = _read(path)
    if not _NUMBERS_BY_TOKEN.holds(content):
        raise ModelError(f"{path}: no map of tokens", expected=_NUMBERS_BY_TOKEN.words)
    return content


def _read(path: Path) -> dict[str, Any]:
    """Read a file of JSON; an empty dictionary if it does not exist."""
    if not (path.exists() or path.is_symlink()):
        return {}
    return read_dictionary(path, "the files of a tokenizer as transformers writes them")


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    try:
        with open_whole(source) as file, target.open("wb") as copy:
            if os.fstat(file.fileno()).st_size > _LARGEST:
                raise OSError(errno.EFBIG, f"more than {_LARGEST:,} bytes", str(source))
            shutil.copyfileobj(file, copy)
    except OSError as error:
        raise ModelError(
            f"{source}: {error.strerror}",
            expected="a file of a tokenizer",
            fix="copy the folder again",
        ) from error


_STEPS, _STEP_CHARACTERS, _GROWTH = 32, 1000, 10_000
_ADDED_WORDS, _ADDED_CHARACTERS = 20_000, 1_000_000


def _check_tokenizer_json(copy: Path, path: Path) -> None:
    """Check a copy of a tokenizer.json before the library tokenizers builds what it says.

    Args:
        copy: the file to read.
        path: the original, for messages.

    Raises:
        ModelError: the file is not JSON, its steps make a sentence larger than any tokenizer does,
            or it adds too many words.
    """
    try:
        content = reading.read_json(copy, most=_LARGEST)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", expected="a file of a tokenizer") from error
    except ValueError as error:
        raise ModelError(f"{path.parent}: no tokenizer: {path.name} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(
            f"{path.parent}: no tokenizer: {path.name} holds a {type(content).__name__}"
        )
    _check_normalizer(path, content.get("normalizer"))
    _check_added_words(path, content.get("added_tokens"))


def _check_added_words(path: Path, *sections: Any) -> None:
    """Refuse more added words than any tokenizer has: they become one regular expression.

    Raises:
        ModelError: there are too many, or they are too long together.
    """
    words = [word for section in sections for word in _find_words(section)]
    length = sum(map(len, words))
    if len(words) > _ADDED_WORDS or length > _ADDED_CHARACTERS:
        raise ModelError(
            f"{path}: no tokenizer: it adds {len(words):,} words of {length:,} characters",
            expected=f"at most {_ADDED_WORDS:,} words of {_ADDED_CHARACTERS:,} characters",
        )


def _find_words(section: Any) -> Iterator[str]:
    if isinstance(section, str):
        yield section
    elif isinstance(section, dict) and isinstance(section.get("content"), str):
        yield section["content"]
    elif isinstance(section, dict | list):
        for value in section.values() if isinstance(section, dict) else section:
            yield from _find_words(value)


def _check_normalizer(path: Path, normalizer: Any) -> None:
    steps, growth = 0, 1.0
    pending = [normalizer]
    while pending:
        step = pending.pop()
        if not isinstance(step, dict):
            continue
        pending += step["normalizers"] if isinstance(step.get("normalizers"), list) else []
        pattern, content = step.get("pattern"), step.get("content")
        patterns = [*pattern.values()] if isinstance(pattern, dict) else [pattern]
        texts = [content, step.get("prepend"), *patterns]
        longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
        if isinstance(content, str) and content:
            growth *= _find_growth(pattern, content)
        steps += 1
        if steps > _STEPS or longest > _STEP_CHARACTERS or growth > _GROWTH:
            raise ModelError(
                f"{path}: no tokenizer: its normalizer can make a sentence larger than memory",
                expected=f"at most {_STEPS} steps with texts of {_STEP_CHARACTERS:,} characters, "
                f"which together make at most {_GROWTH:,} characters out of one",
            )


def _find_growth(pattern: Any, content: str) -> float:
    """Return how many times longer a text can get when `content` replaces `pattern`."""
    fixed = pattern.get("String") if isinstance(pattern, dict) else None
    if isinstance(fixed, str) and fixed:
        return max(1.0, len(content) / len(fixed))
    # A regular expression may match the empty text between two characters.
    return 1.0 + len(content)
