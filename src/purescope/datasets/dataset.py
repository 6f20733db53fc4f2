"""Define a dataset, the rules for its class names and labels, and its fingerprint."""

import hashlib
import json
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from purescope.datasets.images import Images, reading_errors, select_images
from purescope.errors import DatasetError, PurescopeError, listed
from purescope.formats import definitions
from purescope.specs import is_text

_log = logging.getLogger(__name__)

MAX_CLASSES = 1_000_000
"""Most classes of one dataset or features file: fifty times the largest known number."""

MAX_TEXT_LENGTH = 1_000
"""Most characters of a class name or a template.

Text towers read the first hundred words of a sentence, and a tokenizer takes half a minute for one
word of 100,000 letters.
"""

_MAX_TEMPLATES = 10_000  # the longest known list has 80


@dataclass(frozen=True, eq=False)
class Dataset:
    """Hold labelled images and class names, and check them when they are put together.

    Args:
        name: a short name, used in file names: ``cifar10``.
        spec: the name that the user gave.
        classes: raw class names; a label is an index into them. A class may have no image.
        labels: ``[image]`` int64, one label for each image.
        images: gives the RGB image at an index; reading may raise a `DatasetError` that names the
            file.
        display_names: class names for prompts.
        templates: sentences with one ``{}`` for the class name.
        source: where the dataset comes from: licence, version, split, what the fingerprint covers.
        fingerprint: a hash of the content.
        skipped: the broken images that were left out, each with the reason.
        notes: the warnings given while the dataset was loaded: choices that were made, and what is
            unusual about it. Manifests record them.

    Raises:
        DatasetError: there are fewer than two classes, a class has no name, class names or
            templates are too long or too many, there is no image, a label is outside the classes,
            or lengths differ.

    Examples:
        >>> from PIL import Image
        >>> pets = Dataset(
        ...     name="pets",
        ...     spec="made by hand",
        ...     classes=("cat", "dog"),
        ...     labels=torch.tensor([0, 1, 1]),
        ...     images=[Image.new("RGB", (8, 8))] * 3,
        ...     display_names=("cat", "dog"),
        ...     templates=("a {}.",),
        ...     source={},
        ...     fingerprint="",
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
            raise DatasetError(f"the dataset {self.spec!r} has no name", expected="a short name")
        where = f"the dataset {self.name}: "
        if len(self.classes) < 2:
            count = f"one class, {self.classes[0]!r}" if self.classes else "no class"
            raise self._error(
                count,
                expected="at least two classes to choose between",
                fix="name the folder or table that holds all the classes",
            )
        check_class_names(self.classes, DatasetError, where=where)
        if len(self.display_names) != len(self.classes):
            raise self._error(
                f"{len(self.display_names)} display names",
                expected=f"{len(self.classes)}, one for each class",
            )
        check_lengths(self.display_names, self.templates, DatasetError, where=where)
        for template in self.templates or ("",):
            if template.count("{}") != 1:
                raise self._error(
                    f"the template {template!r}", expected="one {} for the class name"
                )
        self._check_labels()

    def __len__(self) -> int:
        return len(self.images)

    def _repr_html_(self) -> str:
        names = ", ".join(self.classes[:8]) + (", ..." if len(self.classes) > 8 else "")
        entries = {
            "spec": self.spec,
            "images": f"{len(self):,}",
            "classes": f"{len(self.classes):,}: {names}",
        }
        if self.templates:
            entries["first template"] = self.templates[0]
        return definitions(f"Dataset {self.name}", entries | dict(self.source))

    def _check_labels(self) -> None:
        if not len(self.images):
            raise self._error("no image", expected="at least one image")
        if self.labels.dtype != torch.int64 or self.labels.shape != (len(self.images),):
            raise self._error(
                f"{self.labels.dtype} labels of shape {list(self.labels.shape)}",
                expected=f"torch.int64 of shape [{len(self.images)}], one for each image",
            )
        outside = ((self.labels < 0) | (self.labels >= len(self.classes))).nonzero()
        if len(outside):
            index = int(outside[0, 0])
            raise self._error(
                f"the label {int(self.labels[index])} of image {index}",
                expected=f"0 to {len(self.classes) - 1}, for {len(self.classes)} classes",
            )

    def _error(self, came: str, *, expected: str, fix: str = "") -> DatasetError:
        return DatasetError(f"the dataset {self.name} has {came}", expected=expected, fix=fix)


def drop_bad_images(dataset: Dataset) -> Dataset:
    """Return the dataset without the images that cannot be read.

    The result lists them in `Dataset.skipped`, and the log counts them. To find them, every image
    is decoded once before anything is measured. Labels and images are selected by one list of
    indices, so they stay in step.

    Raises:
        DatasetError: no image can be read.
    """
    kept, skipped = readable_images(dataset.images, dataset.name)
    if not skipped:
        return dataset
    labels = dataset.labels[kept]
    return replace(
        dataset,
        labels=labels,
        images=select_images(dataset.images, kept),
        source={**dataset.source, "skipped": str(len(skipped))},
        fingerprint=fingerprint(
            dataset.classes, labels, [dataset.fingerprint.encode(), repr(kept).encode()]
        ),
        skipped=skipped,
    )


def readable_images(images: Images, name: str) -> tuple[list[int], tuple[str, ...]]:
    """Read every image once; return the indices of those that can be read, and the other errors.

    The log counts the others.

    Raises:
        DatasetError: no image can be read.
    """
    errors = reading_errors(images)
    kept = [index for index, error in enumerate(errors) if not error]
    skipped = tuple(filter(None, errors))
    if skipped and not kept:
        raise DatasetError(
            f"none of the {len(images)} images of {name} can be read; {skipped[0]}",
            expected="images that Pillow opens",
            fix="fetch or copy the dataset again",
        )
    if skipped:
        _log.warning(
            "%s: skipped %d of %d images, the first is %s",
            name,
            len(skipped),
            len(images),
            skipped[0],
        )
    return kept, skipped


def fingerprint(
    classes: Sequence[str], labels: Int64[Tensor, " image"], contents: Iterable[bytes | memoryview]
) -> str:
    """Return the SHA-256 of class names, labels and image contents.

    Args:
        classes: class names in the order of labels.
        labels: ``[image]``.
        contents: bytes that identify the images, such as hashes of their files.

    Examples:
        >>> fingerprint(["cat", "dog"], torch.tensor([0, 1]), [b"pixels"])[:8]
        '...'
    """
    digest = hashlib.sha256(json.dumps([*classes]).encode())
    digest.update(labels.numpy().astype("<i8").tobytes())
    for content in contents:
        digest.update(content)
    return digest.hexdigest()


def check_class_names(
    names: Sequence[object], error: type[PurescopeError], *, where: str = ""
) -> None:
    """Refuse names that no class can have, and too many names.

    A name must be text that is not blank, has at most `MAX_TEXT_LENGTH` characters and can be
    written to a file.

    Args:
        names: the class names, in the order of labels.
        error: which error to raise.
        where: a name for the list, with a space at its end.

    Raises:
        PurescopeError: a name is refused, or there are more than `MAX_CLASSES`.

    Examples:
        >>> from purescope.errors import InputError
        >>> check_class_names(["cat", " "], InputError)
        Traceback (most recent call last):
        purescope.errors.InputError: class 1 has the name ' '
          expected: a name for each class, as text
          to fix:   name the class, or leave its images out
    """
    check_class_count(len(names), error, where=where)
    for label, name in enumerate(names):
        if isinstance(name, str) and len(name) > MAX_TEXT_LENGTH:
            raise error(
                f"{where}class {label} has a name of {len(name):,} characters, {name[:40]!r}...",
                expected=f"at most {MAX_TEXT_LENGTH:,} characters",
                fix="shorten it",
            )
        if not isinstance(name, str) or not name.strip() or not is_text(name):
            raise error(
                f"{where}class {label} has the name {name!r}",
                expected="a name for each class, as text",
                fix="name the class, or leave its images out",
            )


def check_class_count(count: int, error: type[PurescopeError], *, where: str = "") -> None:
    """Refuse more than `MAX_CLASSES` classes.

    Args:
        count: the number of classes.
        error: which error to raise.
        where: a name for the list, with a space at its end.

    Raises:
        PurescopeError: there are more.
    """
    if count > MAX_CLASSES:
        raise error(f"{where}there are {count:,} classes", expected=f"at most {MAX_CLASSES:,}")


def check_lengths(
    names: Sequence[str], templates: Sequence[str], error: type[PurescopeError], *, where: str
) -> None:
    """Refuse class names and templates that are too long, and too many templates.

    Raises:
        PurescopeError: a text has more than `MAX_TEXT_LENGTH` characters, or there are too many
            templates.
    """
    for kind, texts in (("the class name", names), ("the template", templates)):
        long_text = next((text for text in texts if len(text) > MAX_TEXT_LENGTH), None)
        if long_text is not None:
            raise error(
                f"{where}{kind} {long_text[:40]!r}... of {len(long_text):,} characters",
                expected=f"at most {MAX_TEXT_LENGTH:,} characters",
                fix="shorten it",
            )
    if len(templates) > _MAX_TEMPLATES:
        raise error(
            f"{where}there are {len(templates):,} templates",
            expected=f"at most {_MAX_TEMPLATES:,}",
        )


def sort_names(names: Iterable[str]) -> list[str]:
    """Return the distinct class names in sorted order, by value where all are whole numbers.

    Lists of names for classes that are called by numbers follow that order, too.

    Examples:
        >>> sort_names(["10", "9", "1"]), sort_names(["b10", "b9"])
        (['1', '9', '10'], ['b10', 'b9'])
    """
    distinct = sorted(set(names))
    if all(re.fullmatch(r"[0-9]{1,18}", name) for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return distinct


def warn_of_number_order(names: Sequence[str], where: str) -> None:
    """Warn where names that are numbers are in numeric order; torchvision sorts them as text."""
    if list(names) != sorted(names) and list(names) == sort_names(names):
        warnings.warn(
            f"{where}: the class names are numbers and are sorted by value ({listed(names)}), "
            "not as text",
            stacklevel=3,
        )


def warn_of_equal_names(names: Sequence[str], where: str) -> None:
    """Warn of classes that share a name.

    Their prompts are equal, so no image is ever assigned to any but the first of them.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn_of_equal_names(["crane", "cat", "crane"], "mine")
        >>> print(caught[0].message)
        mine: 2 classes share a name, 'crane' (0, 2): their prompts are equal, and only the first
        of them is ever predicted
    """
    counts = Counter(names)
    if len(counts) == len(names):
        return
    labels: dict[str, list[int]] = {name: [] for name, count in counts.items() if count > 1}
    for label, name in enumerate(names):
        if name in labels:
            labels[name].append(label)
    shared = [f"{name!r} ({listed(map(str, numbers))})" for name, numbers in labels.items()]
    warnings.warn(
        f"{where}: {sum(map(len, labels.values()))} classes share a name, {listed(shared)}: "
        "their prompts are equal, and only the first of them is ever predicted",
        stacklevel=3,
    )


def make_names_unique(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names with a number added to each one that is there already.

    Examples:
        >>> make_names_unique(["crane", "tench", "crane"])
        ('crane', 'tench', 'crane (2)')
    """
    taken, unique, numbers = set(names), dict[str, None](), Counter[str]()
    for name in names:
        candidate, numbers[name] = name, max(1, numbers[name])
        # A number that makes another name of the list is passed over.
        while candidate in unique or (numbers[name] > 1 and candidate in taken):
            numbers[name] += 1
            candidate = f"{name} ({numbers[name]})"
        unique[candidate] = None
    return tuple(unique)
