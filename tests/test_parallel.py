"""Work on each core gives what work in a loop gives, in its order."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from purescope.parallel import in_order, on_each_core, per_turn


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_are_in_the_order_of_the_items(threads: int) -> None:
    met = threading.Barrier(threads, timeout=30)

    def work(item: int) -> tuple[int, int]:
        met.wait()  # as many at once as there are threads
        return item, torch.get_num_threads()

    assert [*on_each_core(work, range(3 * threads))] == [(i, 1) for i in range(3 * threads)]
    assert torch.get_num_threads() == threads


def test_few_items_are_ahead_of_what_is_used(threads: int) -> None:
    """Results that wait take memory."""
    begun: list[int] = []
    results = on_each_core(begun.append, range(20))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert 0 in begun and len(begun) <= 2 * threads + 1
    assert torch.get_num_threads() == threads


def test_an_error_ends_the_work(threads: int) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 3:
            raise ValueError("the third")
        done.append(item)

    with pytest.raises(ValueError, match="the third"):
        list(on_each_core(work, range(100)))
    assert {0, 1, 2} <= set(done) and len(done) < 20
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("each", [0, 1, 3, 10, 11, 1000])
def test_as_many_as_fit_and_at_least_one(each: int) -> None:
    fitting = [count for count in range(2, 12) if count * max(each, 1) <= 10]
    assert per_turn(10, each) == max([1, *fitting])
    assert per_turn(10, each, most=2) == min(2, per_turn(10, each))


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_items_are_taken_as_far_ahead_as_asked(ahead: int) -> None:
    given = []

    def items() -> Iterator[int]:
        for item in range(30):
            given.append(item)
            yield item

    with ThreadPoolExecutor(3) as pool:
        results = in_order(pool, lambda item: 2 * item, items(), ahead=ahead)
        for place, result in enumerate(results):
            assert result == 2 * place
            assert len(given) == min(30, place + ahead + 1)
    assert len(given) == 30
