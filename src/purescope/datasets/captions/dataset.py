"""Define a dataset of images with captions, and check it."""

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from purescope.datasets.dataset import readable_images
from purescope.datasets.images import Images, select_images
from purescope.errors import DatasetError, listed, shortened
from purescope.formats import definitions
from purescope.specs import is_text

MAX_CAPTION_LENGTH = 10_000
"""Most characters of a caption: the longest published ones have a thousand words.

A tokenizer takes half a minute for one word of 100,000 letters.
"""

_MAX_CAPTIONS = 10_000_000  # of one dataset: ten times those of all published ones together


@dataclass(frozen=True, eq=False)
class CaptionDataset:
    """Hold images with captions, and check them when they are put together.

    Args:
        name: a short name, used in file names.
        spec: the name that the user gave.
        images: gives the RGB image at an index; reading may raise a `DatasetError` that names the
            file.
        captions: for each image its captions, at least one.
        source: where the dataset comes from: format, split, what the fingerprint covers.
        image_fingerprint: a hash of the images' content.
        skipped: the broken images that were left out, each with the reason.
        notes: the warnings given while the dataset was loaded.

    Raises:
        DatasetError: there are fewer than two images, numbers of images and captions differ, an
            image has no caption, or a caption is blank, too long or no text.

    Examples:
        >>> from PIL import Image
        >>> pets = CaptionDataset(
        ...     name="pets",
        ...     spec="made by hand",
        ...     images=[Image.new("RGB", (8, 8))] * 2,
        ...     captions=(("a cat", "a cat on a mat"), ("a dog",)),
        ...     source={},
        ...     image_fingerprint="",
        ... )
        >>> len(pets), pets.texts, pets.image_of
        (2, ('a cat', 'a cat on a mat', 'a dog'), (0, 0, 1))
    """

    name: str
    spec: str
    images: Images
    captions: tuple[tuple[str, ...], ...]
    source: Mapping[str, str]
    image_fingerprint: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise DatasetError(f"the dataset {self.spec!r} has no name", expected="a short name")
        if len(self.images) != len(self.captions):
            raise self._error(
                f"{len(self.images)} images, and captions of {len(self.captions)}",
                expected="captions for each image",
            )
        if len(self.images) < 2:
            raise self._error(
                f"{len(self.images)} image{'s' * (len(self.images) != 1)}",
                expected="at least two images to search among",
            )
        total = sum(map(len, self.captions))
        if total > _MAX_CAPTIONS:
            raise self._error(f"{total:,} captions", expected=f"at most {_MAX_CAPTIONS:,}")
        for index, captions in enumerate(self.captions):
            self._check_captions(index, captions)

    def __len__(self) -> int:
        return len(self.images)

    def _repr_html_(self) -> str:
        entries = {
            "spec": self.spec,
            "images": f"{len(self):,}",
            "captions": f"{len(self.texts):,}",
            "first caption": shortened(self.texts[0], 200),
        }
        return definitions(f"Captions {self.name}", entries | dict(self.source))

    @property
    def texts(self) -> tuple[str, ...]:
        """All captions, image by image."""
        return tuple(caption for captions in self.captions for caption in captions)

    @property
    def image_of(self) -> tuple[int, ...]:
        """The index of the image that each of `texts` belongs to."""
        return tuple(index for index, captions in enumerate(self.captions) for _ in captions)

    @property
    def fingerprint(self) -> str:
        """A hash of the images and their captions."""
        content = json.dumps([self.image_fingerprint, *self.captions])
        return hashlib.sha256(content.encode()).hexdigest()

    def _check_captions(self, index: int, captions: Sequence[str]) -> None:
        if not captions:
            raise self._error(
                f"no caption for image {index}",
                expected="at least one caption for each image",
                fix="add one, or leave the image out",
            )
        for caption in captions:
            if not isinstance(caption, str) or not caption.strip() or not is_text(caption):
                raise self._error(f"the caption {caption!r} of image {index}", expected="a text")
            if len(caption) > MAX_CAPTION_LENGTH:
                raise self._error(
                    f"a caption of {len(caption):,} characters, of image {index}: "
                    f"{caption[:40]!r}...",
                    expected=f"at most {MAX_CAPTION_LENGTH:,} characters",
                    fix="shorten it",
                )

    def _error(self, came: str, *, expected: str, fix: str = "") -> DatasetError:
        return DatasetError(f"the dataset {self.name} has {came}", expected=expected, fix=fix)


def drop_bad_captioned(dataset: CaptionDataset) -> CaptionDataset:
    """Return the dataset without the images that cannot be read, and without their captions.

    Every image is decoded once before anything is measured. `CaptionDataset.skipped` lists those
    that are left out.

    Raises:
        DatasetError: fewer than two images can be read.
    """
    kept, skipped = readable_images(dataset.images, dataset.name)
    if not skipped:
        return dataset
    return replace(
        dataset,
        images=select_images(dataset.images, kept),
        captions=tuple(dataset.captions[index] for index in kept),
        source={**dataset.source, "skipped": str(len(skipped))},
        image_fingerprint=hash_contents([dataset.image_fingerprint.encode(), repr(kept).encode()]),
        skipped=skipped,
    )


def hash_contents(contents: Iterable[bytes]) -> str:
    """Return the SHA-256 of the contents of images, in their order.

    Examples:
        >>> hash_contents([b"ab", b"c"]) == hash_contents([b"a", b"bc"])
        False
    """
    digest = hashlib.sha256()
    for content in contents:
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def warn_of_equal_captions(
    name: str, captions: Sequence[str], image_of: Sequence[int], images: int
) -> None:
    """Warn of captions that several images share, and of captions that one image has twice.

    A caption finds the image that it was written for. An equal caption of another image describes
    that one, too, and counts as a miss.

    Args:
        name: a name for the dataset.
        captions: all captions.
        image_of: the index of the image of each caption.
        images: the number of images.

    Examples:
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_equal_captions("pets", ["a cat", "a cat", "a dog"], [0, 1, 2], 3)
        >>> print(caught[0].message)
        pets: 2 of 3 images have a caption that another image has, too ('a cat'): only an image's
        own captions count as found, so recall is lower than it is
    """
    images_of: dict[str, set[int]] = {}
    for caption, image in zip(captions, image_of, strict=True):
        images_of.setdefault(caption, set()).add(image)
    shared = {caption: owners for caption, owners in images_of.items() if len(owners) > 1}
    if shared:
        count = len(set().union(*shared.values()))
        names = listed((repr(shortened(caption, 60)) for caption in shared), 3)
        warnings.warn(
            f"{name}: {count:,} of {images:,} images have a caption that another image has, too "
            f"({names}): only an image's own captions count as found, so recall is lower than it "
            "is",
            stacklevel=3,
        )
    repeated = len(captions) - sum(map(len, images_of.values()))
    if repeated:
        warnings.warn(
            f"{name}: {repeated:,} captions repeat one of the same image; each counts",
            stacklevel=3,
        )
