"""Test TorchScript archives of unknown origin."""

import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from purescope.errors import ModelError
from purescope.models.checkpoint import read_tensors
from tests.models.test_checkpoint import Malicious


class Tree(torch.nn.Module):
    """Hold weights of several dtypes, views of one storage, an empty one, and other attributes."""

    def __init__(self) -> None:
        super().__init__()
        base = torch.arange(12.0).view(3, 4)
        self.register_buffer("base", base)
        self.register_buffer("turned", base.T)
        self.register_buffer("corner", base[1:, 2:])
        self.register_buffer("small", torch.tensor([1.5, -2.0]).half())
        self.register_buffer("number", torch.tensor(7))
        self.register_buffer("none", torch.empty(0, 3))
        self.layer = torch.nn.Linear(2, 2)
        self.sizes, self.name = [1, 2], "tree"

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layer(x)
        return result if len(self.sizes) > 1 and self.name == "tree" else x


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("torchscript") / "tree.pt"
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Tree()).save(str(path))
    return path


def change(
    whole: Path, path: Path, edit: Callable[[str, bytes], bytes | None], compression: int = 0
) -> Path:
    """Write a copy with edited entries; None removes an entry."""
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = edit(name, source.read(name))
            if content is not None:
                target.writestr(name, content, compress_type=compression)
    return path


def with_tree(whole: Path, path: Path, tree: bytes) -> Path:
    return change(
        whole, path, lambda name, content: tree if name.endswith("/data.pkl") else content
    )


def test_every_tensor_is_torchs_own(whole: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(whole).state_dict()
    found = read_tensors(whole)
    assert found.keys() == expected.keys() == {*Tree().state_dict()}
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


@pytest.mark.parametrize("function", [os.mkdir, os.system, exec, getattr], ids=lambda f: f.__name__)
def test_a_tree_that_calls_a_function_is_refused(
    function: Any, whole: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    arguments = {os.mkdir: (str(proof),), os.system: (f"mkdir {proof}",), getattr: (proof, "mkdir")}
    arguments[exec] = (f"import os; os.mkdir({str(proof)!r})",)
    bad = pickle.dumps(Malicious(function, *arguments[function]), protocol=2)
    path = with_tree(whole, tmp_path / "bad.pt", bad)
    with pytest.raises(ModelError, match=r"refused, reading it would run \S+") as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert not proof.exists()
    if function is os.mkdir:
        pickle.loads(bad)
        assert proof.exists()  # unpickling the tree does run its code


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
MODULE = b"c__torch__\nA\n)\x81"
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x0ctQ"
)
TREES = {
    "empty": b"",
    "no modules": pickle.dumps({"a": 1}, protocol=2),
    "attributes that are none": MODULE + b"K\x01b.",
    "names that are none": MODULE + b"}(K\x01K\x02ub.",
    "a function with attributes": REBUILD + b"}X\x01\x00\x00\x00aK\x01sb.",
    "a class with attributes": b"c__torch__\nA\n}X\x01\x00\x00\x00aK\x01sb.",
    "a type changed": b"ctorch\nFloatStorage\n}X\x01\x00\x00\x00aK\x01sb.",
    "a tensor past its storage": MODULE
    + b"}X\x01\x00\x00\x00a"
    + REBUILD
    + b"("
    + STORAGE
    + b"K\x0a(K\x05t(K\x01t\x89NtRsb.",
    "modules inside each other": b"c__torch__\nA\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb.",
    "another storage": MODULE
    + b"}X\x01\x00\x00\x00a"
    + STORAGE.replace(b"\x000X", b"\x009X")
    + b"sb.",
    "another length": MODULE
    + b"}X\x01\x00\x00\x00a"
    + STORAGE.replace(b"K\x0c", b"K\x0d")
    + b"sb.",
    "no storage": MODULE + b"}X\x01\x00\x00\x00aK\x01Qsb.",
}


@pytest.mark.parametrize("tree", TREES)
def test_a_tree_of_something_else(tree: str, whole: Path, tmp_path: Path) -> None:
    path = with_tree(whole, tmp_path / "bad.pt", TREES[tree])
    with pytest.raises(
        ModelError, match=r"not a readable torch checkpoint|holds an empty dict"
    ) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


def test_the_trees_above_are_wrong_in_one_thing_only(whole: Path, tmp_path: Path) -> None:
    good = TREES["a tensor past its storage"].replace(b"K\x0a(K\x05t", b"K\x02(K\x05t")
    found = read_tensors(with_tree(whole, tmp_path / "good.pt", good))
    assert found.keys() == {"a"}
    assert found["a"].shape == (5,)


def test_a_storage_that_is_missing_or_packed(whole: Path, tmp_path: Path) -> None:
    missing = change(
        whole,
        tmp_path / "a.pt",
        lambda name, content: None if name.endswith("/data/0") else content,
    )
    packed = change(
        whole, tmp_path / "b.pt", lambda _, content: content, compression=zipfile.ZIP_DEFLATED
    )
    for path in (missing, packed):
        with pytest.raises(ModelError, match="not a readable torch checkpoint"):
            read_tensors(path)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=10))
def test_damaged_bytes_are_an_error_of_ours_or_still_tensors(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[int, int]]
) -> None:
    """Damage the tree only and correct its checksum, as the zip would notice any other damage."""

    def damage(name: str, content: bytes) -> bytes:
        changed = bytearray(content)
        for place, value in damages if name.endswith("/data.pkl") else []:
            changed[place % len(changed)] = value
        return bytes(changed)

    path = change(whole, tmp_path_factory.getbasetemp() / "damaged_tree.pt", damage)
    try:
        found = read_tensors(path)
    except ModelError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())
