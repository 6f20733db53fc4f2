"""A private folder with the files of a tokenizer, rebuilt, for transformers to read in place of
somebody's own.

transformers takes the class of a tokenizer from `tokenizer_config.json` or `config.json`: it may
name a model, which unpickles its weights, or an Auto class, which runs code that lies beside it. It
takes paths and templates from there, too. What it gets from here names a class of the table below,
and has plain values for keys that are known.

How much a tokenizer may make of a sentence, and how many words it may add, has bounds that every
known one keeps.
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
from purescope.models.checkpoint import read_json
from purescope.models.plain import (
    FLAG,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    dictionary_of,
    known_only,
    list_of,
    one_of,
)

_STEPS, _CHARACTERS, _GROWTH = 16, 1000, 10_000
_MOST_ADDED, _ADDED_CHARACTERS = 20_000, 1_000_000


def require_bounded(copy: Path, path: Path, *, most: int) -> None:
    """Look into a copy of a tokenizer.json, called by its own path, before tokenizers builds what
    it says.

    Raises:
        ModelError: it is no JSON, its steps make more of a sentence than any tokenizer, or it adds
            too many words.
    """
    try:
        content = reading.read_json(copy, most=most)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", expected="a file of a tokenizer") from error
    except ValueError as error:
        raise ModelError(f"{path.parent}: no tokenizer: {path.name} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(
            f"{path.parent}: no tokenizer: {path.name} holds a {type(content).__name__}"
        )
    _require_steps(path, content.get("normalizer"))
    require_added(path, content.get("added_tokens"))


def require_added(path: Path, *places: Any) -> None:
    """Refuse more added words than any tokenizer has; they are compiled into one expression.

    Raises:
        ModelError: there are too many, or they are too long together.
    """
    words = [word for place in places for word in _words(place)]
    length = sum(map(len, words))
    if len(words) > _MOST_ADDED or length > _ADDED_CHARACTERS:
        raise ModelError(
            f"{path}: no tokenizer: it adds {len(words):,} words of {length:,} characters",
            expected=f"at most {_MOST_ADDED:,} words of {_ADDED_CHARACTERS:,} characters",
        )


def _words(place: Any) -> Iterator[str]:
    if isinstance(place, str):
        yield place
    elif isinstance(place, dict) and isinstance(place.get("content"), str):
        yield place["content"]
    elif isinstance(place, dict | list):
        for value in place.values() if isinstance(place, dict) else place:
            yield from _words(value)


def _require_steps(path: Path, normaliser: Any) -> None:
    steps, growth = 0, 1.0
    rest = [normaliser]
    while rest:
        step = rest.pop()
        if not isinstance(step, dict):
            continue
        rest += step["normalizers"] if isinstance(step.get("normalizers"), list) else []
        pattern, content = step.get("pattern"), step.get("content")
        texts = [
            content,
            step.get("prepend"),
            *(pattern.values() if isinstance(pattern, dict) else [pattern]),
        ]
        longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
        if isinstance(content, str) and content:
            # An expression may match the nothing between two characters.
            fixed = pattern.get("String") if isinstance(pattern, dict) else None
            growth *= (
                max(1.0, len(content) / len(fixed))
                if isinstance(fixed, str) and fixed
                else 1 + len(content)
            )
        steps += 1
        if steps > 2 * _STEPS or longest > _CHARACTERS or growth > _GROWTH:
            raise ModelError(
                f"{path}: no tokenizer: its normalizer can make more of a sentence than memory "
                f"holds",
                expected=f"at most {2 * _STEPS} steps with texts of {_CHARACTERS:,} characters, "
                f"which together make at "
                f"most {_GROWTH:,} characters of one",
            )


CONFIG = "tokenizer_config.json"
_LARGEST = 256_000_000  # bytes of a file: four times the largest that is known

CLASSES = frozenset(
    f"{name}Tokenizer"
    for name in (
        *(
            "Albert",
            "Bert",
            "CLIP",
            "DistilBert",
            "GPT2",
            "Gemma",
            "Llama",
            "M2M100",
            "MT5",
            "Nllb",
            "Roberta",
        ),
        *("Siglip", "Siglip2", "T5", "XLMRoberta"),
    )
)
"""Tokenizers of the CLIP and SigLIP models of transformers, and of open_clip's text towers; each
may end in "Fast".
"""

# Those whose file says all; without "Fast" as transformers 4 wrote the first.
_PLAIN_CLASSES = frozenset({"PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"})
# Where no class is named, transformers takes the one of the kind of model.
_MODEL_TYPES = frozenset(
    {
        "bert",
        "clip",
        "distilbert",
        "gemma",
        "gemma2",
        "gpt2",
        "m2m_100",
        "mt5",
        "roberta",
        "siglip",
        "siglip2",
        "t5",
    }
    | {"xlm-roberta"}
)
_COPIED = re.compile(
    r"tokenizer\.json|vocab\.json|merges\.txt|vocab\.txt|(spiece|sentencepiece\.bpe|tokenizer)\.model"
)

_COUNT = Kind(
    "a whole number below 1,000", lambda value: WHOLE.holds(value) and 0 <= int(str(value)) < 1000
)
_NUMBER = Kind(
    "a number", lambda value: NUMBER.holds(value) or isinstance(value, int)
)  # 10**30 means no limit
_WORD = {
    "content": TEXT,
    "lstrip": FLAG,
    "rstrip": FLAG,
    "normalized": FLAG,
    "single_word": FLAG,
    "special": FLAG,
}
_ADDED = dictionary_of({**_WORD, "__type": one_of("AddedToken")})
_TOKEN = TEXT | _ADDED | NOTHING
_TOKENS = list_of(TEXT | _ADDED, most=100_000)
_NAMED = Kind(
    "a dictionary of tokens",
    lambda value: isinstance(value, dict) and all(map(_TOKEN.holds, value.values())),
)
_NUMBERED = Kind(
    "a dictionary of numbers and tokens",
    lambda value: (
        isinstance(value, dict)
        and all(
            re.fullmatch("[0-9]{1,9}", number) and _ADDED.holds(token)
            for number, token in value.items()
        )
    ),
)
_INDEXED = Kind(
    "a dictionary of tokens and numbers",
    lambda value: isinstance(value, dict) and all(map(WHOLE.holds, value.values())),
)
_ADDING = ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder")
_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
OPTIONS: Mapping[str, Kind] = {
    **{f"{name}_token": _TOKEN for name in _SPECIAL},
    "additional_special_tokens": _TOKENS | NOTHING,
    "extra_special_tokens": _TOKENS | _NAMED | NOTHING,
    **dict.fromkeys(
        (
            *(
                "add_bos_token",
                "add_eos_token",
                "add_prefix_space",
                "clean_up_tokenization_spaces",
                "do_basic_tokenize",
            ),
            *(
                "do_lower_case",
                "keep_accents",
                "legacy",
                "legacy_behaviour",
                "remove_space",
                "split_special_tokens",
            ),
            *(
                "spaces_between_special_tokens",
                "strip_accents",
                "tokenize_chinese_chars",
                "trim_offsets",
            ),
            *("use_default_system_prompt", "add_dummy_prefix"),
        ),
        FLAG | NOTHING,
    ),
    **dict.fromkeys(
        (
            "model_max_length",
            "max_len",
            "max_length",
            "stride",
            "pad_to_multiple_of",
            "pad_token_type_id",
        ),
        _NUMBER | NOTHING,
    ),
    **dict.fromkeys(("extra_ids", "num_madeup_words"), _COUNT | NOTHING),
    **dict.fromkeys(
        (
            "errors",
            "language_codes",
            "src_lang",
            "tgt_lang",
            "truncation_strategy",
            "wordpieces_prefix",
        ),
        TEXT | NOTHING,
    ),
    **dict.fromkeys(("padding_side", "truncation_side"), one_of("left", "right") | NOTHING),
    "canonicalize": FLAG | NOTHING,
    "model_input_names": list_of(TEXT),
    "never_split": list_of(TEXT, most=1000) | NOTHING,
    "sp_model_kwargs": dictionary_of(
        dict.fromkeys(("add_bos", "add_eos", "reverse", "emit_unk_piece", "enable_sampling"), FLAG)
        | dict.fromkeys(("nbest_size", "alpha"), NUMBER)
    )
    | NOTHING,
}
"""What a tokenizer may be told, and what of `tokenizer_config.json` it is told: it changes tokens,
nothing else.
"""


class Folder:
    """A private folder, which is gone when nobody has it any more, at the latest when Python
    ends.
    """

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="purescope-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def __deepcopy__(self, _: object) -> "Folder":
        """Nobody writes into it: copies of a tokenizer share it."""
        return self


@contextmanager
def private_folder() -> Iterator[Path]:
    """A private folder for the time of a `with` block."""
    folder = Folder()
    try:
        yield folder.path
    finally:
        folder.remove()


def rebuild(source: Path, target: Path) -> None:
    """Write what is known of the tokenizer in a folder into another one.

    Args:
        source: the folder of the model or the tokenizer.
        target: the folder to write into; a config.json that it has stays, otherwise it gets one
            with the kind of model and nothing else, from which transformers takes the class where
            none is named.

    Raises:
        ModelError: a file is no regular one, is broken or too large, or asks for a class that is
            not in the table.
    """
    config, model = (_read(source / name) for name in (CONFIG, "config.json"))
    name = config.get("tokenizer_class") or model.get("tokenizer_class")
    if name is not None:
        _require_known_class(source, name)
    model_type = model.get("model_type")
    if (
        isinstance(model_type, str)
        and model_type in _MODEL_TYPES
        and not (target / "config.json").exists()
    ):
        _write(target / "config.json", {"model_type": model_type})
    tokens = {key: _TOKEN for key in config if _is_token(key)}
    rebuilt = known_only(
        config, {**tokens, "added_tokens_decoder": _NUMBERED, **OPTIONS}, f"{source / CONFIG}: it"
    )
    require_added(source / CONFIG, *(rebuilt.get(key) for key in _ADDING))
    if (source / CONFIG).exists() or name is not None:
        _write(target / CONFIG, rebuilt | ({"tokenizer_class": name} if name else {}))
    for name, known in (("special_tokens_map.json", None), ("added_tokens.json", _INDEXED)):
        if (source / name).exists():
            _write(target / name, _rebuilt_map(source / name, known))
    copied = sorted(path for path in source.iterdir() if _COPIED.fullmatch(path.name))
    for path in copied:
        _copy(path, target / path.name)
    if (target / "tokenizer.json").exists():
        require_bounded(target / "tokenizer.json", source / "tokenizer.json", most=_LARGEST)
    # transformers would make merges out of a vocabulary: others than the model's own, and in no
    # bounded time.
    if {path.name for path in copied} == {"vocab.json"}:
        raise ModelError(
            f"{source}: no tokenizer: vocab.json without merges.txt", fix="copy the whole folder"
        )


def require_own(folder: Path, *paths: Path) -> None:
    """Refuse links that lead out of a folder, but into the files of the same cache of the hub.

    What is read through a link stays on this machine; a copy of it, in a folder that is handed on,
    does not.

    Raises:
        ModelError: there is one.
    """
    inside = folder.resolve()
    blobs = [above / "blobs" for above in inside.parents[:4]]
    for path in paths:
        real = path.resolve()
        if path.exists() and not real.is_relative_to(inside) and real.parent not in blobs:
            raise ModelError(
                f"{path}: a link out of the folder, to {real}",
                expected="the model's own files, which are copied",
                fix="if it is meant, put the file itself in its place",
            )


def require_own_files(folder: Path) -> None:
    """The same of every file of a tokenizer.

    Raises:
        ModelError: a link leads out of the folder.
    """
    require_own(folder, *(path for path in sorted(folder.iterdir()) if is_known(path.name)))


def is_known(name: str) -> bool:
    """Whether a file of a tokenizer is called so."""
    return name in (CONFIG, "config.json", "special_tokens_map.json", "added_tokens.json") or bool(
        _COPIED.fullmatch(name)
    )


def _require_known_class(source: Path, name: object) -> None:
    if isinstance(name, str) and (
        {name, name.removesuffix("Fast")} & CLASSES or name in _PLAIN_CLASSES
    ):
        return
    if isinstance(name, str):
        raise ModelError(
            f"{source}: no tokenizer: it wants the class {name!r}",
            **near_miss(name, CLASSES | _PLAIN_CLASSES),
        )
    raise ModelError(
        f"{source}: no tokenizer: tokenizer_class is {name!r}", expected="the name of a tokenizer"
    )


def _is_token(key: str) -> bool:
    """Whether a key names one more special token of a model of its own."""
    return bool(re.fullmatch(r"[a-z0-9_]{1,60}_token", key)) and key not in OPTIONS


def _rebuilt_map(path: Path, known: Kind | None) -> dict[str, Any]:
    content = _read(path)
    if known is None:  # of names of special tokens
        kinds = {key: _TOKEN for key in content if _is_token(key)}
        kinds |= {
            key: OPTIONS[key]
            for key in OPTIONS
            if key.endswith(("_token", "_tokens")) and key[:4] != "add_"
        }
        return known_only(content, kinds | {"additional_special_tokens": _TOKENS}, f"{path}: it")
    if not known.holds(content):
        raise ModelError(f"{path}: no map of tokens", expected=known.words)
    return content


def _read(path: Path) -> dict[str, Any]:
    """A file of JSON; an empty dictionary where there is none."""
    if not (path.exists() or path.is_symlink()):
        return {}
    content = read_json(path, "the files of a tokenizer as transformers writes them")
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}", expected="a dictionary")
    return content


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
