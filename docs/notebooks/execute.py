"""Executes the notebooks of this folder in place: ``python docs/notebooks/execute.py [FILE...]``."""

import os
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent


def executed(path: Path) -> NotebookNode:
    """A notebook with the outputs of now: an empty cache, no network, an empty folder to work in."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory(prefix="purescope-notebook-") as folder:
        settings = {
            "PURESCOPE_CACHE": f"{folder}/cache",
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, where a notebook has no widgets
        }
        with patch.dict(os.environ, settings):
            client = NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False)
            client.execute(cwd=folder)
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    return notebook


def main(paths: list[Path]) -> None:
    for path in paths or sorted(HERE.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        print(f"{path.name}: {path.stat().st_size / 1000:,.0f} kB")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
