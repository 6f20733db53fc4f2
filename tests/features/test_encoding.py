"""Batches that do not fit into memory are halved, and an error of another kind is not."""

import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from purescope.errors import InputError, ModelError
from purescope.features.encoding import Encoder, batch_length

ROWS = torch.arange(1.0, 12.0)[:, None] * torch.tensor([3.0, 4.0])


class Model:
    """Encodes what it is given, but for more than `most` rows at a time."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        self.most = most
        self.error = error or torch.OutOfMemoryError("no memory\nmore")
        self.lengths: list[int] = []

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        self.lengths.append(len(rows))
        if len(rows) > self.most:
            raise self.error
        return rows


@pytest.mark.parametrize(
    ("most", "lengths", "told"),
    [
        (11, [11], []),
        (6, [11, 6, 5], [(11, 6)]),
        (5, [11, 6, 3, 3, 3, 2], [(11, 6), (6, 3)]),
        (2, [11, 6, 3, 2, 1, 2, 1, 2, 1, 2], [(11, 6), (6, 3), (3, 2)]),
    ],
)
def test_batches_are_halved_and_stay_small(
    most: int, lengths: list[int], told: list[tuple[int, int]]
) -> None:
    model = Model(most)
    encoder = Encoder(model, "mine", "image")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = encoder(range(20, 31), ROWS)
        again = encoder(range(20, 31), ROWS)
    assert torch.allclose(found, torch.tensor([0.6, 0.8]).expand(11, 2))
    assert found.equal(again)
    assert model.lengths[: len(lengths)] == lengths
    assert max(model.lengths[len(lengths) :]) <= (encoder.largest or 11)
    assert [str(warning.message) for warning in seen] == [
        f"mine: out of memory with {failed} images at a time, on with {largest}"
        for failed, largest in told
    ]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("first\nsecond"), "first"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate"), "DefaultCPUAllocator"),
        (MemoryError(), "MemoryError"),
    ],
    ids=repr,
)
def test_one_that_does_not_fit_is_an_error(error: Exception, words: str) -> None:
    encoder = Encoder(Model(0, error), "mine", "sentence")
    with (
        pytest.warns(UserWarning, match="2 sentences at a time, on with 1"),
        pytest.raises(ModelError) as caught,
    ):
        encoder(range(2), ROWS[:2])
    came = caught.value.came
    assert came.startswith("mine: no memory for a single sentence: ")
    assert words in came and "second" not in came


def test_other_errors_are_those_of_the_model() -> None:
    model = Model(0, RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        Encoder(model, "mine", "image")(range(4), ROWS[:4])
    assert model.lengths == [4]


def test_a_value_that_is_not_finite_is_named_by_its_row() -> None:
    rows = ROWS.clone()
    rows[9, 1] = torch.nan
    with (
        pytest.warns(UserWarning, match="out of memory"),
        pytest.raises(InputError, match="mine: image row 29 "),
    ):
        Encoder(Model(6), "mine", "image")(range(20, 31), rows)


def test_a_shorter_batch_of_another_thread_stays() -> None:
    """Two threads may run out at once; the shorter length counts, and is said once."""
    encoder = Encoder(Model(9), "mine", "image")
    with pytest.warns(UserWarning, match="with 8 images at a time, on with 4"):
        encoder._shrink(8)
    encoder._shrink(8)
    encoder._shrink(20)
    assert encoder.largest == 4
    with pytest.warns(UserWarning, match="with 5 images at a time, on with 3"):
        encoder._shrink(5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("lanes", "batch", "threads", "length"),
    [(1, 500, 4, 500), (2, 1, 4, 1), (0, 500, 4, 64), (0, 256, 4, 64), (0, 9, 4, 3), (0, 8, 4, 2),
     (0, 1, 4, 1), (0, 64, 1, 64), (0, 65, 1, 64)],
)  # fmt: skip
def test_a_core_encodes_its_share_of_a_batch(
    lanes: int, batch: int, threads: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    model: Any = SimpleNamespace(lanes=lanes)
    assert batch_length(model, batch) == length


def test_sentences_are_halved_too() -> None:
    lengths: list[int] = []

    def encode(sentences: Sequence[str]) -> torch.Tensor:
        lengths.append(len(sentences))
        if len(sentences) > 2:
            raise MemoryError
        return torch.tensor([[float(len(sentence)), 0.0] for sentence in sentences])

    with pytest.warns(UserWarning, match="sentences at a time"):
        found = Encoder(encode, "mine", "sentence")(range(5), ("a", "bb", "", "cc", "d"))
    assert found.tolist() == [[1, 0], [1, 0], [0, 0], [1, 0], [1, 0]]
    assert lengths == [5, 3, 2, 1, 2]
