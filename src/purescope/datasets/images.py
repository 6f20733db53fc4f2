"""Images that are opened when asked for, and the errors of those that cannot be."""

import contextlib
import hashlib
import io
import os
import struct
import typing
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from purescope.datasets._pillow import MOST_BYTES, decode
from purescope.errors import DatasetError
from purescope.files import open_regular

# Pillow has no error of its own for a broken file: what its decoders raise on damaged bytes.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

# What is tried on bytes from anywhere. Not all that Pillow has: for EPS it starts Ghostscript, for the sake of which a
# picture is a program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

FINGERPRINTED = "class names, labels, file names and contents"
"""What the fingerprint of a set of files covers, however large: a changed image of the same size is another image."""


@typing.runtime_checkable
class Images(typing.Protocol):
    """Anything with a length that gives an RGB image for an index: a list of images will do."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Image.Image: ...


@dataclass(frozen=True)
class LazyImages:
    """Images that a function reads, one at a time; safe to ask from several threads where the function is.

    Examples:
        >>> images = LazyImages(lambda index: Image.new("RGB", (8, 8)), length=2)
        >>> len(images), images[1].size
        (2, (8, 8))
    """

    read: Callable[[int], Image.Image]
    length: int

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Image.Image:
        if not 0 <= index < self.length:
            raise IndexError(f"image {index} of {self.length}")
        return self.read(index)


def open_rgb(file: Path | io.BytesIO, name: str, formats: tuple[str, ...] = _FORMATS) -> Image.Image:
    """Read one image as RGB, as torchvision's ImageFolder does: an EXIF orientation is not applied.

    Args:
        file: where the image is; a path must be that of a regular file.
        name: what to call it in an error.
        formats: Pillow's names of the formats to try; knowing the one saves half the time of a small image.

    Raises:
        DatasetError: it is not an image, or a damaged one, or one that is much larger than its file can mean.
    """
    try:
        with open_regular(file) if isinstance(file, Path) else contextlib.nullcontext(file) as stream:
            return decode(stream, formats)
    except _BROKEN as error:
        raise DatasetError(
            f"image {name}: {getattr(error, 'strerror', None) or error or type(error).__name__}",
            expected=f"an image, in one of the formats {', '.join(formats)}",
            fix="mend or remove it, or leave such images out with --on-bad-image skip (on_bad_image='skip')",
        ) from error


def open_files(paths: Sequence[Path], root: Path) -> LazyImages:
    """The images of these files, called by their paths below `root` in errors."""
    return LazyImages(lambda index: open_rgb(paths[index], name_below(root, paths[index])), len(paths))


def file_contents(paths: Sequence[Path], root: Path, *, most: int = MOST_BYTES) -> Iterator[bytes]:
    """What to fingerprint a set of files by, as `contents` has it.

    One that cannot be read counts as empty, as does what is no regular file and what has over `most` bytes.
    """

    def digest(index: int) -> bytes:
        try:
            with open_regular(paths[index]) as file:
                if os.fstat(file.fileno()).st_size <= most:
                    return hashlib.file_digest(file, "sha256").digest()
                return hashlib.sha256().digest()
        except (OSError, ValueError):  # an error of that image, when it is asked for
            return hashlib.sha256().digest()

    return contents([name_below(root, path) for path in paths], digest)


def contents(names: Sequence[str], digest: Callable[[int], bytes]) -> Iterator[bytes]:
    """What to fingerprint files by: the name of each with the SHA-256 of its bytes, which threads ask for."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for name, found in zip(names, pool.map(digest, range(len(names))), strict=True):
            yield name.encode(errors="surrogatepass") + b"\0" + found


def name_below(root: Path, path: Path) -> str:
    """What to call a file: its path below `root`, or all of it where it is not below.

    Examples:
        >>> name_below(Path("/data"), Path("/data/cats/7.png")), name_below(Path("/data"), Path("/tmp/7.png"))
        ('cats/7.png', '/tmp/7.png')
    """
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
