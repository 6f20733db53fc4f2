import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from purescope.report.writing import write_report
from tests.report.made import make_folder
from tests.report.parsed import Element, parse
from tests.report.remembered import Remembered


@pytest.fixture(scope="session")
def drawn() -> Remembered:
    """What was drawn for any page of these files."""
    return Remembered()


@contextmanager
def remembering(drawn: Remembered) -> Iterator[None]:
    """Take what was drawn before, in place of the process that draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("purescope.report.writing.drawing", drawn.drawing)
        yield


@pytest.fixture(autouse=True, scope="module")
def remembered(drawn: Remembered) -> Iterator[None]:
    """All pages share what was drawn for one of them, until the files of this folder end; a test
    that is of the drawing takes the process that draws.
    """
    with remembering(drawn):
        yield


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, drawn: Remembered) -> Path:
    """A folder with all that a sweep of two models on two datasets writes, and its report."""
    out = make_folder(
        tmp_path_factory.mktemp("report") / "run", notes=["a doubt about <b>farm</b>"]
    )
    with remembering(drawn):
        write_report(out)
    return out


@pytest.fixture(scope="session")
def page(made: Path) -> Element:
    """The report of that folder, as read without scripts."""
    return parse(made / "report.html")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as the machine has it; without one, what needs it is skipped and named in the last
    lines.
    """
    found = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if found is None:
        pytest.skip("no browser; to get one: apt-get install chromium")
    with sync_playwright() as started:
        opened = started.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        opened.close()
