"""``python -m tests.torture.crowd FOLDER PROCESSES SEEDS``: processes that encode into one cache at
the same time.

Every third kills itself after a random time. The others must all get the same features, and leave
every shard whole. Does so once for each number from 0 to SEEDS, and prints counts as JSON, a line
each.
"""

import hashlib
import json
import os
import random
import signal
import sys
import threading
from pathlib import Path

import torch

from purescope.features import entry as _entry
from purescope.features.cache import Cache
from purescope.features.extraction import extract
from tests.torture.killed import dataset, model


def encode(folder: Path, number: int, delay: float | None) -> None:
    torch.set_num_threads(2)
    if delay is not None:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    features = extract(model("One", 0), dataset("first", 0), batch_size=16, cache=folder / "cache")
    digest = hashlib.sha256(features.image.numpy().data).hexdigest()
    (folder / f"digest-{number}").write_text(digest)


def main() -> None:
    _entry._SHARD = 8
    folder, processes, seeds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for seed in range(seeds):
        (folder / str(seed)).mkdir()
        print(json.dumps(crowd(folder / str(seed), processes, random.Random(seed))), flush=True)


def crowd(folder: Path, processes: int, rng: random.Random) -> dict[str, int]:
    children = []
    for number in range(processes):
        delay = rng.uniform(0, 0.2) if number % 3 == 2 else None
        if (child := os.fork()) == 0:
            try:
                encode(folder, number, delay)
            except BaseException as error:
                print(repr(error), flush=True)
                os._exit(1)
            os._exit(0)
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    failed = [status for status in statuses if status and not os.WIFSIGNALED(status)]
    # A process that was killed may have left half a digest.
    digests = {
        (folder / f"digest-{number}").read_text()
        for number, status in enumerate(statuses)
        if status == 0
    }
    entries = Cache(folder / "cache").entries()
    damaged = sum(entry.is_damaged(shard) for entry in entries for shard in entry.shards)
    missing = sum(not entry.has(shard) for entry in entries for shard in entry.shards)
    ended = statuses.count(0)
    return {
        "ended": ended,
        "failed": len(failed),
        "results": len(digests),
        "damaged": damaged,
        "missing": missing,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)  # a process that ran no thread can be forked
    main()
