"""The Python examples of every page, as doctests: those of a page run one after the other."""

import doctest
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, blocks

_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
_WITH_EXAMPLES = [
    page
    for page in PAGES
    if page.name != "README.md" and any(">>>" in b for _, b in blocks(page, "python"))
]


def test_there_are_examples() -> None:
    assert {"idea.md", "derivations.md", "start.md"} <= {page.name for page in _WITH_EXAMPLES}


@pytest.mark.slow
@pytest.mark.parametrize("page", _WITH_EXAMPLES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "\n\n".join(block for _, block in blocks(page, "python") if ">>>" in block)
    test = doctest.DocTestParser().get_doctest(code, {}, page.name, str(page), 0)
    said: list[str] = []
    doctest.DocTestRunner(optionflags=_FLAGS).run(test, out=said.append)
    assert not said, "".join(said)
    assert test.examples
