"""Class names from anywhere: each class has one that can be read and written, and equal ones are
told.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence

from purescope.errors import PurescopeError, listed
from purescope.specs import is_text

MOST_CLASSES = 1_000_000
"""Classes of one data set or features file: fifty times as many as the largest known has."""

LONGEST_NAME = 1_000
"""Characters of a class name or a template: the towers read the first hundred words of a sentence,
and what cuts it into words takes half a minute for a word of 100,000 letters."""

_MOST_TEMPLATES = 10_000  # of which 80 are the most that are known


def check_class_names(
    names: Sequence[object], error: type[PurescopeError], *, where: str = ""
) -> None:
    """Refuse what cannot be a class name: what is no text, is empty, endless, or cannot be written;
    and too many.

    Args:
        names: of the classes, in the order of labels.
        error: which error to raise.
        where: what to call the list, with a space behind it.

    Raises:
        PurescopeError: one of them cannot, or there are over `MOST_CLASSES`.

    Examples:
        >>> from purescope.errors import InputError
        >>> check_class_names(["cat", " "], InputError)
        Traceback (most recent call last):
        purescope.errors.InputError: class 1 has the name ' '
          expected: a name for each class, as text
          to fix:   name it, or leave its images out
    """
    check_class_count(len(names), error, where=where)
    for label, name in enumerate(names):
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise error(
                f"{where}class {label} has a name of {len(name):,} characters, {name[:40]!r}...",
                expected=f"at most {LONGEST_NAME:,}",
                fix="shorten it",
            )
        if not isinstance(name, str) or not name.strip() or not is_text(name):
            raise error(
                f"{where}class {label} has the name {name!r}",
                expected="a name for each class, as text",
                fix="name it, or leave its images out",
            )


def check_class_count(count: int, error: type[PurescopeError], *, where: str = "") -> None:
    """Refuse more than `MOST_CLASSES`; `where` is what to call the list, with a space behind it.

    Raises:
        PurescopeError: there are more.
    """
    if count > MOST_CLASSES:
        raise error(f"{where}there are {count:,} classes", expected=f"at most {MOST_CLASSES:,}")


def check_lengths(
    names: Sequence[str], templates: Sequence[str], error: type[PurescopeError], *, where: str
) -> None:
    """Refuse words for prompts that are longer than `LONGEST_NAME`, and templates without an end.

    Raises:
        PurescopeError: one of them is, or there are too many.
    """
    for what, texts in (("the class name", names), ("the template", templates)):
        long = next((text for text in texts if len(text) > LONGEST_NAME), None)
        if long is not None:
            raise error(
                f"{where}{what} {long[:40]!r}... of {len(long):,} characters",
                expected=f"at most {LONGEST_NAME:,}",
                fix="shorten it",
            )
    if len(templates) > _MOST_TEMPLATES:
        raise error(
            f"{where}there are {len(templates):,} templates",
            expected=f"at most {_MOST_TEMPLATES:,}",
        )


def in_order(names: Iterable[str]) -> list[str]:
    """Sort the names of classes: by value where all are whole numbers, as lists of names for them
    are.

    Examples:
        >>> in_order(["10", "9", "1"]), in_order(["b10", "b9"])
        (['1', '9', '10'], ['b10', 'b9'])
    """
    distinct = sorted(set(names))
    if all(re.fullmatch(r"[0-9]{1,18}", name) for name in distinct):
        return sorted(distinct, key=lambda name: (int(name), name))
    return distinct


def warn_of_number_order(names: Sequence[str], what: str) -> None:
    """Warn where names that are numbers stand in another order than torchvision's, which sorts them
    as words.
    """
    if list(names) != sorted(names) and list(names) == in_order(names):
        warnings.warn(
            f"{what}: classes are called by numbers, and stand in the order of these "
            f"({listed(names)}), not as words",
            stacklevel=3,
        )


def warn_of_equal_names(names: Sequence[str], what: str) -> None:
    """Warn of classes that share a name: their prompts are equal, so an image is never given to the
    later ones.

    Examples:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     warn_of_equal_names(["crane", "cat", "crane"], "mine")
        >>> print(told[0].message)
        mine: 2 classes share a name, 'crane' (0, 2): no prompt tells them apart, and the first of them is taken
    """
    counts = Counter(names)
    if len(counts) == len(names):
        return
    labels: dict[str, list[int]] = {name: [] for name, count in counts.items() if count > 1}
    for label, name in enumerate(names):
        if name in labels:
            labels[name].append(label)
    shared = listed(
        [f"{name!r} ({listed([str(label) for label in who])})" for name, who in labels.items()]
    )
    warnings.warn(
        f"{what}: {sum(map(len, labels.values()))} classes share a name, {shared}: no prompt tells "
        f"them apart, and the "
        "first of them is taken",
        stacklevel=3,
    )


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, the second of two equal ones with a number.

    Examples:
        >>> told_apart(["crane", "tench", "crane"])
        ('crane', 'tench', 'crane (2)')
    """
    taken, apart, numbers = set(names), dict[str, None](), Counter[str]()
    for name in names:
        one, numbers[name] = name, max(1, numbers[name])
        while one in apart or (numbers[name] > 1 and one in taken):
            numbers[name] += 1
            one = f"{name} ({numbers[name]})"
        apart[one] = None
    return tuple(apart)
