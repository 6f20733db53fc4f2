"""Test reading files of unknown origin."""

import builtins
import os
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from purescope.errors import ModelError, listed
from purescope.models import checkpoint
from purescope.models.checkpoint import find_zip_fault, read_tensors
from tests.checkpoints import training_extras, write_laclip

WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(-1.5), "c": torch.tensor([3])}


class Malicious:
    """Call `function(*arguments)` when unpickled the ordinary way."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def test_beside_the_weights_may_lie_what_a_training_script_saves(tmp_path: Path) -> None:
    path = write_laclip(tmp_path / "model.pt", WEIGHTS, extras=training_extras(WEIGHTS))
    found = read_tensors(path)
    assert found.keys() == WEIGHTS.keys()
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def test_scores_saved_by_an_older_numpy_are_readable(tmp_path: Path) -> None:
    """Read `numpy.core.multiarray.scalar` of numpy 1, which has another name in numpy 2."""
    path = write_laclip(tmp_path / "model.pt", WEIGHTS, extras={"best_acc1": np.float64(21.5)})
    old = tmp_path / "old.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            target.writestr(
                name, source.read(name).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            )
    assert b"numpy.core.multiarray" in old.read_bytes()
    assert read_tensors(old).keys() == WEIGHTS.keys()


@pytest.mark.parametrize("place", ["extras", "state_dict", "whole file", "legacy", "plain pickle"])
@pytest.mark.parametrize(
    "function", [os.mkdir, builtins.exec, Path.mkdir], ids=["mkdir", "exec", "Path.mkdir"]
)
def test_code_in_a_file_is_refused_and_not_run(
    function: Callable[..., Any], place: str, tmp_path: Path
) -> None:
    proof, path = tmp_path / "proof", tmp_path / "model.pt"
    code = f"import os; os.mkdir({str(proof)!r})"
    arguments = {builtins.exec: code, os.mkdir: str(proof), Path.mkdir: proof}
    bad = Malicious(function, arguments[function])
    if place == "extras":
        write_laclip(path, WEIGHTS, extras={"epoch": bad})
    elif place == "plain pickle":
        path.write_bytes(pickle.dumps(bad, protocol=2))
    else:
        content = {"state_dict": {**WEIGHTS, "d": bad}} if place == "state_dict" else bad
        torch.save(content, path, _use_new_zipfile_serialization=place != "legacy")
    refusal = r"refused, reading it would run \S*(mkdir|exec|getattr|pathlib)"
    with pytest.raises(ModelError, match=refusal) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)
    assert not proof.exists()


def test_the_malicious_file_is_malicious(tmp_path: Path) -> None:
    """Make sure that the file of the test above does run code otherwise."""
    proof, path = tmp_path / "proof", tmp_path / "model.pt"
    write_laclip(path, WEIGHTS, extras={"epoch": Malicious(os.mkdir, str(proof))})
    torch.load(path, weights_only=False)
    assert proof.exists()


def test_allowed_names_are_not_run_either(tmp_path: Path) -> None:
    """Refuse a forged state of a numpy dtype: numpy could read memory that is not its own."""
    scalar: Any = np.float64(1).__reduce__()[0]
    bad = Malicious(scalar, np.dtype("O"), b"8 bytes.")
    path = write_laclip(tmp_path / "model.pt", WEIGHTS, extras={"best": bad})
    assert read_tensors(path).keys() == WEIGHTS.keys()


@pytest.mark.parametrize("room", [4000, 3999])
def test_weights_of_half_precision_need_room_for_single_precision(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.ones(1000, dtype=torch.float16)}, tmp_path / "model.pt")
    monkeypatch.setattr("purescope.files.reading.available_memory", lambda: room)
    if room == 4000:
        assert read_tensors(tmp_path / "model.pt")["a"].shape == (1000,)
    else:
        with pytest.raises(
            ModelError, match=r"declares 2\.0 KB, and working with them takes 4\.0 KB"
        ):
            read_tensors(tmp_path / "model.pt")


NOT_CHECKPOINTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"begins with b''"),
    "text": (b"hello, I am no checkpoint", r"no torch checkpoint, it begins with b'hell'"),
    "JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(100), r"no torch checkpoint, it begins with"),
    "plain pickle": (
        pickle.dumps({"state_dict": {"a": 1}}, protocol=2),
        r"not a readable torch checkpoint",
    ),
    "new pickle": (pickle.dumps([1.5, "a"], protocol=5), r"not a readable torch checkpoint"),
    "half a zip": (b"PK\x03\x04" + bytes(100), r"truncated"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", NOT_CHECKPOINTS)
@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_other_files_are_told_apart(name: str, kind: str, tmp_path: Path) -> None:
    content, message = NOT_CHECKPOINTS[kind]
    path = tmp_path / name
    path.write_bytes(content)
    message = message if name.endswith(".pt") else "not a readable safetensors"
    with pytest.raises(ModelError, match=message) as caught:
        read_tensors(path)
    assert str(path) in str(caught.value)


def test_a_zip_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="not a readable torch checkpoint"):
        read_tensors(path)


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a folder"):
        read_tensors(tmp_path)
    with pytest.raises(ModelError, match="no such file"):
        read_tensors(tmp_path / "none.pt")


@pytest.mark.parametrize("legacy", [False, True])
def test_a_truncated_file(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": WEIGHTS}, path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"truncated|not a readable torch checkpoint"):
            read_tensors(path)


@pytest.mark.slow
@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=20))
def test_damaged_bytes_are_an_error_of_ours_or_still_tensors(
    tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    torch.save({"state_dict": WEIGHTS}, path)
    content = bytearray(path.read_bytes())
    for place, value in damages:
        content[place % len(content)] = value
    path.write_bytes(content)
    try:
        found = read_tensors(path)
    except ModelError:
        return
    assert all(isinstance(tensor, torch.Tensor) for tensor in found.values())


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, no weights"),
        ({}, "holds an empty dict, no weights"),
        ({"state_dict": torch.zeros(2)}, "holds a Tensor, no weights"),
        ({"epoch": 3, "model": {"a": "b"}}, r"not plain tensors: epoch, model"),
        ({"state_dict": {0: torch.zeros(2)}}, r"not plain tensors: 0"),
        ({"a": torch.eye(3).to_sparse()}, r"not plain tensors: a"),
        ({"a": torch.zeros(3, dtype=torch.complex64)}, r"not plain tensors: a"),
    ],
    ids=str,
)
def test_files_of_torch_without_weights(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(content, path)
    with pytest.raises(ModelError, match=message):
        read_tensors(path)


def test_the_prefix_goes_only_if_all_have_it(tmp_path: Path) -> None:
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert (
        read_tensors(write_laclip(tmp_path / "model.pt", mixed, prefix="")).keys() == mixed.keys()
    )


def test_safetensors_under_another_name(tmp_path: Path) -> None:
    """Recognise the format by its first bytes."""
    save_file(WEIGHTS, tmp_path / "model.bin")
    found = read_tensors(tmp_path / "model.bin")
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


ENTRY = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
HEADERS: dict[str, tuple[bytes, str]] = {
    "a name twice": (b'{"a":%s,"a":%s}' % (ENTRY, ENTRY), "a name twice"),
    "any length": (b"{" + b" " * 10_100_000 + b"}", r"a list of names of 10,1\d\d,\d+ bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_lists_of_names_of_safetensors(case: str, tmp_path: Path) -> None:
    header, message = HEADERS[case]
    header += b" " * (-len(header) % 8)
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelError, match=message):
        read_tensors(tmp_path / "model.safetensors")


def test_the_first_few_of_many_are_named() -> None:
    assert listed("abc", 3) == "a, b, c"
    assert listed("abcd", 3) == "a, b, c and 1 more"


def saved(path: Path) -> bytes:
    torch.save({"a": torch.zeros(4)}, path)
    return path.read_bytes()


END, END_64 = 22, 56 + 20 + 22


def two_lists(good: bytes) -> bytes:
    """Repeat the list next to the end; the stated position is still that of the first list."""
    length, place = struct.unpack("<QQ", good[-END_64 + 40 : -END_64 + 56])
    return good[:-END_64] + good[place : place + length] + good[-END:]


def wrong_count(good: bytes) -> bytes:
    """State one file fewer than the zip has, however many a version of torch writes."""
    end = bytearray(good[-END_64:])
    (count,) = struct.unpack_from("<Q", end, 24)
    struct.pack_into("<Q", end, 24, count - 1)
    return good[:-END_64] + bytes(end)


ZIPS: dict[str, tuple[Any, str]] = {
    "two lists": (two_lists, "two lists of files"),
    "a gap before the end": (
        lambda good: good[:-END] + bytes(30) + good[-END:],
        "two lists of files|not a readable",
    ),
    "something before it": (lambda good: bytes(8) + good, "no torch checkpoint|something before"),
    "a zip before it": (lambda good: good + good, "two lists of files|something"),
    "a comment": (lambda good: good[:-2] + b"\x03\x00abc", "something after its list"),
    "a wrong count": (wrong_count, "two lists of files|not a readable"),
}


@pytest.mark.parametrize("case", ZIPS)
def test_zips_of_which_two_readers_see_different_files(case: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    change, message = ZIPS[case]
    path.write_bytes(change(saved(path)))
    with pytest.raises(ModelError, match=message):
        read_tensors(path)


@pytest.mark.parametrize("name", ["archive/data/0", "archive/DATA/0", "archive/data.PKL"])
def test_two_files_of_one_name(name: str, tmp_path: Path) -> None:
    saved(tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "model.pt", "w") as bad,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # zipfile warns about a name twice
        for entry in good.infolist():
            bad.writestr(entry.filename.replace("good/", "archive/"), good.read(entry))
        bad.writestr(name, b"\0\0\x40\x40" * 4)
    with pytest.raises(ModelError, match="holds two files with one name"):
        read_tensors(tmp_path / "model.pt")


def lying(good: bytes, place: int, form: str, change: int) -> bytes:
    """Change a number in the end of a large zip."""
    end = bytearray(good)
    at = len(good) - END_64 + place
    (number,) = struct.unpack_from(form, end, at)
    struct.pack_into(form, end, at, number + change)
    return bytes(end)


@pytest.mark.parametrize(
    ("place", "form", "change"),
    [
        (0, "<I", 1 << 16),  # its mark
        (4, "<Q", 1),  # its length
        (64, "<Q", 1),  # where its locator says that it stands
        (32, "<Q", 1),  # how many files there are
        (40, "<Q", -1),  # how long their list is
        (48, "<Q", 1),  # where that begins
    ],
)
def test_each_number_in_the_end_of_a_large_zip_is_held_to_what_is_there(
    place: int, form: str, change: int, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    good = saved(path)
    assert find_zip_fault(path) == ""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    path.write_bytes(lying(good, place, form, change))
    assert checkpoint._find_list_fault(path, entries) == "two lists of files"


@pytest.mark.parametrize("files", [0, 1])
def test_a_small_zip_has_one_end(files: int, tmp_path: Path) -> None:
    path = tmp_path / "small.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(files):
            archive.writestr(f"{number}", b"x")
    expected = "" if files else "something before its first file"
    assert find_zip_fault(path) == expected
    if files:
        content = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        path.write_bytes(content[:-END] + b"\0" + content[-END:])
        assert checkpoint._find_list_fault(path, entries) == "two lists of files"
