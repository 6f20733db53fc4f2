"""Files appear whole: each is written beside its place and renamed into it, so a reader never sees half a file."""

import os
import re
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from purescope.errors import OutputError

AGAIN = "make it again: run the command that wrote it, with --overwrite (overwrite=True)"


def slug(text: str) -> str:
    """A label as part of a file name, the same for labels that a file system may take for one.

    Case, forms of Unicode and ß against ss make no difference, as on macOS and Windows.

    Examples:
        >>> slug("CC3M LaCLIP"), slug("Straße") == slug("STRASSE"), slug("caf\u00e9") == slug("cafe\u0301")
        ('cc3m_laclip', True, True)
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return re.sub(r"[\W_]+", "_", folded).strip("_") or "unnamed"


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file, and the folder it stands in if that is new."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A file to write in place of `path`, renamed into its place when the block ends well, removed when it does not.

    Raises:
        OutputError: the folder or the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", fix="choose another --out") from error
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", fix="free some space, or choose another --out"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(pattern: str) -> str:
    """The pattern of what `atomic_path` leaves of such files where the process is killed.

    Examples:
        >>> unfinished("figures/purity_gap_*.png")
        'figures/.purity_gap_*-????????.png'
    """
    path = PurePosixPath(pattern)
    return str(path.with_name(f".{path.stem}-????????{path.suffix}"))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
