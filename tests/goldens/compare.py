"""Whether two descriptions say the same: texts to the letter, real numbers to a hundred-thousandth.

Another processor adds up in another order. Real numbers, which have a point or an exponent, may
therefore differ by 1e-5 of their size, or by 1e-6; whole numbers, texts and fingerprints may not.
"""

import difflib
import re

RELATIVE, ABSOLUTE = 1e-5, 1e-6
_REAL = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")


def same(one: str, other: str) -> bool:
    """Whether two lines say the same.

    Examples:
        >>> same("mean 0.3333333", "mean 0.3333334"), same("mean 0.333", "mean 0.334"), same("3 rows", "4 rows")
        (True, False, False)
    """
    if one == other:
        return True
    if _REAL.sub("#", one) != _REAL.sub("#", other):
        return False
    pairs = zip(_REAL.findall(one), _REAL.findall(other), strict=True)
    return all(abs(float(a) - float(b)) <= ABSOLUTE + RELATIVE * abs(float(b)) for a, b in pairs)


def settled(kept: list[str], found: list[str]) -> list[str]:
    """What was found, with lines that say the same as a kept one as they were kept: only what
    changed differs.
    """
    blank = [[_REAL.sub("#", line) for line in lines] for lines in (kept, found)]
    lines = list(found)
    for block in difflib.SequenceMatcher(None, *blank, autojunk=False).get_matching_blocks():
        for step in range(block.size):
            if same(kept[block.a + step], found[block.b + step]):
                lines[block.b + step] = kept[block.a + step]
    return lines


def difference(kept: list[str], found: list[str]) -> str:
    """What changed, as a unified diff; empty if nothing did."""
    return "\n".join(
        difflib.unified_diff(kept, settled(kept, found), "kept", "found", n=1, lineterm="")
    )
