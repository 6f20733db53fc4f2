"""Twenty words in place of the vocabulary's thousand, which take as long to encode as all images of
a test.
"""

import pytest

from purescope.datasets import prompts

FEW = prompts.vocabulary("paper").names[:20]


def few_words(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(prompts, "_imagenet_names", lambda: FEW)
