"""``python -m tests.torture.fuzz FOLDER SEED KIND=COUNT...``: damaged and made files, within 4 GB
and 20 s each.

Each case writes one file of a kind anew, damaged in one way (`tests.torture.mutations`), and reads
all of it. Counted is what must never be: a traceback, a wrong result, code that was run, a prompt,
a process that was started, a file touched outside of the folder, something left in the temporary
folder, a case that takes too long. Each case has a seed of its own: ``--only=N`` runs it alone.
Prints counts as JSON, and each fault on standard error.
"""

import faulthandler
import gc
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS, BYTES = 20, 4 * 10**9
WRITING = {  # where their arguments have a path that is changed, and the folder that it is relative to
    "os.remove": [(0, 1)], "os.rmdir": [(0, 1)], "os.mkdir": [(0, 2)], "os.rename": [(0, 2), (1, 3)],
    "os.link": [(1, 3)], "os.symlink": [(1, 2)], "os.truncate": [(0, 9)], "os.chmod": [(0, 2)],
}  # fmt: skip
STARTING = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "pty.spawn",
    "builtins.input",
)


class TooLong(BaseException):
    """A case took over its time."""


class Watch:
    """What happens during a case that must not."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen, self.on = str(folder), Counter[str](), False
        sys.addaudithook(self.hook)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in STARTING or event == "pickle.find_class":
            self.seen[f"{event} {arguments[:2]}"[:200]] += 1
        elif event == "exec":
            name = str(getattr(arguments[0], "co_filename", ""))
            self.seen[f"ran {name}"] += self.inside(name)
        elif event in WRITING or (event == "open" and self.writes(arguments)):
            for at, folder_at in WRITING.get(event, [(0, 9)]):
                path = arguments[at]
                if not isinstance(path, int):
                    below = arguments[folder_at] if len(arguments) > folder_at else -1
                    base = (
                        f"/proc/self/fd/{below}" if isinstance(below, int) and below >= 0 else "."
                    )
                    full = str(Path(base).resolve() / os.fsdecode(path))
                    self.seen[f"{event} {full}"[:200]] += not self.inside(full)

    def writes(self, arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or any(
            c in str(mode or "") for c in "wax+"
        )

    def inside(self, path: str) -> bool:
        return str(Path.cwd() / path).startswith((self.folder, "/dev/null"))


def stop(signum: int, frame: FrameType | None) -> None:
    raise TooLong


def main() -> None:
    folder, seed = Path(sys.argv[1]).resolve(), sys.argv[2]
    wanted = dict(word.rsplit("=", 1) for word in sys.argv[3:])
    only = wanted.pop("--only", None)
    kinds = {
        name: range(int(count)) if only is None else (int(only),) for name, count in wanted.items()
    }
    (folder / "tmp").mkdir(parents=True)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "tmp")
    os.environ["HF_HUB_OFFLINE"] = "1"
    gc.disable()  # while half a million objects are made that stay
    from purescope.errors import PurescopeError, printable
    from tests.torture.kinds import KINDS
    from tests.torture.mutations import mutate

    warnings.simplefilter("ignore")
    damaged: dict[str, list[Path]] = {}  # the files of a kind that are, as its `write` names them
    for kind in kinds:  # before the limits: what the libraries import, and how a whole file is used
        (folder / "first" / kind).mkdir(parents=True)
        damaged[kind] = KINDS[kind].write(folder / "first" / kind)
        KINDS[kind].use(folder / "first" / kind)
    gc.freeze()
    gc.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    signal.signal(signal.SIGALRM, stop)
    watch, counts, faults = Watch(folder), Counter[str](), list[str]()
    for kind in kinds:
        _, use, right, _ = KINDS[kind]
        for number in kinds[kind]:
            rng = random.Random(f"{seed} {kind} {number}")
            case = folder / "case"
            shutil.copytree(folder / "first" / kind, case)
            moved = [case / path.relative_to(folder / "first" / kind) for path in damaged[kind]]
            how = mutate(rng.choice(moved), rng)
            watch.seen.clear()
            faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            fault = ""
            try:
                watch.on = True
                found = use(case)
                watch.on = False
                counts["read"] += 1
                if how == "at_random" and not right(found):
                    fault = "a wrong result"
            except PurescopeError as error:
                counts["refused"] += 1
                if not 0 < len(str(error)) <= 2000 or str(error) != "\n".join(
                    map(printable, str(error).split("\n"))
                ):
                    fault = f"an error that is empty, long or not printable: {error}"
            except TooLong:
                fault = "too long"
            except BaseException:
                fault = "traceback\n" + traceback.format_exc()
            finally:
                watch.on = False
                signal.setitimer(signal.ITIMER_REAL, 0)
                faulthandler.cancel_dump_traceback_later()
            fault = fault or "; ".join(name for name, times in watch.seen.items() if times)
            left = sorted(
                path.name
                for path in (folder / "tmp").iterdir()
                if not path.name.startswith("torchinductor")
            )
            fault = fault or (f"left in the temporary folder: {left}" if left else "")
            if fault:
                faults.append(f"{kind} {number} ({how}): {fault}")
                print(faults[-1], file=sys.stderr, flush=True)
            shutil.rmtree(folder / "tmp")
            (folder / "tmp").mkdir()
            remove(case)
    print(json.dumps({**counts, "faults": len(faults)}))


def remove(case: Path) -> None:
    for path in case.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
    shutil.rmtree(case)


if __name__ == "__main__":
    main()
