"""What stands before a name: ``LABEL=``, for models and data sets alike."""

import os
import re
from pathlib import Path


def split_label(spec: str) -> tuple[str | None, str]:
    """A label ends at the first "=", unless that is part of a path or of what follows a prefix.

    Examples:
        >>> split_label("CC3M LaCLIP=runs/lr=3/best.pt"), split_label("runs/lr=3/best.pt")
        (('CC3M LaCLIP', 'runs/lr=3/best.pt'), (None, 'runs/lr=3/best.pt'))
    """
    label, equals, name = spec.partition("=")
    if not equals or re.search(r"[:/\\]", label) or exists(Path(spec)):
        return None, spec
    return label, name


def is_label(text: str) -> bool:
    """Whether something can be called this: labels become parts of file names, two of them of one name.

    Examples:
        >>> is_label("My pets"), is_label("a/b"), is_label(" "), is_label("x" * 101)
        (True, False, False, False)
    """
    short = is_text(text) and len(text.encode()) <= 100
    return bool(text.strip()) and short and not re.search(r"[/\\\x00-\x1f]", text)


def is_text(text: str) -> bool:
    r"""Whether this can be written: a byte of a path that is no UTF-8 comes as a lone surrogate, which cannot.

    Examples:
        >>> is_text("café"), is_text("caf\udce9")
        (True, False)
    """
    return text.encode(errors="replace").decode() == text


def short_name(text: str) -> str:
    """The name of a data set, from that of its file, folder or repository.

    Examples:
        >>> short_name("my pets (new)")
        'my_pets_new_'
    """
    return re.sub(r"[^\w.-]+", "_", text)


def to_path(name: str | os.PathLike[str]) -> Path:
    """A path as typed; "~" is home, and "~name" of nobody on this machine a file of that name.

    Examples:
        >>> to_path("data/cats").as_posix()
        'data/cats'
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name too long for a file is none.

    Examples:
        >>> is_folder(Path()), is_folder(Path("x" * 5000))
        (True, False)
    """
    try:
        return path.is_dir()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Whether something is there, whatever a user may have typed for its name."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long for a file, or with a NUL in it, is none
        return False
