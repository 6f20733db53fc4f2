"""A data set: labelled images, and the names of their classes."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from purescope.datasets.images import Images, LazyImages
from purescope.datasets.names import check_class_names, check_lengths
from purescope.errors import DatasetError
from purescope.formats import definitions

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled images and class names; whatever it was read from, it has been checked.

    Args:
        name: short, used in file names: ``cifar10``.
        spec: what the user named it by.
        classes: raw class names; a label is an index into them. A class may have no image.
        labels: ``[image]`` int64, one for each image.
        images: gives the RGB image of an index; reading may fail with a `DatasetError` that names
            the file.
        display_names: class names to put into prompts.
        templates: sentences with one ``{}`` for the name.
        source: where it is from: licence, version, split, what the fingerprint covers.
        fingerprint: a hash of the content.
        skipped: broken images that were left out, and why.
        notes: what was told of it when it was loaded: choices made, and what is odd about it.
            Manifests have them.

    Raises:
        DatasetError: fewer than two classes, one without a name, words that are longer or more than
            any are meant, no image, a label outside the classes, or lengths differ.

    Examples:
        >>> from PIL import Image
        >>> pets = Dataset(
        ...     name="pets", spec="made by hand", classes=("cat", "dog"), labels=torch.tensor([0, 1, 1]),
        ...     images=[Image.new("RGB", (8, 8))] * 3, display_names=("cat", "dog"), templates=("a {}.",),
        ...     source={}, fingerprint="",
        ... )
        >>> len(pets), pets.classes[pets.labels[2]]
        (3, 'dog')
    """

    name: str
    spec: str
    classes: tuple[str, ...]
    labels: Int64[Tensor, " image"]
    images: Images
    display_names: tuple[str, ...]
    templates: tuple[str, ...]
    source: Mapping[str, str]
    fingerprint: str
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise DatasetError(f"the data set {self.spec!r} has no name", expected="a short one")
        if len(self.classes) < 2:
            named = f"one class, {self.classes[0]!r}" if self.classes else "no class"
            fix = "name the folder or table that holds all the classes"
            raise self._wrong(named, expected="at least two to choose between", fix=fix)
        check_class_names(self.classes, DatasetError, where=f"the data set {self.name}: ")
        if len(self.display_names) != len(self.classes):
            raise self._wrong(
                f"{len(self.display_names)} display names", expected=f"{len(self.classes)}"
            )
        check_lengths(
            self.display_names, self.templates, DatasetError, where=f"the data set {self.name}: "
        )
        for template in self.templates or ("",):
            if template.count("{}") != 1:
                raise self._wrong(
                    f"the template {template!r}", expected="one {} for the class name"
                )
        self._check_labels()

    def __len__(self) -> int:
        return len(self.images)

    def _repr_html_(self) -> str:
        names = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        entries = {"images": f"{len(self):,}", "classes": f"{len(self.classes):,}: {names}"}
        entries |= {"first template": self.templates[0]} if self.templates else {}
        return definitions(
            f"Data set {self.name}", {"spec": self.spec} | entries | dict(self.source)
        )

    def _check_labels(self) -> None:
        if not len(self.images):
            raise self._wrong("no image", expected="at least one")
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.images),):
            raise self._wrong(
                f"{self.labels.dtype} labels of shape {list(self.labels.shape)}",
                expected=f"torch.int64 of shape [{len(self.images)}], one for each image",
            )
        outside = ((self.labels < 0) | (self.labels >= len(self.classes))).nonzero()
        if len(outside):
            index = int(outside[0, 0])
            raise self._wrong(
                f"the label {int(self.labels[index])} of image {index}",
                expected=f"0 to {len(self.classes) - 1}, for {len(self.classes)} classes",
            )

    def _wrong(self, came: str, *, expected: str, fix: str = "") -> DatasetError:
        return DatasetError(f"the data set {self.name} has {came}", expected=expected, fix=fix)


def without_bad_images(dataset: Dataset) -> Dataset:
    """The data set without the images that cannot be read: listed in `skipped`, and counted in the
    log.

    Every image is decoded once to find out, before anything is measured: labels and images stay in
    step because both are taken by one list of indices.

    Raises:
        DatasetError: no image can be read.
    """

    def fault(index: int) -> str:
        try:
            dataset.images[index]
        except DatasetError as error:
            return error.came
        return ""

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        faults = list(pool.map(fault, range(len(dataset))))
    kept = [index for index, found in enumerate(faults) if not found]
    skipped = tuple(filter(None, faults))
    if not skipped:
        return dataset
    if not kept:
        raise DatasetError(
            f"none of the {len(dataset)} images of {dataset.name} can be read; {skipped[0]}",
            expected="images that Pillow opens",
            fix="fetch or copy the data set again",
        )
    _log.warning(
        "%s: skipped %d of %d images, first %s", dataset.name, len(skipped), len(faults), skipped[0]
    )
    labels = dataset.labels[kept]
    return replace(
        dataset,
        labels=labels,
        images=_chosen(dataset.images, kept),
        source={**dataset.source, "skipped": str(len(skipped))},
        fingerprint=fingerprint(
            dataset.classes, labels, [dataset.fingerprint.encode(), repr(kept).encode()]
        ),
        skipped=skipped,
    )


def _chosen(images: Images, rows: Sequence[int]) -> Images:
    if isinstance(images, LazyImages):
        return images.chosen(rows)
    return LazyImages(lambda index: images[rows[index]], len(rows))


def fingerprint(
    classes: Sequence[str], labels: Int64[Tensor, " image"], contents: Iterable[bytes | memoryview]
) -> str:
    """SHA-256 of class names, labels and what stands for the images.

    Examples:
        >>> fingerprint(["cat", "dog"], torch.tensor([0, 1]), [b"pixels"])[:8]
        '...'
    """
    digest = hashlib.sha256(json.dumps([*classes]).encode())
    digest.update(labels.numpy().astype("<i8").tobytes())
    for part in contents:
        digest.update(part)
    return digest.hexdigest()
