"""Accuracy against guessing."""

import math

_STANDARD_ERRORS = 3


def against_chance(accuracy: float, chance: float, images: int) -> str:
    """Tell where an accuracy stands: "above", "at chance" (within three standard errors of it), or "below chance".

    Args:
        accuracy: a fraction of the images.
        chance: accuracy of guessing, one in the number of classes.
        images: how many.

    Examples:
        >>> against_chance(0.30, 0.10, images=200)
        'above'
        >>> against_chance(0.11, 0.10, images=200)
        'at chance'
        >>> against_chance(0.052, 0.10, images=1812)
        'below chance'
    """
    error = math.sqrt(chance * (1 - chance) / images)
    if abs(accuracy - chance) <= _STANDARD_ERRORS * error:
        return "at chance"
    return "above" if accuracy > chance else "below chance"
