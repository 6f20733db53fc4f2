"""Open images when they are asked for, hash their files, and report those that cannot be read."""

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
    MAX_BYTES,
    Colours,
    Convert,
    convert_on_white,
    decode,
    drop_transparency,
    needs_whole_file,
    read_colours,
)
from purescope.errors import DatasetError
from purescope.files.reading import open_regular

# Pillow has no error of its own for a broken file: these are what its decoders raise on damaged
# bytes.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    ArithmeticError, RuntimeError, MemoryError, struct.error, zlib.error,
    Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip

# The formats that are tried on untrusted bytes. Not all that Pillow has: for EPS it starts
# Ghostscript, and an EPS picture is a program.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

_File: typing.TypeAlias = io.BufferedReader | io.BytesIO

FINGERPRINTED = "class names, labels, file names and contents"
"""What the fingerprint of image files covers, however large they are.

File sizes would not do: a changed image of the same size is another image.
"""


@typing.runtime_checkable
class Images(typing.Protocol):
    """Describe a sequence of RGB images: a length and an image for each index, as a list has."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Image.Image: ...


@dataclass(frozen=True)
class LazyImages:
    """Read images with a function, one at a time; thread-safe if the function is.

    Args:
        read: gives the image at an index.
        length: the number of images.
        read_paper: gives the image under protocol paper, for datasets where it differs.

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
    def paper_images(self) -> "LazyImages":
        """Return the images under protocol paper."""
        return self if self.read_paper is None else LazyImages(self.read_paper, self.length)

    def select(self, rows: Sequence[int]) -> "LazyImages":
        """Return the images at these indices, in this order."""
        read_paper = self.read_paper
        return LazyImages(
            lambda index: self.read(rows[index]),
            len(rows),
            None if read_paper is None else lambda index: read_paper(rows[index]),
        )


def reading_errors(images: Images) -> list[str]:
    """Read every image once, in threads; return why each cannot be read, "" for one that can."""

    def reading_error(index: int) -> str:
        try:
            images[index]
        except DatasetError as error:
            return error.came
        return ""

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(reading_error, range(len(images))))


def select_images(images: Images, rows: Sequence[int]) -> LazyImages:
    """Return the images at these indices, in this order."""
    if isinstance(images, LazyImages):
        return images.select(rows)
    return LazyImages(lambda index: images[rows[index]], len(rows))


def images_for(images: Images, protocol: str) -> Images:
    """Return the images under a protocol.

    Protocol paper drops transparency; native puts a white background behind it.
    """
    if protocol == "paper" and isinstance(images, LazyImages):
        return images.paper_images
    return images


def open_rgb(
    file: Path | io.BytesIO,
    name: str,
    formats: tuple[str, ...] = _FORMATS,
    *,
    convert: Convert = convert_on_white,
) -> Image.Image:
    """Read one image as RGB.

    An EXIF orientation is not applied; torchvision's ImageFolder does not apply it either.

    Args:
        file: where the image is; a path must be that of a regular file.
        name: a name for the image in errors.
        formats: Pillow's names of the formats to try; to give the only one saves half the time of a
            small image.
        convert: converts the opened image to RGB.

    Raises:
        DatasetError: the file is not an image, is damaged, or declares far more pixels than a file
            of its size can hold.
    """
    try:
        with (
            open_regular(file) if isinstance(file, Path) else contextlib.nullcontext(file) as stream
        ):
            return decode(stream, formats, convert)
    except _BROKEN as error:
        raise DatasetError(
            f"image {name}: {getattr(error, 'strerror', None) or error or type(error).__name__}",
            expected=f"an image in one of the formats {', '.join(formats)}",
            fix="repair or remove it, or leave such images out with --on-bad-image skip "
            "(on_bad_image='skip')",
        ) from error


@dataclass(frozen=True)
class ImageScan:
    """Hold what is known of the images of a dataset before any of them is decoded.

    Args:
        contents: for each image, the bytes that go into the fingerprint: its name, the SHA-256 of
            its bytes, and a mark where it is not converted to RGB as Pillow would.
        colours: of each image.
    """

    contents: Sequence[bytes]
    colours: Sequence[Colours]

    def warn(self, where: str) -> None:
        """Warn of images that are not converted to RGB as Pillow would."""
        transparent = sum(colours.transparent for colours in self.colours)
        deep = sum(colours.deep for colours in self.colours)
        if transparent:
            warnings.warn(
                f"{where}: {transparent} of {len(self.colours)} images have transparency: they get "
                "a white background (protocol paper drops transparency, as the experiment's script "
                "does)",
                stacklevel=3,
            )
        if deep:
            warnings.warn(
                f"{where}: {deep} of {len(self.colours)} images are grey with more than 8 bits: "
                "only the upper 8 bits are used",
                stacklevel=3,
            )

    def lazy_images(
        self, read: Callable[[int, Convert], Image.Image], *, paper: Convert | None = None
    ) -> LazyImages:
        """Return images that `read` opens and converts.

        Args:
            read: opens the image at an index and converts it.
            paper: the conversion under protocol paper; by default it drops transparency.
        """
        if paper is None and any(colours.transparent for colours in self.colours):
            paper = drop_transparency
        return LazyImages(
            lambda index: read(index, convert_on_white),
            len(self.colours),
            None if paper is None else lambda index: read(index, paper),
        )


