"""Show how the goldens moved, or accept that they did: ``python -m tests.goldens [--accept]
[NAME...]``.
"""

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

import tests.conftest  # noqa: F401  nothing is fetched, and the user's cache is not used
from tests.goldens import compare
from tests.goldens.goldens import GOLDENS, accept, kept
from tests.sandbox import sandbox


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.goldens")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"some of them: {' '.join(GOLDENS)}; default: all"
    )
    parser.add_argument("--accept", action="store_true", help="keep what was found")
    given = parser.parse_args()
    moved = 0
    with tempfile.TemporaryDirectory(prefix="purescope-goldens-") as folder, sandbox(Path(folder)):
        warnings.simplefilter("ignore")
        for name, make in GOLDENS.items():
            start = time.process_time()
            found = list(
                make()
            )  # also of those that are not asked for: others read what they write
            changed = (
                compare.difference(kept(name), found)
                if not given.names or name in given.names
                else ""
            )
            print(f"{name}: {time.process_time() - start:.1f} s of CPU", file=sys.stderr)
            if changed:
                moved += 1
                print(f"{name} moved:\n{changed}\n")
                if given.accept:
                    accept(name, found)
    print(
        f"{moved} of {len(given.names or GOLDENS)} goldens "
        f"moved{', and were accepted' if given.accept else ''}"
    )
    return int(moved > 0 and not given.accept)


if __name__ == "__main__":
    sys.exit(main())
