"""Orders of neurons are read from files, and become rotations to these neurons."""

from pathlib import Path

import numpy as np
import pytest
import torch

from purescope.errors import InputError
from purescope.maths.overlaps import Projections
from purescope.reduce.orders import order_rotation, read_order


def test_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("neuron,purity\n3,9\n0,8\n\n2,7\n")
    (tmp_path / "a.json").write_text("[3, 0, 2]")
    (tmp_path / "a.txt").write_text("3\n0\n2\n")
    np.save(tmp_path / "a.npy", np.array([3, 0, 2], dtype=np.uint8))
    for suffix in ("csv", "json", "txt", "npy"):
        assert read_order(tmp_path / f"a.{suffix}") == [3, 0, 2]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"rank,purity\n1,2\n", "it has no column neuron, only rank, purity"),
        ("a.csv", b"purity,neuron\n1,2\n1\n", "its line 3 is too short"),
        ("a.json", b'{"a": 1}', "it holds a dict, no list"),
        ("a.json", b"[1.5]", "invalid literal"),
        ("a.json", b"[", "cannot be read as an order"),
        ("a.txt", b"", "no neurons in it"),
        ("a.txt", b"1 two", "invalid literal"),
        ("a.npy", b"\x93NUMPY\x01\x00", "cannot be read as an order"),
        ("a.pt", b"", "an order in "),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_order(tmp_path / name)
    assert "a .csv with a column neuron" in caught.value.expected
    with pytest.raises(InputError, match="there is no file"):
        read_order(tmp_path / "none.csv")


def test_an_array_of_floats_is_no_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    with pytest.raises(InputError, match=r"it is float64 of shape \[3\]"):
        read_order(tmp_path / "a.npy")


def test_a_rotation_takes_the_neurons_in_their_order() -> None:
    tower = torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    rotation = order_rotation([3, 1], 4, Projections(tower, tower), recipe={"order": "mine"})
    rows = torch.arange(8.0).view(2, 4)
    assert rotation.apply(rows, normalise=False).equal(rows[:, [3, 1]])
    assert rotation.spectrum.tolist() == pytest.approx([16 / 30, 4 / 30])
    assert rotation.recipe == {"axes": "neurons", "neurons": "4", "kept": "2", "order": "mine"}
    assert order_rotation([0], 4).spectrum.tolist() == [0.25]


@pytest.mark.parametrize(
    ("order", "message"),
    [([0, 4], "with neuron 4"), ([-1], "with neuron -1"), ([2, 2], "twice neuron 2")],
)
def test_other_numbers_are_no_neurons(order: list[int], message: str) -> None:
    with pytest.raises(InputError, match=f"{message}(?s:.*)each of 0 to 3 at most once"):
        order_rotation(order, 4)


@pytest.mark.parametrize("suffix", ["CSV", "Json", "TXT", "NPY"])
def test_endings_may_be_in_capitals(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a.{suffix.lower()}"
    if file.suffix == ".npy":
        np.save(file, np.array([1, 0]))
    else:
        file.write_text({".csv": "neuron\n 1 \n0\n", ".json": "[1, 0]", ".txt": "1 0"}[file.suffix])
    assert read_order(file.rename(tmp_path / f"b.{suffix}")) == [1, 0]


def test_a_table_of_whole_numbers_is_no_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((2, 2), int))
    with pytest.raises(InputError, match=r"it is int64 of shape \[2, 2\]"):
        read_order(tmp_path / "a.npy")


def test_neurons_without_weights_have_no_share() -> None:
    nothing = torch.zeros(3, 2)
    rotation = order_rotation([2, 0], 3, Projections(nothing, nothing))
    assert rotation.spectrum.tolist() == [0, 0]


def test_several_wrong_neurons_are_named_in_their_order() -> None:
    for order, message in (([9, 7, 8, -1], "-1, 7, 8"), ([2, 1, 2, 0, 1], "1, 2")):
        with pytest.raises(InputError, match=message):
            order_rotation(order, 4)
