"""Reading what users type: labels, names of models and datasets, paths, and the ks to keep."""

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath

from purescope.errors import InputError, ModelError, OutputError

WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""Suffixes of files of weights."""

_MOST = 1_000_000  # largest k in a text; without a limit, a range could fill the memory


def split_label(spec: str) -> tuple[str | None, str]:
    """Split ``LABEL=NAME`` at the first "=", unless that belongs to a path or follows a prefix.

    Examples:
        >>> split_label("CC3M LaCLIP=runs/lr=3/best.pt"), split_label("runs/lr=3/best.pt")
        (('CC3M LaCLIP', 'runs/lr=3/best.pt'), (None, 'runs/lr=3/best.pt'))
    """
    label, equals, name = spec.partition("=")
    if not equals or re.search(r"[:/\\]", label) or exists(to_path(spec)):
        return None, spec
    return label, name


def split_part(name: str) -> tuple[str, str | None]:
    """Split ``FILE#PART``, one of several models in a file, unless a file has this whole name.

    Examples:
        >>> split_part("run/last.pt#model_ema"), split_part("run/last.pt")
        (('run/last.pt', 'model_ema'), ('run/last.pt', None))
    """
    file, hash_sign, part = name.rpartition("#")
    return (file, part) if hash_sign and not exists(to_path(name)) else (name, None)


def is_label(text: str) -> bool:
    """Tell whether a text can be a label: labels become parts of file names, sometimes two in one
    name.

    Examples:
        >>> is_label("My pets"), is_label("a/b"), is_label(" "), is_label("x" * 101)
        (True, False, False, False)
    """
    short = is_text(text) and len(text.encode()) <= 100
    return bool(text.strip()) and short and not re.search(r"[/\\\x00-\x1f]", text)


def is_text(text: str) -> bool:
    r"""Tell whether this can be written as UTF-8; a byte of a path that is not UTF-8 cannot.

    Python reads such a byte as a lone surrogate.

    Examples:
        >>> is_text("café"), is_text("caf\udce9")
        (True, False)
    """
    return text.encode(errors="replace").decode() == text


def short_name(text: str) -> str:
    """Make the name of a dataset from the name of its file, folder or repository.

    Examples:
        >>> short_name("my pets (new)")
        'my_pets_new_'
    """
    return re.sub(r"[^\w.-]+", "_", text)


def to_path(name: str | os.PathLike[str]) -> Path:
    """Read a path as typed: a first "~" is home, and "~name" a file if no user has that name.

    All paths come into purescope in this way, on the command line and in Python. The result does
    not begin with "~", so that no library takes a folder of that name for a home folder. Reading
    the result again changes nothing.

    Examples:
        >>> to_path("data/cats").as_posix(), to_path("~/cats") == Path.home() / "cats"
        ('data/cats', True)
        >>> to_path("./~/cats") == Path.cwd() / "~" / "cats"
        True
    """
    path = Path(name)
    if os.fspath(name).startswith("~"):
        with suppress(RuntimeError):  # no user has this name
            path = path.expanduser()
    return Path.cwd() / path if str(path).startswith("~") else path


def to_folder(name: str | os.PathLike[str]) -> Path:
    """Read the path of a folder to write into.

    Raises:
        OutputError: it is empty, not a possible file name, or a loop of links.

    Examples:
        >>> to_folder("")
        Traceback (most recent call last):
        purescope.errors.OutputError: a folder without a name
          expected: the folder to write into
          to fix:   name one; the current folder is .
    """
    expected = "the folder to write into"
    if not os.fspath(name).strip():
        raise OutputError(
            "a folder without a name", expected=expected, fix="name one; the current folder is ."
        )
    if "\0" in os.fspath(name) or not is_text(os.fspath(name)):
        raise OutputError(
            f"a folder called {os.fspath(name)!r}",
            expected=f"{expected}, in UTF-8",
            fix="choose another --out",
        )
    path = to_path(name)
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OutputError(
                f"{path} is a link that leads back to itself",
                expected=expected,
                fix="choose another --out",
            ) from error
    return path


def is_inside(name: str) -> bool:
    """Tell whether a name leads below the folder that it is relative to, on any system.

    Examples:
        >>> [is_inside(name) for name in ("merges.txt.gz", "words/merges.txt.gz", ".")]
        [True, True, True]
        >>> [is_inside(name) for name in ("../x", "/x", "~/x", "C:/x")]
        [False, False, False, False]
    """
    paths = PurePosixPath(name), PureWindowsPath(name)
    leads_out = any(path.anchor or ".." in path.parts for path in paths)
    return bool(name) and "\0" not in name and not leads_out and not name.startswith("~")


def no_model(name: str) -> ModelError:
    """Make the error for a model that is neither a known name nor a path.

    It suggests files with a similar name beside that path.

    Examples:
        >>> no_model("gone.pt").came
        "no model or file 'gone.pt'"
    """
    path = to_path(name)
    return ModelError(
        f"no model or file {name!r}",
        expected="a path that exists, or one of the forms that `purescope models` lists",
        fix=meant_by(closest_beside(path)),
    )


def meant_by(names: Sequence[str]) -> str:
    """Ask whether one of these names was meant; return "" if there are none.

    Examples:
        >>> meant_by(["a.pt", "b.pt"])
        "did you mean 'a.pt' or 'b.pt'?"
    """
    return f"did you mean {' or '.join(map(repr, names[:3]))}?" if names else ""


def closest_beside(path: Path) -> list[str]:
    """Find folders, files of weights and files of the same kind with a name similar to a path's."""
    if not path.name or not is_folder(path.parent):
        return []
    suffixes = {path.suffix, *WEIGHTS}
    names = [
        file.name for file in path.parent.glob("*") if file.suffix in suffixes or is_folder(file)
    ]
    return [str(path.with_name(name)) for name in get_close_matches(path.name, names)]


