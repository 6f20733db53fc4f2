"""How many neurons to keep: the ks, checked, by default, and as a text names them."""

import re
from collections.abc import Iterable

from purescope.errors import InputError

_MOST = 1_000_000  # neurons that a text may name; without a limit, a range can fill the memory


def check_keep(keep: int | Iterable[int], neurons: int) -> list[int]:
    """The ks to evaluate: ascending, without repeats, each from 1 to `neurons`.

    Raises:
        InputError: there is no k, or one is not a whole number in that range.

    Examples:
        >>> check_keep([300, 200, 200], neurons=512)
        [200, 300]
    """
    plain: object = (
        keep.tolist() if hasattr(keep, "tolist") else keep
    )  # of an array, or of its numbers
    ks = set()
    for k in plain if isinstance(plain, Iterable) and not isinstance(plain, str) else [plain]:
        if isinstance(k, bool) or not hasattr(k, "__index__") or k not in range(1, neurons + 1):
            raise InputError(
                f"k = {k!r} neurons to keep",
                expected=f"a whole number from 1 to {neurons}, the number of neurons of this model",
                fix="change --keep KS (keep=KS)",
            )
        ks.add(int(k))
    if not ks:
        raise InputError(
            "no k to evaluate",
            expected=f"at least one from 1 to {neurons}",
            fix="--keep KS (keep=KS)",
        )
    return sorted(ks)


def default_keep(neurons: int) -> list[int]:
    """The experiment's ks, 200 to 500 in steps of 50 at d = 512, and the same fractions of any
    other d.

    Examples:
        >>> default_keep(512)
        [200, 250, 300, 350, 400, 450, 500]
        >>> default_keep(768)
        [300, 375, 450, 525, 600, 675, 750]
    """
    return sorted({max(1, round(k * neurons / 512)) for k in range(200, 501, 50)})


def parse_keep(text: str) -> list[int]:
    """The ks that a text names: numbers and inclusive ranges ``first:last:step``, separated by
    commas.

    Raises:
        InputError: a part is neither.

    Examples:
        >>> parse_keep("16, 200:500:100")
        [16, 200, 300, 400, 500]
    """
    ks: list[int] = []
    for part in text.split(","):
        try:
            numbers = [int(number) for number in part.split(":")]
            first, last, step = {1: (numbers * 2 + [1])[:3], 2: [*numbers, 1], 3: numbers}[
                len(numbers)
            ]
            if step < 1 or last < first:
                raise ValueError("a range that counts down or stands still")
            if last > _MOST:
                raise ValueError("no embedding has as many neurons")
            ks += range(first, last + 1, step)
        except (ValueError, KeyError) as error:
            raise InputError(
                f"--keep {text!r}: {part.strip()!r} is neither a whole number nor a rising range",
                expected="numbers and ranges first:last:step, such as 200:500:50 or 64,128,256, up "
                "to a million",
                fix=_meant(part.strip()),
            ) from error
    return ks


def _meant(part: str) -> str:
    """A range in another spelling, or one that falls, as we spell it; without a step, in ten at
    most that are round.

    Examples:
        >>> _meant("100-500"), _meant("500:100:-25"), _meant("many")
        ('did you mean 100:500:50?', 'did you mean 100:500:25?', '')
    """
    found = re.fullmatch(r"(\d{1,6})\s*(?:-|–|\.\.+|to|:)\s*(\d{1,6})(?::-?(\d{1,6}))?", part)
    if found is None:
        return ""
    first, last = sorted((int(found[1]), int(found[2])))
    steps = [scale * step for scale in (1, 10, 100, 1000, 10_000) for step in (1, 5)]
    step = int(found[3] or 0) or next(
        step for step in [*steps, 100_000] if last - first <= 10 * step
    )
    return f"did you mean {first}:{last}:{step}?"
