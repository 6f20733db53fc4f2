from collections.abc import Iterator

import pytest

from tests.report.remembered import Remembered


@pytest.fixture(autouse=True, scope="module")
def remembered() -> Iterator[None]:
    """A page that cannot be written starts no process that draws, and the others of a file share
    what was drawn.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("purescope.report.writing.drawing", Remembered().drawing)
        yield
