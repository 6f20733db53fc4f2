"""Damaged files of every kind: each is read right, or refused in words; none runs code or ends in a
traceback.
"""

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from purescope.datasets import load_dataset
from purescope.errors import PurescopeError
from purescope.features.files import read_features
from purescope.models import load_model
from tests.torture.kinds import KINDS, read_all, tar

LONG = bool(os.environ.get("PURESCOPE_TORTURE"))
pytestmark = pytest.mark.slow


def test_damaged_and_made_files_are_read_right_or_refused(tmp_path: Path) -> None:
    """Within limits of memory and time, each kind in a process of its own when it takes long: see
    `fuzz`.
    """
    if not LONG:
        counts = fuzz(tmp_path, {name: max(3, kind.share // 12) for name, kind in KINDS.items()})
        assert counts["read"] > 20 and counts["refused"] > 40 and not counts["faults"]
        return
    with ThreadPoolExecutor(2) as pool:
        parts = pool.map(lambda name: fuzz(tmp_path / name, {name: 21 * KINDS[name].share}), KINDS)
    total: Counter[str] = Counter()
    for name, counts in zip(KINDS, parts, strict=True):
        print(name, dict(counts))
        total += counts
    print("all kinds", dict(total))
    assert total["read"] + total["refused"] >= 20_000 and not total["faults"]


def fuzz(folder: Path, counts: Mapping[str, int]) -> Counter[str]:
    """Run so many cases of each kind; faults are shown, and counted."""
    words = [f"{name}={count}" for name, count in counts.items()]
    command = [sys.executable, "-W", "ignore", "-m", "tests.torture.fuzz", str(folder), "0", *words]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-5000:]
    found: Counter[str] = Counter(json.loads(ended.stdout.splitlines()[-1]))
    if found["faults"]:
        print(ended.stderr[-5000:])
    return found


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def hostile_zip(path: Path, mark: Path) -> None:
    torch.save({"state_dict": {"x": torch.zeros(1)}, "epoch": Hostile(mark)}, path)


def hostile_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Hostile(mark)))


def hostile_npz(path: Path, mark: Path) -> None:
    np.savez(path, image=np.array([Hostile(mark)]), text=np.eye(2), labels=np.array([0]))


READERS: dict[str, tuple[Callable[[Path, Path], None], str, Callable[[Path], Any]]] = {
    "checkpoint": (hostile_zip, "m.pt", lambda path: load_model(str(path))),
    "old checkpoint": (hostile_pickle, "m.pt", lambda path: load_model(str(path))),
    "features": (hostile_npz, "f.npz", read_features),
    "pickled features": (hostile_pickle, "f.npz", read_features),
    "cifar": (
        hostile_pickle,
        "cifar-10-batches-py/test_batch",
        lambda path: read_cifar(path.parent.parent),
    ),
}


def read_cifar(root: Path) -> Any:
    (root / "cifar-10-batches-py" / "batches.meta").write_bytes(b"")
    return load_dataset("cifar10", data_root=root)


@pytest.mark.parametrize("reader", READERS)
def test_no_pickle_runs(reader: str, tmp_path: Path) -> None:
    write, name, read = READERS[reader]
    path, mark = tmp_path / name, tmp_path / "mark"
    path.parent.mkdir(exist_ok=True)
    write(path, mark)
    with warnings.catch_warnings(), pytest.raises(PurescopeError):
        warnings.simplefilter("ignore")
        read(path)
    assert not mark.exists()


def test_the_hostile_files_are_hostile(tmp_path: Path) -> None:
    hostile_pickle(tmp_path / "p", tmp_path / "mark")
    pickle.loads((tmp_path / "p").read_bytes())
    assert (tmp_path / "mark").is_dir()


@pytest.mark.parametrize(
    "name", ["../../outside", "/outside", "a/../../outside", "..\\outside", "link"]
)
def test_nothing_in_a_tar_is_written_anywhere(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    tar(folder)
    with tarfile.open(folder / "0.tar", "a") as shard:
        info = tarfile.TarInfo(f"{name}.png")
        if name == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "../../outside.png"
        content = (folder / "images" / "cat" / "1.png").read_bytes()
        info.size = 0 if name == "link" else len(content)
        shard.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo(f"{name}.cls")
        info.size = 1
        shard.addfile(info, io.BytesIO(b"0"))
    before = sorted(tmp_path.rglob("*"))
    try:
        read_all(f"wds:{folder}")
    except PurescopeError as error:
        assert error.came
    assert sorted(tmp_path.rglob("*")) == before
