"""Hold what is asked of every file of a collection: the axes, the type, and which vectors."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from purescope.errors import InputError, listed
from purescope.reduce.axes import Axes
from purescope.reduce.rows import Counts, shorten

_WORDS = {
    "image": {"image", "images", "img", "imgs"},
    "text": {"text", "texts", "txt", "caption", "captions"},
}


def names_of(file: Path) -> tuple[str, str]:
    """Return the names that may say a tower: that of a file, and of its folder.

    The folder is that of a link, and not of what it leads to.

    Examples:
        >>> names_of(Path("laion/part/../img_emb/0.npy"))
        ('0', 'img_emb')
    """
    return file.stem, Path(os.path.abspath(file)).parent.name  # noqa: PTH100 keeps links


@dataclass(frozen=True, eq=False)
class Job:
    """What is made of each file.

    Args:
        axes: the rotation.
        keep: number of axes that are kept.
        dtype: ``float16`` or ``float32``; None for float16 where the vectors have it, else
            float32.
        normalise: scale rows to unit length over the kept axes.
        tower: ``image`` or ``text``; None to read it from the names of files, arrays and columns.
        column: name of the column of vectors in tables; None for the only one.
        array: name of the array in files with several; None for all of the right width.
    """

    axes: Axes
    keep: int
    dtype: str | None = None
    normalise: bool = True
    tower: str | None = None
    column: str | None = None
    array: str | None = None

    @property
    def neurons(self) -> int:
        """Number of dimensions of the vectors that are read."""
        return len(self.axes.image)

    def dtype_of(self, source: np.dtype) -> np.dtype:
        """Return the type of the vectors that are written."""
        if self.dtype is not None:
            return np.dtype(self.dtype)
        return np.dtype(np.float16 if source == np.float16 else np.float32)

    def rows(
        self,
        blocks: Iterable[np.ndarray],
        dtype: np.dtype,
        counts: Counts,
        names: tuple[str, ...],
        first: int = 0,
    ) -> Iterator[np.ndarray]:
        """Return blocks of vectors in the kept axes; `names` are the vectors', the file's and the
        folder's, and `first` is the number of the first row.
        """
        return shorten(
            blocks,
            self._matrices[self.tower_of(names)],
            dtype=self.dtype_of(dtype),
            normalise=self.normalise,
            name=names[0],
            counts=counts,
            first=first,
        )

    @cached_property
    def _matrices(self) -> dict[str, np.ndarray]:
        towers = {"image": self.axes.image, "text": self.axes.text}
        return {name: np.ascontiguousarray(axes[:, : self.keep]) for name, axes in towers.items()}

    @cached_property
    def is_shared(self) -> bool:
        """Whether both towers have the same axes."""
        return bool((self.axes.image == self.axes.text).all())

    def tower_of(self, names: Iterable[str]) -> str:
        """Return the tower that made vectors, from their names.

        Raises:
            InputError: the towers have different axes, and no name says which it was.
        """
        if self.tower is not None or self.is_shared:
            return self.tower or "image"
        names = list(names)
        for name in names:
            words = set(re.findall("[a-z]+", name.lower()))
            towers = [tower for tower, known in _WORDS.items() if words & known]
            if len(towers) == 1:
                return towers[0]
        raise InputError(
            f"{names[0]}: its name does not say which tower made the vectors, and the rotation has "
            "different axes for images and texts",
            expected="a name with the word image, img, text or caption in it, such as img_emb",
            fix="--tower image, or --tower text (tower='text')",
        )

    def check_width(self, width: int, name: str) -> None:
        """Refuse vectors of another number of dimensions than the rotation has.

        Raises:
            InputError: the vectors have another width.
        """
        if width != self.neurons:
            done = " (have they been shrunk already?)" if width == self.keep else ""
            raise InputError(
                f"{name} holds vectors of {width:,} dimensions{done}",
                expected=f"{self.neurons:,}, as {self.axes.file} has",
                fix="use the rotation of the model that made them",
            )

    def choose(self, widths: dict[str, int], file: str) -> list[str]:
        """Choose the arrays to shrink in a file that holds several.

        Args:
            widths: the width of each matrix of floating-point numbers.
            file: name of the file in an error.

        Returns:
            Their names; none if the file holds no matrix of floating-point numbers.

        Raises:
            InputError: no matrix has the width of the rotation, or the named array is none.
        """
        if self.array is not None and widths:
            if self.array not in widths:
                raise InputError(
                    f"{file}: no matrix of floating-point numbers is called {self.array!r}",
                    expected=f"one of {listed(widths)}",
                    fix="name another with --array (array=)",
                )
            self.check_width(widths[self.array], f"{file}, {self.array},")
            return [self.array]
        fitting = [name for name, width in widths.items() if width == self.neurons]
        if widths and not fitting:
            name, width = next(iter(widths.items()))
            self.check_width(width, f"{file}, {name},")
        return fitting
