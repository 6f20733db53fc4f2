"""Pages, notebooks and the experiment's script use public names only."""

import re
from pathlib import Path

import nbformat
import pytest

import purescope as ps
from tests.docs.pages import PAGES, ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SCRIPTS = sorted((ROOT / "experiments").rglob("*.py"))
# The pages of the API document modules by their names.
USERS = [page for page in PAGES if page.parent.name != "api"] + NOTEBOOKS + SCRIPTS

# Lightning's callback is not public: a name of `purescope` would import Lightning.
EXEMPT = "from purescope.studies.training.lightning import TrackerCallback"

_IMPORT = re.compile(r"\bfrom purescope import \(?([\w, ]+)|\bimport purescope as (\w+)")
_NAME = re.compile(r"(?<!\.)\b(?:ps|purescope)\.(\w+)\b(?!\*)")
_KNOWN = {*ps.__all__, "__all__", "__file__", "__version__"}


def text_of(path: Path) -> str:
    """Return the text of a page or a script, and the sources of all cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


def foreign_names(text: str) -> set[str]:
    """Return what a text names of purescope beside its public names."""
    text = text.replace(EXEMPT, "")
    imports = _IMPORT.findall(text)
    names = {name for names, _ in imports for name in names.replace(" ", "").split(",") if name}
    aliases = {alias for _, alias in imports if alias}
    return (names | set(_NAME.findall(text))) - _KNOWN | aliases - {"ps"}


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_public_names_are_used(path: Path) -> None:
    assert foreign_names(text_of(path)) == set()


def test_other_names_are_found() -> None:
    text = (
        "from purescope.maths.overlaps import overlap\nfrom purescope import sweep, judge\nps.no()"
    )
    assert foreign_names(text) == {"maths", "judge", "no"}
    assert foreign_names("import purescope as p\nimport purescope.tables") == {"p", "tables"}


def test_every_kind_of_user_is_read() -> None:
    assert len(NOTEBOOKS) == 4 and len(SCRIPTS) == 1
    assert "import purescope as ps" in text_of(NOTEBOOKS[0])
