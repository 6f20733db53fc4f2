"""Whether two descriptions say the same: texts to the letter, real numbers to a hundred-thousandth.

Another processor adds up in another order. Real numbers, which have a point or an exponent, may
therefore differ by 1e-5 of their size, or by 1e-6; whole numbers, texts and fingerprints may not.
Rounding grows with the largest numbers that are added, so of a column it is 1e-5 of its largest
value; and of its mix, which is a fraction of all sizes, 1e-5.
"""

import difflib
import re

RELATIVE, ABSOLUTE = 1e-5, 1e-6
_REAL = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?|-?\d+e[-+]?\d+")
_ENDS = re.compile(rf"real, .*?least ({_REAL.pattern}); most ({_REAL.pattern});")
_MIX = re.compile(rf"; mix ({_REAL.pattern});")


def same(one: str, other: str) -> bool:
    """Whether two lines say the same.

    Examples:
        >>> same("mean 0.3333333", "mean 0.3333334"), same("mean 0.333", "mean 0.334"), same("3 rows", "4 rows")
        (True, False, False)
        >>> column = "z: real, least -1.5; most 3.0; mean 1.0; mix 0.01; first 0.20001"
        >>> same(column, column.replace("0.20001", "0.20003")), same(column, column.replace("0.20001", "0.20005"))
        (True, False)
    """
    if one == other:
        return True
    if _REAL.sub("#", one) != _REAL.sub("#", other):
        return False
    mixes = [float(mix[1]) if (mix := _MIX.search(line)) else 0.0 for line in (one, other)]
    if abs(mixes[0] - mixes[1]) > RELATIVE:
        return False
    one, other = (_MIX.sub(";", line) for line in (one, other))
    ends = _ENDS.search(other)
    largest = max(abs(float(end)) for end in ends.groups()) if ends else 0.0
    pairs = zip(_REAL.findall(one), _REAL.findall(other), strict=True)
    return all(
        abs(float(a) - float(b)) <= ABSOLUTE + RELATIVE * max(abs(float(b)), largest)
        for a, b in pairs
    )


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
