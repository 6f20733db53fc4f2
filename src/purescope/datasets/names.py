"""Class names from anywhere: each class has one that can be read and written, and equal ones are told."""

import warnings
from collections import Counter
from collections.abc import Sequence

from purescope.errors import PurescopeError, listed
from purescope.specs import is_text


def check_class_names(names: Sequence[object], error: type[PurescopeError], *, where: str = "") -> None:
    """Refuse what cannot be a class name: what is no text, is empty, or cannot be written.

    Args:
        names: of the classes, in the order of labels.
        error: which error to raise.
        where: what to call the list, with a space behind it.

    Raises:
        PurescopeError: one of them cannot.

    Examples:
        >>> from purescope.errors import InputError
        >>> check_class_names(["cat", " "], InputError)
        Traceback (most recent call last):
        purescope.errors.InputError: class 1 has the name ' '
          expected: a name for each class, as text
          to fix:   name it, or leave its images out
    """
    for label, name in enumerate(names):
        if not isinstance(name, str) or not name.strip() or not is_text(name):
            raise error(
                f"{where}class {label} has the name {name!r}",
                expected="a name for each class, as text",
                fix="name it, or leave its images out",
            )


def warn_of_equal_names(names: Sequence[str], what: str) -> None:
    """Warn of classes that share a name: their prompts are equal, so an image is never given to the later ones.

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
    shared = listed([f"{name!r} ({listed([str(label) for label in who])})" for name, who in labels.items()])
    warnings.warn(
        f"{what}: {sum(map(len, labels.values()))} classes share a name, {shared}: no prompt tells them apart, and the "
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
