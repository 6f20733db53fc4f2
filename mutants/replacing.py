"""Give the import system another text for one file, in this process and in those that it starts.

The file itself, and the tree that it is in, are never written.
"""

import importlib.machinery
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

# What every Python imports as it starts, from the first folder of PYTHONPATH that has it.
_AT_START = """\
import sys
from pathlib import Path

sys.path.insert(0, {root!r})
try:
    from mutants.replacing import replace_source
finally:
    sys.path.remove({root!r})
replace_source(Path({file!r}), Path({text!r}).read_text(encoding="utf-8"))
"""


def replace_source(file: Path, text: str) -> None:
    """Let the import system see another text in place of a file, and no compiled form of it."""
    loader: Any = importlib.machinery.SourceFileLoader
    read, stats = loader.get_data, loader.path_stats

    def get_data(self: Any, path: str) -> bytes:
        return text.encode() if Path(path) == file else read(self, path)

    def path_stats(self: Any, path: str) -> Any:
        if Path(path) == file:
            raise OSError("no compiled form is read or kept")
        return stats(self, path)

    loader.get_data, loader.path_stats = get_data, path_stats


def replace_in_children(file: Path, text: str, folder: Path) -> None:
    """Let every Python that is started from now on do the same; `folder` is a new one for that."""
    folder.mkdir()
    (folder / "changed.txt").write_text(text, encoding="utf-8")
    at_start = _AT_START.format(root=str(ROOT), file=str(file), text=str(folder / "changed.txt"))
    (folder / "sitecustomize.py").write_text(at_start, encoding="utf-8")
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