def open_files(
    paths: Sequence[Path], root: Path, where: str, *, paper: Convert | None = None
) -> tuple[LazyImages, ImageScan]:
    """Scan image files and return them as lazy images.

    Args:
        paths: the image files.
        root: errors name files by their paths below this folder.
        where: a name for the dataset in warnings.
        paper: the conversion under protocol paper; by default it drops transparency.
    """
    names = [path_below(root, path) for path in paths]
    scan = scan_images(names, lambda index: open_regular(paths[index]))
    scan.warn(where)
    images = scan.lazy_images(
        lambda index, convert: open_rgb(paths[index], names[index], convert=convert), paper=paper
    )
    return images, scan


def scan_images(names: Sequence[str], open_file: Callable[[int], _File]) -> ImageScan:
    """Hash the images of a dataset and read their headers, in threads.

    An image that cannot be read counts as empty, as does one that is not a regular file or is
    larger than any image.

    Args:
        names: of the images, for the fingerprint.
        open_file: opens the image at an index.
    """

    def scan_image(index: int) -> tuple[bytes, Colours]:
        try:
            with open_file(index) as file:
                return _hash(file, MAX_BYTES), read_colours(file, _FORMATS)
        except (OSError, ValueError, DatasetError):  # raised again when the image is asked for
            return hashlib.sha256().digest(), Colours()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        scanned = list(pool.map(scan_image, range(len(names))))
    contents = [
        _name_and_hash(name, digest) + conversion_mark(colours)
        for name, (digest, colours) in zip(names, scanned, strict=True)
    ]
    return ImageScan(contents, [colours for _, colours in scanned])


def read_all_colours(
    sizes: Sequence[int], read_start: Callable[[int, int], bytes]
) -> list[Colours]:
    """Read the headers of images that are parts of larger files, in threads.

    For most images the first bytes are enough.

    Args:
        sizes: of the images, in bytes.
        read_start: gives the first bytes of the image at an index, as many as asked for.
    """

    def colours_at(index: int) -> Colours:
        try:
            start = read_start(index, min(sizes[index], 64))
            if needs_whole_file(start) and sizes[index] <= MAX_BYTES:
                start = read_start(index, sizes[index])
            return read_colours(io.BytesIO(start), _FORMATS)
        except DatasetError:
            return Colours()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(colours_at, range(len(sizes))))


def hash_files(paths: Sequence[Path], root: Path, *, max_bytes: int = MAX_BYTES) -> Iterator[bytes]:
    """Yield the name of each file with the SHA-256 of its bytes, for a fingerprint.

    Threads read the files. A file that cannot be read counts as empty, as does one that is not a
    regular file or has more than `max_bytes` bytes.

    Args:
        paths: the files.
        root: the names are paths below this folder.
        max_bytes: size of the largest file that is read.
    """

    def hash_file(path: Path) -> bytes:
        try:
            with open_regular(path) as file:
                return _hash(file, max_bytes)
        except (OSError, ValueError):
            return hashlib.sha256().digest()

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for path, digest in zip(paths, pool.map(hash_file, paths), strict=True):
            yield _name_and_hash(path_below(root, path), digest)


def _hash(file: _File, max_bytes: int) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > max_bytes:
        return hashlib.sha256().digest()
    return hashlib.file_digest(file, "sha256").digest()


def _name_and_hash(name: str, digest: bytes) -> bytes:
    return name.encode(errors="surrogatepass") + b"\0" + digest


def conversion_mark(colours: Colours) -> bytes:
    """Return a mark for the fingerprint of an image that earlier versions converted otherwise.

    Caches may hold features of the same bytes under the earlier conversion.
    """
    return b"\0on white" * colours.transparent + b"\0upper bits" * colours.deep


def path_below(root: Path, path: Path) -> str:
    """Return a path relative to `root`, or the whole path where it is not below `root`.

    Examples:
        >>> path_below(Path("/data"), Path("/data/cats/7.png"))
        'cats/7.png'
        >>> path_below(Path("/data"), Path("/tmp/7.png"))
        '/tmp/7.png'
    """
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()
