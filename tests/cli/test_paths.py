"""Every command refuses a path that does not exist before it imports torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from purescope.cli import paths
from purescope.models import _LOADERS

pytestmark = pytest.mark.slow

# One process runs all lines. A heavy module that one of them imports shows up in all later ones.
RUN = """
import contextlib, io, sys
import purescope.cli
for line in sys.stdin.read().splitlines():
    messages = io.StringIO()
    with contextlib.redirect_stderr(messages):
        try:
            purescope.cli.main(line.split())
        except SystemExit as stop:
            code = stop.code
    heavy = {"torch", "numpy", "pandas"} & set(sys.modules)
    print(code, sorted(heavy), messages.getvalue().splitlines()[0])
"""

HERE = "bundled:clip --data bundled:flags"
WRONG = {
    "sweep gone.pt --data bundled:flags --out o": "no model or file 'gone.pt'",
    "sweep First=gone.pt --data bundled:flags --out o": "no model or file 'gone.pt'",
    "sweep local-dir:gone --data bundled:flags --out o": "local-dir:gone: there is no folder gone",
    "sweep bundled:clip --data folder:gone --out o": "folder:gone is not a folder",
    "sweep bundled:clip --data bundled:flags,manifest:gone.csv --out "
    "o": "there is no file gone.csv",
    "sweep --data features:gone.npz --space activations --out o": "there is no file gone.npz",
    "sweep bundled:clip --data cifar10 --data-root gone --out "
    "o": "there is no folder gone to find cifar10 in",
    f"sweep {HERE} --classnames gone.json --out o": "--classnames: there is no file gone.json",
    f"sweep {HERE} --out file": "--out: file is a file",
    f"sweep {HERE} --out file/o": "--out: file/o cannot be used: file is a file",
    "evidence gone.ckpt --data bundled:flags --out o": "no model or file 'gone.ckpt'",
    "compare bundled:clip gone.pt --data bundled:flags --out o": "no model or file 'gone.pt'",
    "importance bundled:clip --data folder:gone --out o": "folder:gone is not a folder",
    "layers bundled:clip --data folder:gone": "folder:gone is not a folder",
    "purity gone.safetensors": "no model or file 'gone.safetensors'",
    "purity bundled:clip --space activations --data folder:gone": "folder:gone is not a folder",
    "track run/*.pt --data folder:gone --out o": "folder:gone is not a folder",
    "reproduce gone.pt --out o": "no model or file 'gone.pt'",
    "convert gone.pt o": "no model or file 'gone.pt'",
    "demo --out file": "--out: file is a file",
    "report file": "file is a file",
    "report gone": "there is no folder gone",
    "plot gone": "there is no folder gone",
    "datasets --check gone": "there is no folder gone",
    "datasets --data-root gone": "there is no folder gone",
}


def test_a_missing_path_is_refused_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lines = "\n".join(WRONG)
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=lines,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"2 [] purescope: {came}" for came in WRONG.values()]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_prefixes_are_those_of_models() -> None:
    assert set(paths.MODEL_PREFIXES) == set(_LOADERS)
