"""Executes the notebooks of this folder in place: ``python docs/notebooks/execute.py
[FILE...]``.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

HERE = Path(__file__).parent


def executed(paths: Sequence[Path], first: str = "") -> Iterator[NotebookNode]:
    """Give each notebook with the outputs of now: no names of another, an empty folder, a new
    cache, no network.

    One kernel runs them all, one after another: their imports take longer than the rest.

    Args:
        paths: of the notebooks.
        first: code that runs before all of them.
    """
    with tempfile.TemporaryDirectory(prefix="purescope-notebook-") as folder:
        settings = {
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, where a notebook has no widgets
        }
        client = NotebookClient(
            new_notebook(),
            timeout=300,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,  # where a kernel parts what it prints is chance
        )
        with patch.dict(os.environ, settings), client.setup_kernel(cwd=folder):
            _execute(new_notebook(cells=[new_code_cell(first)]), client)
            for path in paths:
                work = Path(folder) / path.stem
                work.mkdir()
                afresh = f"%reset -f\n%cd -q {work}\n%env PURESCOPE_CACHE={folder}/cache"
                _execute(new_notebook(cells=[new_code_cell(afresh)]), client)
                notebook = nbformat.read(path, as_version=4)
                _execute(notebook, client)
                _number(notebook)
                notebook.metadata = NotebookNode(
                    kernelspec={
                        "display_name": "Python 3",
                        "language": "python",
                        "name": "python3",
                    },
                    language_info={"name": "python"},
                )
                yield notebook


def _execute(notebook: NotebookNode, client: NotebookClient) -> None:
    client.nb = notebook
    client.execute(cleanup_kc=False)


def _number(notebook: NotebookNode) -> None:
    """Number the cells as in a kernel of their own."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        cell.execution_count = number
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number


def main(paths: list[Path]) -> None:
    paths = paths or sorted(HERE.glob("*.ipynb"))
    for path, notebook in zip(paths, executed(paths), strict=True):
        nbformat.write(notebook, path)
        print(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
