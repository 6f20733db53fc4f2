"""Values of a foreign configuration, each at the ends of what it may be."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from purescope.errors import ModelError
from purescope.models.configuration import (
    DICTIONARY,
    FLAG,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    dictionary_of,
    keep_known,
    list_of,
    one_of,
    require_at_most,
    require_attention,
    require_known,
    require_layers,
    require_numbers,
)
from purescope.models.open_clip_config import VISION
from purescope.models.tokenizer_files import _rebuild_token_map

NAN = float("nan")
KINDS: dict[str, tuple[Kind, list[object], list[object]]] = {
    "number": (NUMBER, [0, -1, 1.5, 9e299, -9e299], [True, "1", None, NAN, 1e300, -1e300, 10**400]),
    "whole": (WHOLE, [0, 2**31 - 1, 1 - 2**31], [True, False, 1.0, "1", None, 2**31, -(2**31)]),
    "flag": (FLAG, [True, False], [0, 1, None, "true"]),
    "nothing": (NOTHING, [None], [0, False, "", []]),
    "text": (TEXT, ["", "x" * 1000], ["x" * 1001, None, 1, b"x"]),
    "dictionary": (DICTIONARY, [{}, {"a": 1}], [[], None, "{}"]),
    "choice": (one_of("a", "b"), ["a", "b"], ["ab", "", None, "A"]),
    "list": (
        list_of(WHOLE),
        [[], [1], (1, 2), [1] * 64],
        [[1] * 65, [1.5], [1, None], "12", {1}, {1: 1}, None, 1],
    ),
    "pair": (list_of(WHOLE, least=2, most=2), [[1, 2]], [[1], [1, 2, 3], []]),
    "known": (
        dictionary_of({"a": WHOLE, "b": TEXT}),
        [{}, {"a": 1}, {"a": 1, "b": "x"}],
        [{"c": 1}, {"a": "x"}, {"a": 1, "c": 2}, {"a": 1, "b": 2}, [], ["a"], None],
    ),
    "either": (WHOLE | NOTHING, [3, None], [1.5, "x"]),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_holds_its_values_and_no_others(name: str) -> None:
    kind, values, others = KINDS[name]
    assert all(kind.holds(value) for value in values)
    assert not any(kind.holds(value) for value in others)


def test_either_of_two_kinds_has_the_words_of_both_and_the_first_advice() -> None:
    first = Kind("one", lambda value: value == 1, fix="first")
    second = Kind("two", lambda value: value == 2, fix="second")
    plain = Kind("three", lambda value: value == 3)
    for kind, words, fix in (
        (first | second, "one or two", "first"),
        (plain | second, "three or two", "second"),
        (second | plain, "two or three", "second"),
    ):
        assert (kind.words, kind.fix) == (words, fix)


def test_unknown_keys_are_dropped_or_refused() -> None:
    known = {"width": WHOLE, "name": Kind("a name", lambda value: value == "x", fix="call it x")}
    assert keep_known({"width": 1, "other": 2}, known, "mine") == {"width": 1}
    assert require_known({"width": 1, "name": "x"}, known, "mine") == {"width": 1, "name": "x"}
    for function in (keep_known, require_known):
        with pytest.raises(ModelError, match=r"mine.name is 'y'(?s:.*)a name(?s:.*)call it x"):
            function({"width": 1, "name": "y"}, known, "mine")
    with pytest.raises(ModelError, match=r"unknown key 'widht'(?s:.*)one of name, width"):
        require_known({"widht": 1}, known, "mine")
    with pytest.raises(ModelError, match=r"expected: another tower(?s:.*)did you mean 'width'"):
        require_known({"widht": 1}, known, "mine", expected="another tower")


def refused(message: str, is_refused: bool) -> Any:
    expected = pytest.raises(ModelError, match=message)
    return expected if is_refused else contextlib.nullcontext()


@pytest.mark.parametrize(
    ("size", "is_refused"), [(1, False), (7, False), (0, True), (8, True), (-1, True), (2.0, True)]
)
def test_sizes_are_from_one_to_the_most(size: Any, is_refused: bool) -> None:
    with refused(f"mine: width is {size}(?s:.*)1 to 7", is_refused):
        require_at_most("mine", "width", size, 7)


@pytest.mark.parametrize(
    ("tokens", "heads", "is_refused"),
    [(1000, 166, False), (1000, 167, True), (12_909, 1, False), (12_910, 1, True)],
)
def test_attention_takes_at_most_two_gigabytes(tokens: int, heads: int, is_refused: bool) -> None:
    """Three arrays of four bytes: 12 x 1000^2 x 166 is 1,992,000,000."""
    with refused(f"{heads:,} heads over {tokens:,} tokens: {12 * tokens**2 * heads:,}", is_refused):
        require_attention("mine", "text", tokens, heads)


@pytest.mark.parametrize(
    ("layers", "tensors", "is_refused"),
    [
        (64, 0, False), (65, 0, True), (65, 519, True), (65, 520, False), (256, 2048, False),
        (256, 2047, True), (257, 10_000, True),
    ],
)  # fmt: skip
def test_layers_are_as_many_as_the_tensors_allow(
    layers: int, tensors: int, is_refused: bool
) -> None:
    weights = dict.fromkeys(map(str, range(tensors)), torch.zeros(()))
    with refused(f"{layers} layers, and {tensors:,} tensors", is_refused):
        require_layers("mine", layers, weights)


@pytest.mark.parametrize(
    ("numbers", "stored", "is_refused"),
    [
        (10**7, 1, False), (10**7 + 1, 1, True), (10_000_004, 2_500_001, False),
        (10_000_005, 2_500_001, True),
    ],
)  # fmt: skip
def test_a_weight_is_at_most_four_times_all_that_is_stored(
    numbers: int, stored: int, is_refused: bool
) -> None:
    weights = {"a": torch.zeros(1).expand(stored - 1), "b": torch.zeros(1)}
    with refused(f"image has a weight of {numbers:,} numbers, and {stored:,}", is_refused):
        require_numbers("mine", {"text": 1, "image": numbers}, weights)


@pytest.mark.parametrize(
    ("key", "values", "others"),
    [
        ("image_size", [224, [224, 336]], [[224], [224, 224, 224], [], "224", None]),
        ("layers", [12, [3, 4, 6, 3]], [[1] * 5, None, "12"]),
        ("patch_size", [16, None], [[16, 16], 1.5]),
    ],
)
def test_sizes_of_open_clip_have_their_forms(
    key: str, values: list[object], others: list[object]
) -> None:
    assert all(VISION[key].holds(value) for value in values)
    assert not any(VISION[key].holds(value) for value in others)


def test_a_map_of_tokens_has_tokens_only(tmp_path: Path) -> None:
    content = {"bos_token": "<s>", "my_own_token": "<x>", "additional_special_tokens": ["<y>"]}
    others = {"add_bos_token": True, "model_max_length": 5, "clean_up_tokenization_spaces": True}
    path = tmp_path / "special_tokens_map.json"
    path.write_text(json.dumps(content | others | {"auto_map": "evil"}))
    assert _rebuild_token_map(path) == content
