"""Work in parts: how many items at a time, and each item on one core."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def per_turn(budget: int, each: int, *, most: int | None = None) -> int:
    """Return how many items of one size fit into a budget of memory: at least one, at most `most`.

    It says how much is worked on at a time, and changes no result.

    Examples:
        >>> per_turn(100, 30), per_turn(100, 30, most=2), per_turn(10, 30), per_turn(10, 0)
        (3, 2, 1, 10)
    """
    count = max(1, budget // max(1, each))
    return count if most is None else min(count, most)


def on_each_core(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Compute ``map(work, items)`` with one thread for each core; torch uses one core in each
    thread.

    Many small operations are fastest this way: they do not wait for each other, while the parts of
    one operation on all cores wait for its slowest part. Results do not depend on the number of
    cores.

    Examples:
        >>> list(on_each_core(lambda item: 2 * item, [1, 2, 3]))
        [2, 4, 6]
    """
    import torch  # not above: work on arrays of NumPy goes through `in_order`

    threads = torch.get_num_threads()
    if threads == 1:  # another thread would only wait for this one
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads, "core", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from in_order(pool, work, items, ahead=threads)
    finally:
        # After an error, or if the caller stops early, queued work is not needed.
        pool.shutdown(cancel_futures=True)
        # The workers' setting is also the default of new threads, so restore it.
        torch.set_num_threads(threads)


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], *, ahead: int
) -> Iterator[Result]:
    """Compute ``map(work, items)`` in the pool, at most `ahead` results before they are used."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
