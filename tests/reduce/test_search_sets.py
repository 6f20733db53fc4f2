"""Queries are never in the index, captions ask for their own image, and samples are fair."""

import pytest
import torch

from purescope.errors import InputError
from purescope.features.captions import CaptionFeatures
from purescope.features.features import Features
from purescope.reduce.search_sets import (
    Sampler,
    ask_captions,
    ask_classes,
    choose_places,
    hold_out,
)


def numbered(rows: int, width: int = 3) -> torch.Tensor:
    return torch.arange(rows).float()[:, None].expand(rows, width) + 1


@pytest.mark.parametrize("sizes", [(1,) * 50, (50,), (7, 30, 13)])
def test_a_sample_has_its_size_and_keeps_the_order(sizes: tuple[int, ...]) -> None:
    sampler = Sampler(9, seed=2)
    for block in numbered(50).split(list(sizes)):
        sampler.take(block)
    rows = sampler.rows()[:, 0]
    assert len(rows) == 9 and sampler.count == 50
    assert (rows.diff() > 0).all()


def test_each_row_is_as_likely() -> None:
    counts = torch.zeros(20)
    for seed in range(400):
        sampler = Sampler(5, seed=seed)
        for block in numbered(20).split(3):
            sampler.take(block)
        counts[sampler.rows()[:, 0].long() - 1] += 1
    # 100 of 400 expected, with a standard deviation of 9.
    assert counts.sum() == 2000 and (counts - 100).abs().max() < 40


def test_fewer_rows_than_wanted_are_all() -> None:
    sampler = Sampler(9)
    sampler.take(numbered(4))
    assert sampler.rows().equal(numbered(4))
    assert choose_places(4, 9, 0).tolist() == [0, 1, 2, 3]


def test_queries_are_left_out_with_their_labels() -> None:
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    given = hold_out(rows, 100, labels=torch.arange(40), seed=3)
    assert given.labels is not None and given.query_labels is not None
    assert len(given.queries) == 8  # a fifth
    places = torch.cat([given.labels, given.query_labels])
    assert sorted(places.tolist()) == list(range(40))
    unit = torch.nn.functional.normalize(rows, dim=1)
    assert torch.allclose(torch.cat([given.vectors, given.queries]), unit[places], atol=1e-6)
    assert given.task == "same_label" and given.asked == "held-out"
    assert len(hold_out(rows, 5).queries) == 5 and hold_out(rows, 5).task == ""
    with pytest.raises(InputError, match="14 vectors"):
        hold_out(rows[:14], 5)


def test_classes_ask_for_their_images() -> None:
    image, text = torch.eye(12), torch.eye(12)[:2]
    features = Features(image, text, torch.arange(12) % 2)
    given = ask_classes(features, most=10, seed=1)
    assert given.labels is not None and given.queries.equal(text)
    assert (len(given.vectors), given.task, given.asked) == (10, "same_label", "text")
    assert given.labels.equal(given.vectors.argmax(dim=1) % 2)


def test_one_caption_of_each_image_asks() -> None:
    image = torch.eye(12).half()
    own = torch.arange(12).repeat_interleave(3)
    text = (image[own].float() + 0.01 * torch.arange(36)[:, None]).half()
    features = CaptionFeatures(image, text, own)
    asked = set()
    for seed in range(30):
        given = ask_captions(features, 6, most=11, seed=seed)
        assert given.labels is not None and given.query_labels is not None
        assert (len(given.vectors), len(given.queries), given.task) == (11, 6, "own_image")
        assert given.vectors.dtype == torch.float32
        assert given.labels.equal(given.vectors.argmax(dim=1))
        assert given.query_labels.equal(given.queries.argmax(dim=1))
        assert len(given.query_labels.unique()) == 6
        assert set(given.query_labels.tolist()) <= set(given.labels.tolist())
        asked |= {tuple(row) for row in given.queries.tolist()}
    assert len(asked) > 24  # other captions of an image ask too


def test_rows_of_any_length_are_scaled() -> None:
    long = 3 * torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    captions = CaptionFeatures(long, 2 * long, torch.arange(40))
    classes = Features(long, 2 * long[:5], torch.arange(40) % 5)
    for given in (
        hold_out(long, 8),
        ask_classes(classes, most=30),
        ask_captions(captions, 8, most=30),
    ):
        for rows in (given.vectors, given.queries):
            assert rows.norm(dim=1).tolist() == pytest.approx([1] * len(rows))


@pytest.mark.parametrize(("queries", "count"), [(1, 2), (2, 2), (3, 3), (9, 3)])
def test_queries_are_at_least_two_and_at_most_a_fifth(queries: int, count: int) -> None:
    given = hold_out(numbered(15), queries)
    assert (len(given.queries), len(given.vectors)) == (count, 15 - count)


def test_the_seed_is_zero_unless_one_is_given() -> None:
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    captions = CaptionFeatures(rows, rows, torch.arange(40))
    classes = Features(rows, rows[:5], torch.arange(40) % 5)
    for draw in (
        lambda **seed: hold_out(rows, 8, **seed).queries,
        lambda **seed: ask_classes(classes, most=30, **seed).vectors,
        lambda **seed: ask_captions(captions, 8, most=30, **seed).queries,
        lambda **seed: sampled(rows, **seed),
    ):
        assert draw().equal(draw(seed=0)) and not draw().equal(draw(seed=1))


def sampled(rows: torch.Tensor, **seed: int) -> torch.Tensor:
    sampler = Sampler(9, **seed)
    sampler.take(rows)
    return sampler.rows()


def test_a_sampler_holds_at_most_twice_what_it_keeps() -> None:
    sampler = Sampler(9)
    for block in numbered(200).split(7):
        sampler.take(block)
        assert sum(map(len, sampler._rows)) == sum(map(len, sampler._keys)) <= 18


def test_names_are_passed_on() -> None:
    given = hold_out(numbered(20), 4, model="a", dataset="b")
    assert (given.model, given.dataset) == ("a", "b")
