"""The notebooks of the documentation run, and say what they said when they were committed."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

FOLDER = Path(__file__).parents[1] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore"
    ),  # of the kernel's own libraries; cells show theirs, see below
]


# What a run draws and asks beside its tables, and each number of a table, others test: no notebook
# prints any of it. What other tests encoded is taken from their cache. The functions keep what they
# need, for each notebook begins without names.
LIGHTLY = """
def lighten():
    import dataclasses, functools, gc, os
    gc.set_threshold(100_000, 20, 50)
    import purescope
    from purescope.datasets import prompts
    cache = os.environ["PURESCOPE_CACHE"]
    few, sweep, run_sweep = prompts.vocabulary("paper").names[:20], purescope.sweep, purescope.run_sweep
    prompts._imagenet_names = lambda: few

    def run_lightly(models, datasets, out, *, settings):
        light = {"settings": dataclasses.replace(settings, draws=40, resamples=100), "rotations": 2}
        sources = purescope.Sources(cache=cache)
        return run_sweep(
            models, datasets, out, sources=sources, figures=False, report=False, **light
        )

    def sweep_lightly(*given, draws, **options):
        return sweep(*given, draws=10, resamples=100, **options)

    purescope.sweep, purescope.run_sweep = sweep_lightly, run_lightly
    purescope.extract = functools.partial(purescope.extract, cache=cache)
lighten()
"""


@pytest.fixture(scope="module")
def executed() -> dict[Path, NotebookNode]:
    """Each notebook as the script beside them executes it."""
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(zip(NOTEBOOKS, module.executed(NOTEBOOKS, LIGHTLY), strict=True))


def kinds(cell: NotebookNode) -> list[tuple[str, ...]]:
    """What a cell puts out, without what it says."""
    return [
        (output.output_type, output.get("name", ""), *sorted(output.get("data", {})))
        for output in cell.get("outputs", [])
    ]


def said(cell: NotebookNode) -> list[str]:
    """What a cell prints."""
    return [output.text for output in cell.get("outputs", []) if output.output_type == "stream"]


def test_there_are_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "a_smaller_embedding",
        "understand_purity",
        "your_own_checkpoint",
        "your_own_features",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_says_the_same(path: Path, executed: dict[Path, NotebookNode]) -> None:
    committed, now = nbformat.read(path, as_version=4), executed[path]
    assert len(committed.cells) == len(now.cells)
    for before, after in zip(committed.cells, now.cells, strict=True):
        assert kinds(after) == kinds(before), after.source
        assert said(after) == said(before), after.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_committed_is_small_and_of_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 400_000
    assert not re.search(r"/(home|root|tmp|work|Users|var)/", text)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    heads = re.findall(
        r"^# ",
        "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown"),
        re.M,
    )
    assert notebook.cells[0].source.startswith("# ") and len(heads) == 1
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        assert all(
            output.output_type != "error" and output.get("name") != "stderr" for output in outputs
        )
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