def is_folder(path: Path) -> bool:
    """Tell whether a folder exists; a name that is too long for a file does not.

    Examples:
        >>> is_folder(Path()), is_folder(Path("x" * 5000))
        (True, False)
    """
    try:
        return path.is_dir()
    except OSError:
        return False


def exists(path: Path) -> bool:
    """Tell whether a path exists, whatever a user may have typed."""
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that is too long, or contains NUL
        return False


def parse_keep(text: str) -> list[int]:
    """Read ks from a text: numbers and inclusive ranges ``first:last:step``, separated by commas.

    Raises:
        InputError: an entry is neither.

    Examples:
        >>> parse_keep("16, 200:500:100")
        [16, 200, 300, 400, 500]
    """
    ks: list[int] = []
    for entry in text.split(","):
        try:
            numbers = [int(number) for number in entry.split(":")]
            if len(numbers) > 3:
                raise ValueError("more than three numbers")
            first = numbers[0]
            last = numbers[1] if len(numbers) > 1 else first
            step = numbers[2] if len(numbers) > 2 else 1
            if step < 1 or last < first:
                raise ValueError("the range does not increase")
            if last > _MOST:
                raise ValueError("no embedding has that many neurons")
            ks += range(first, last + 1, step)
        except ValueError as error:
            raise InputError(
                f"--keep {text!r}: {entry.strip()!r} is neither a whole number nor an increasing "
                "range",
                expected="numbers and ranges first:last:step, such as 200:500:50 or 64,128,256, up "
                "to a million",
                fix=_suggest_range(entry.strip()),
            ) from error
    return ks


def _suggest_range(entry: str) -> str:
    """Suggest our spelling of a range in another spelling, or of a decreasing range.

    Without a step, the suggestion has a round step and at most ten steps.

    Examples:
        >>> _suggest_range("100-500"), _suggest_range("500:100:-25"), _suggest_range("many")
        ('did you mean 100:500:50?', 'did you mean 100:500:25?', '')
    """
    match = re.fullmatch(r"(\d{1,6})\s*(?:-|–|\.\.+|to|:)\s*(\d{1,6})(?::-?(\d{1,6}))?", entry)
    if match is None:
        return ""
    first, last = sorted((int(match[1]), int(match[2])))
    steps = [scale * step for scale in (1, 10, 100, 1000, 10_000) for step in (1, 5)]
    steps = [step for step in [*steps, 100_000] if last - first <= 10 * step]
    step = int(match[3] or 0) or steps[0]
    return f"did you mean {first}:{last}:{step}?"
