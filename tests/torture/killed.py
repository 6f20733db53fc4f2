"""``python -m tests.torture.killed FOLDER KILLS SEED``: kill a run again and again, and see what is
left of it.

A run encodes two small models on two data sets into a cache and sweeps them. It is forked from a
process that never ran a thread, and kills itself with SIGKILL: every other time just before its
n-th step in the file system (opening, renaming, removing or making something), else after a random
time. The same run is then started again on what is left, until one comes to its end. After each
kill every shard in the cache must be whole and every table in place readable, and at each end all
files must be those of a run that nobody killed, with no half-written ones beside the results.
Prints counts as JSON.
"""

import json
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from purescope.datasets.dataset import Dataset
from purescope.features import entry as _entry
from purescope.features.cache import Cache
from purescope.files.manifest import read_manifest
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess
from purescope.runs.inputs import Settings, Sources
from purescope.tables.results import open_results
from tests.undrawn import run_sweep
from tests.words import few_words

NEURONS, IMAGES = 12, 150
STEPS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime")


def rows(count: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def model(label: str, seed: int) -> Model:
    weights = rows(48, NEURONS, seed)

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        time.sleep(0.001)  # so that kills meet a run at work
        return pixels.flatten(1) @ weights

    def encode_text(texts: Sequence[str]) -> torch.Tensor:
        return rows(len(texts), NEURONS, seed + 5)

    space = Projections(weights.T.contiguous(), rows(NEURONS, 8, seed + 1))
    preprocess = Preprocess(4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Model(
        label,
        "made by hand",
        space,
        NEURONS,
        preprocess,
        encode,
        encode_text,
        {"weights": label},
        lanes=0,
    )


def dataset(name: str, seed: int) -> Dataset:
    pixels = np.random.default_rng(seed).integers(0, 256, (IMAGES, 4, 4, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in pixels]
    labels = torch.arange(IMAGES) % 3
    return Dataset(
        name, "made by hand", ("a", "b", "c"), labels, images, ("a", "b", "c"), ("a {}.",), {}, name
    )


def run(folder: Path) -> None:
    torch.set_num_threads(2)
    run_sweep(
        [model("One", 0), model("Two", 10)],
        [dataset("first", 0), dataset("second", 1)],
        folder / "out",
        settings=Settings(keep=(3, 8), draws=2),
        sources=Sources(batch_size=16, cache=folder / "cache"),
    )


def start(folder: Path, *, step: int | None = None, delay: float | None = None) -> bool:
    """Run in a process of its own, which may kill itself; whether it came to its end."""
    child = os.fork()
    if child == 0:
        os.close(2) if step is not None or delay is not None else None
        if step is not None:
            left = [step]

            def count(event: str, _: object) -> None:
                if event in STEPS:
                    left[0] -= 1
                    if left[0] == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
        if delay is not None:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        try:
            run(folder)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    if status:
        raise SystemExit(f"a run ended with status {status}")
    return True


def files(folder: Path) -> dict[str, bytes]:
    """What a run leaves, but for the manifest of the run, which holds times, locks, and what is
    half written.
    """
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.suffix != ".lock"
        and not path.name.startswith(".")
        and path != folder / "out" / "manifest.json"
    }


def half_written(folder: Path) -> int:
    """Files among the results that were never renamed into their places."""
    return sum(path.name.startswith(".") for path in (folder / "out").rglob("*"))


def check(folder: Path, whole: dict[str, bytes]) -> dict[str, int]:
    """What a kill left: shards that are not those of the whole run, and tables that cannot be
    read.
    """
    lost = {"shards_damaged": 0, "tables_damaged": 0}
    for entry in Cache(folder / "cache").entries():
        lost["shards_damaged"] += sum(entry.is_damaged(shard) for shard in entry.shards)
    for name, content in files(folder / "cache").items():
        lost["shards_damaged"] += content != whole[f"cache/{name}"]
    try:
        read_manifest(folder / "out")
        if (folder / "out" / "results.parquet").exists():
            open_results(folder / "out").table("results")
    except Exception:
        lost["tables_damaged"] += 1
    return lost


def main() -> None:
    _entry._SHARD = 32
    few_words(pytest.MonkeyPatch())
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    began = time.perf_counter()
    start(folder / "whole")
    seconds = time.perf_counter() - began
    whole = files(folder / "whole")
    counts = {
        "kills": 0,
        "ends": 0,
        "ends_that_differ": 0,
        "shards_damaged": 0,
        "tables_damaged": 0,
    }
    counts |= {"half_written": 0, "left_behind": 0}
    while counts["kills"] < kills:
        shutil.rmtree(folder / "killed", ignore_errors=True)
        (folder / "killed").mkdir()
        while True:
            if counts["kills"] >= kills:
                ended = start(folder / "killed")
            elif counts["kills"] % 2:
                ended = start(folder / "killed", step=rng.randint(1, 400))
            else:
                ended = start(folder / "killed", delay=rng.uniform(0, seconds))
            if ended:
                break
            counts["kills"] += 1
            counts["half_written"] += half_written(folder / "killed")
            for what, number in check(folder / "killed", whole).items():
                counts[what] += number
        counts["ends"] += 1
        counts["ends_that_differ"] += files(folder / "killed") != whole
        counts["left_behind"] += half_written(folder / "killed")
    print(json.dumps(counts))


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process that ran no thread can be forked
    main()
