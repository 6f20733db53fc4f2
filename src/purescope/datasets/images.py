"""Images that are opened when asked for, and the errors of those that cannot be."""

import contextlib
import hashlib
import io
import os
import struct
import typing
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from purescope.datasets.decoding import (
    MOST_BYTES,
    Colours,
    Convert,
    decode,
    look_at,
    needs_more,
    on_white,
    without_transparency,
)
from purescope.errors import DatasetError
from purescope.files.reading import open_regular

# Pillow has no error of its own for a broken file: what its decoders raise on damaged bytes.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

# What is tried on bytes from anywhere. Not all that Pillow has: for EPS it starts Ghostscript, for
# the sake of which a picture is a program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

_Open: typing.TypeAlias = io.BufferedReader | io.BytesIO

FINGERPRINTED = "class names, labels, file names and contents"
"""What the fingerprint of a set of files covers, however large: a changed image of the same size is
another image.
"""


@typing.runtime_checkable
class Images(typing.Protocol):
    """Anything with a length that gives an RGB image for an index: a list of images will do."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Image.Image: ...


@dataclass(frozen=True)
class LazyImages:
    """Images that a function reads, one at a time; safe to ask from several threads where the
    function is.

    Args:
        read: gives the image of an index.
        length: how many there are.
        read_paper: gives what protocol paper makes of it, for sets where that is another image.

    Examples:
        >>> images = LazyImages(lambda index: Image.new("RGB", (8, 8)), length=2)
        >>> len(images), images[1].size
        (2, (8, 8))
    """

    read: Callable[[int], Image.Image]
    length: int
    read_paper: Callable[[int], Image.Image] | None = None

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Image.Image:
        if not 0 <= index < self.length:
            raise IndexError(f"image {index} of {self.length}")
        return self.read(index)

    @property
    def of_paper(self) -> "LazyImages":
        """The images as protocol paper has them."""
        return self if self.read_paper is None else LazyImages(self.read_paper, self.length)

    def chosen(self, rows: Sequence[int]) -> "LazyImages":
        """Some of the images, in this order."""
        paper = self.read_paper
        return LazyImages(
            lambda index: self.read(rows[index]),
            len(rows),
            None if paper is None else lambda index: paper(rows[index]),
        )


def of_protocol(images: Images, protocol: str) -> Images:
    """Return the images as a protocol has them: paper drops transparency, native puts white behind
    it.
    """
    return images.of_paper if protocol == "paper" and isinstance(images, LazyImages) else images


def open_rgb(
    file: Path | io.BytesIO,
    name: str,
    formats: tuple[str, ...] = _FORMATS,
    *,
    convert: Convert = on_white,
) -> Image.Image:
    """Read one image as RGB; an EXIF orientation is not applied, as torchvision's ImageFolder does
    not.

    Args:
        file: where the image is; a path must be that of a regular file.
        name: what to call it in an error.
        formats: Pillow's names of the formats to try; knowing the one saves half the time of a
            small image.
        convert: makes RGB of it.

    Raises:
        DatasetError: it is not an image, or a damaged one, or one that is much larger than its file
            can mean.
    """
    try:
        with (
            open_regular(file) if isinstance(file, Path) else contextlib.nullcontext(file) as stream
        ):
            return decode(stream, formats, convert)
    except _BROKEN as error:
        raise DatasetError(
            f"image {name}: {getattr(error, 'strerror', None) or error or type(error).__name__}",
            expected=f"an image, in one of the formats {', '.join(formats)}",
            fix="mend or remove it, or leave such images out with --on-bad-image skip "
            "(on_bad_image='skip')",
        ) from error


@dataclass(frozen=True)
class Looked:
    """What was seen of the images of a set, before any is decoded.

    Args:
        contents: what to fingerprint each by: its name, the SHA-256 of its bytes, and how it
            becomes RGB where Pillow's own conversion is another.
        colours: of each.
    """

    contents: Sequence[bytes]
    colours: Sequence[Colours]

    def warn(self, where: str) -> None:
        """Warn of images that are read in another way than Pillow converts them."""
        clear = sum(found.transparent for found in self.colours)
        deep = sum(found.deep for found in self.colours)
        if clear:
            warnings.warn(
                f"{where}: {clear} of {len(self.colours)} images have transparency: white is put "
                f"behind it (protocol "
                "paper drops it, as the experiment's script does)",
                stacklevel=3,
            )
        if deep:
            warnings.warn(
                f"{where}: {deep} of {len(self.colours)} images are grey with more than 8 bits: "
                f"the upper 8 are read",
                stacklevel=3,
            )

    def images(
        self, read: Callable[[int, Convert], Image.Image], *, paper: Convert | None = None
    ) -> LazyImages:
        """Images that `read` opens and converts.

        Args:
            read: opens the image of an index and converts it.
            paper: how protocol paper converts it; by default it drops transparency.
        """
        if paper is None and any(found.transparent for found in self.colours):
            paper = without_transparency
        return LazyImages(
            lambda index: read(index, on_white),
            len(self.colours),
            None if paper is None else lambda index: read(index, paper),
        )


def open_files(
    paths: Sequence[Path], root: Path, where: str, *, paper: Convert | None = None
) -> tuple[LazyImages, Looked]:
    """Look at image files, which are called by their paths below `root` in errors, and `where` in
    warnings.
    """

    def open_one(index: int) -> _Open:
        return open_regular(paths[index])

    looked = look_at_images([name_below(root, path) for path in paths], open_one)
    looked.warn(where)
    images = looked.images(
        lambda index, convert: open_rgb(
            paths[index], name_below(root, paths[index]), convert=convert
        ),
        paper=paper,
    )
    return images, looked


def look_at_images(names: Sequence[str], open_one: Callable[[int], _Open]) -> Looked:
    """Hash the images of a set and look at their headers, in threads.

    One that cannot be read counts as empty, as does what is no regular file and what is larger than
    any image.
    """

    def look(index: int) -> tuple[bytes, Colours]:
        try:
            with open_one(index) as file:
                return _digest(file, MOST_BYTES), look_at(file, _FORMATS)
        except (OSError, ValueError, DatasetError):  # an error of that image, when it is asked for
            return hashlib.sha256().digest(), Colours()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        found = list(pool.map(look, range(len(names))))
    contents = [
        _named(name, digest) + reading(colours)
        for name, (digest, colours) in zip(names, found, strict=True)
    ]
    return Looked(contents, [colours for _, colours in found])


def look_at_starts(lengths: Sequence[int], read: Callable[[int, int], bytes]) -> list[Colours]:
    """Look at the headers of images that lie in larger files, in threads; most are told by their
    first bytes.

    Args:
        lengths: of each image, in bytes.
        read: gives so many bytes of an image from its start.
    """

    def look(index: int) -> Colours:
        try:
            start = read(index, min(lengths[index], 64))
            whole = (
                read(index, lengths[index])
                if needs_more(start) and lengths[index] <= MOST_BYTES
                else start
            )
            return look_at(io.BytesIO(whole), _FORMATS)
        except DatasetError:
            return Colours()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(look, range(len(lengths))))


def file_contents(paths: Sequence[Path], root: Path, *, most: int = MOST_BYTES) -> Iterator[bytes]:
    """What to fingerprint a set of files by: the name of each with the SHA-256 of its bytes, which
    threads ask for.

    One that cannot be read counts as empty, as does what is no regular file and what has over
    `most` bytes.
    """

    def digest(path: Path) -> bytes:
        try:
            with open_regular(path) as file:
                return _digest(file, most)
        except (OSError, ValueError):
            return hashlib.sha256().digest()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for path, found in zip(paths, pool.map(digest, paths), strict=True):
            yield _named(name_below(root, path), found)


def _digest(file: _Open, most: int) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return (
        hashlib.file_digest(file, "sha256").digest() if size <= most else hashlib.sha256().digest()
    )


def _named(name: str, digest: bytes) -> bytes:
    return name.encode(errors="surrogatepass") + b"\0" + digest


def reading(colours: Colours) -> bytes:
    """Say for the fingerprint how an image is read where it was once read otherwise: caches have
    features of that.
    """
    return b"\0on white" * colours.transparent + b"\0upper bits" * colours.deep


def name_below(root: Path, path: Path) -> str:
    """What to call a file: its path below `root`, or all of it where it is not below.

    Examples:
        >>> name_below(Path("/data"), Path("/data/cats/7.png")), name_below(Path("/data"), Path("/tmp/7.png"))
        ('cats/7.png', '/tmp/7.png')
    """
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
