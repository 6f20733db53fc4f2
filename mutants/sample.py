"""Which of all changes are tried: a few of each kind in each module, the same until the source is
another.

A change is drawn by a hash of what it is and not of where it stands, so a line that is added
elsewhere in a file moves no other draw, and two checkouts can be compared.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from mutants.changes import Change


def choose(by_module: Mapping[str, Sequence[Change]], count: int, seed: int) -> list[Change]:
    """Choose about `count` changes, each module a share by the root of how many it has, its kinds
    in turns.

    By the root, so that a long module does not take all; no module is left out.

    Args:
        by_module: all changes of each module.
        count: of changes; fewer only where there are no more.
        seed: of the choice.
    """
    queues = {module: _queue(changes, seed) for module, changes in by_module.items() if changes}
    taken = dict.fromkeys(queues, 0)
    for _ in range(min(count, sum(map(len, queues.values())))):
        # The module that has least of its share comes next.
        module = min(
            (module for module in queues if taken[module] < len(queues[module])),
            key=lambda module: (taken[module] / len(queues[module]) ** 0.5, module),
        )
        taken[module] += 1
    return [change for module, queue in queues.items() for change in queue[: taken[module]]]


def _queue(changes: Sequence[Change], seed: int) -> list[Change]:
    """Order the changes of a module so that kinds take turns, each kind in the order of its
    hashes.
    """
    by_kind: dict[str, list[Change]] = defaultdict(list)
    for change in changes:
        by_kind[change.kind].append(change)
    turns = [
        (turn, kind, change)
        for kind, of_kind in by_kind.items()
        for turn, change in enumerate(sorted(of_kind, key=lambda change: _hash(change, seed)))
    ]
    return [
        change for _, _, change in sorted(turns, key=lambda turn: (turn[0], _hash(turn[2], seed)))
    ]


def _hash(change: Change, seed: int) -> str:
    parts = (
        str(seed),
        change.file,
        change.function,
        change.kind,
        change.before,
        change.after,
        str(change.column),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
