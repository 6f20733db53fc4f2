"""The Python examples of every page, as doctests: those of a page run one after the other."""

import doctest
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import purescope
from purescope.datasets.dataset import Dataset
from purescope.features.cache import default_folder
from purescope.features.features import Features
from purescope.models.model import Model
from tests.docs.pages import PAGES, ROOT, blocks
from tests.words import few_words

_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
_WITH_EXAMPLES = [page for page in PAGES if any(">>>" in b for _, b in blocks(page, "python"))]


def test_there_are_examples() -> None:
    assert {"README.md", "idea.md", "derivations.md", "start.md"} <= {
        page.name for page in _WITH_EXAMPLES
    }


@pytest.fixture(autouse=True, scope="module")
def lightly() -> Iterator[None]:
    """What several pages extract is extracted once, and no page shows words of the vocabulary."""
    extract, sources = purescope.extract, purescope.Sources(cache=default_folder())
    extracted: dict[tuple[str, str], Features] = {}

    def once(model: Model, dataset: Dataset, **options: Any) -> Features:
        assert not options, "they would be of other features"
        key = (str(model.identity), dataset.fingerprint)
        if key not in extracted:
            extracted[key] = extract(model, dataset, cache=default_folder())
        return extracted[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(purescope, "extract", once)
        patch.setattr(purescope, "run_sweep", partial(purescope.run_sweep, sources=sources))
        few_words(patch)
        yield


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
