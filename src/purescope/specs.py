"""What stands before a name: ``LABEL=``, for models and data sets alike."""

import errno
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath

from purescope.errors import InputError, ModelError, OutputError

WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
"""How files of weights end."""

_MOST = 1_000_000  # neurons that a text may name; without a limit, a range can fill the memory


def split_label(spec: str) -> tuple[str | None, str]:
    """A label ends at the first "=", unless that is part of a path or of what follows a prefix.

    Examples:
        >>> split_label("CC3M LaCLIP=runs/lr=3/best.pt"), split_label("runs/lr=3/best.pt")
        (('CC3M LaCLIP', 'runs/lr=3/best.pt'), (None, 'runs/lr=3/best.pt'))
    """
    label, equals, name = spec.partition("=")
    if not equals or re.search(r"[:/\\]", label) or exists(to_path(spec)):
        return None, spec
    return label, name


def split_part(name: str) -> tuple[str, str | None]:
    """Take apart ``FILE#PART``, one of several models in a file; a file that is called so is meant
    itself.

    Examples:
        >>> split_part("run/last.pt#model_ema"), split_part("run/last.pt")
        (('run/last.pt', 'model_ema'), ('run/last.pt', None))
    """
    file, hash_sign, part = name.rpartition("#")
    return (file, part) if hash_sign and not exists(to_path(name)) else (name, None)


def is_label(text: str) -> bool:
    """Whether something can be called this: labels become parts of file names, two of them of one
    name.

    Examples:
        >>> is_label("My pets"), is_label("a/b"), is_label(" "), is_label("x" * 101)
        (True, False, False, False)
    """
    short = is_text(text) and len(text.encode()) <= 100
    return bool(text.strip()) and short and not re.search(r"[/\\\x00-\x1f]", text)


def is_text(text: str) -> bool:
    r"""Whether this can be written: a byte of a path that is no UTF-8 comes as a lone surrogate,
    which cannot.

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
    """Read a path as typed: a first "~" is home, and "~name" of nobody on this machine a file of
    that name.

    The one way in which a path comes into purescope, on the command line and in Python. What comes
    out does not begin with "~", so that no library below takes a folder of that name for a home
    again; reading it twice changes nothing.

    Examples:
        >>> to_path("data/cats").as_posix(), to_path("~/cats") == Path.home() / "cats"
        ('data/cats', True)
        >>> to_path("./~/cats") == Path.cwd() / "~" / "cats"
        True
    """
    path = Path(name)
    if os.fspath(name).startswith("~"):
        with suppress(RuntimeError):  # nobody's
            path = path.expanduser()
    return Path.cwd() / path if path.parts[:1] and path.parts[0].startswith("~") else path


def to_folder(name: str | os.PathLike[str]) -> Path:
    """Read the path of a folder to write into.

    Raises:
        OutputError: it is empty, cannot be the name of anything, or is a loop of links.

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
                f"{path} is a link that leads back to itself", expected=expected, fix="name another"
            ) from error
    return path


def is_inside(name: str) -> bool:
    """Whether a name is one of a file or folder below the one where it stands, on any system.

    Examples:
        >>> [is_inside(name) for name in ("merges.txt.gz", "words/merges.txt.gz", ".", "../x", "/x", "~/x", "C:/x")]
        [True, True, True, False, False, False, False]
    """
    paths = PurePosixPath(name), PureWindowsPath(name)
    leads_out = any(path.anchor or ".." in path.parts for path in paths)
    return bool(name) and "\0" not in name and not leads_out and not name.startswith("~")


def no_model(name: str) -> ModelError:
    """What to say of a model that is neither a known name nor a path; the closest of the files
    beside that path.

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
    """Ask whether one of these was meant; nothing where there is none.

    Examples:
        >>> meant_by(["a.pt", "b.pt"])
        "did you mean 'a.pt' or 'b.pt'?"
    """
    return f"did you mean {' or '.join(map(repr, names[:3]))}?" if names else ""


def closest_beside(path: Path) -> list[str]:
    """Files of weights, files of the same kind and folders beside a path whose names are close to
    its own.
    """
    there = path.parent.glob("*") if is_folder(path.parent) else ()
    beside = [
        file.name for file in there if file.suffix in {path.suffix, *WEIGHTS} or is_folder(file)
    ]
    return (
        [str(path.with_name(file)) for file in get_close_matches(path.name, beside)]
        if path.name
        else []
    )


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


def parse_keep(text: str) -> list[int]:
    """The ks that a text names: numbers and inclusive ranges ``first:last:step``, separated by
    commas.

    Raises:
        InputError: a part is neither.

    Examples:
        >>> parse_keep("16, 200:500:100")
        [16, 200, 300, 400, 500]
    """
    ks: list[int] = []
    for part in text.split(","):
        try:
            numbers = [int(number) for number in part.split(":")]
            first, last, step = {1: (numbers * 2 + [1])[:3], 2: [*numbers, 1], 3: numbers}[
                len(numbers)
            ]
            if step < 1 or last < first:
                raise ValueError("a range that counts down or stands still")
            if last > _MOST:
                raise ValueError("no embedding has as many neurons")
            ks += range(first, last + 1, step)
        except (ValueError, KeyError) as error:
            raise InputError(
                f"--keep {text!r}: {part.strip()!r} is neither a whole number nor a rising range",
                expected="numbers and ranges first:last:step, such as 200:500:50 or 64,128,256, up "
                "to a million",
                fix=_meant(part.strip()),
            ) from error
    return ks


def _meant(part: str) -> str:
    """A range in another spelling, or one that falls, as we spell it; without a step, in ten at
    most that are round.

    Examples:
        >>> _meant("100-500"), _meant("500:100:-25"), _meant("many")
        ('did you mean 100:500:50?', 'did you mean 100:500:25?', '')
    """
    found = re.fullmatch(r"(\d{1,6})\s*(?:-|–|\.\.+|to|:)\s*(\d{1,6})(?::-?(\d{1,6}))?", part)
    if found is None:
        return ""
    first, last = sorted((int(found[1]), int(found[2])))
    steps = [scale * step for scale in (1, 10, 100, 1000, 10_000) for step in (1, 5)]
    step = int(found[3] or 0) or next(
        step for step in [*steps, 100_000] if last - first <= 10 * step
    )
    return f"did you mean {first}:{last}:{step}?"
