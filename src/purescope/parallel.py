"""Work on every core at once, each piece on one core."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_each_core(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``map(work, items)`` with one thread a core, each of which torch leaves to itself.

    Many small operations are soonest done so: side by side they wait for nobody, while one
    operation on all cores has them meet at its end. What a piece gives does not depend on the
    number of cores.

    Examples:
        >>> list(on_each_core(lambda item: 2 * item, [1, 2, 3]))
        [2, 4, 6]
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, "core", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from in_order(pool, work, items, ahead=threads)
    finally:
        # After an error, or when the caller stops early, nobody wants what is still queued.
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(
            threads
        )  # what the workers set for themselves is also what a new thread begins with


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """``map(work, items)`` in the pool, with at most `ahead` results waiting beyond the one asked
    for.
    """
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
