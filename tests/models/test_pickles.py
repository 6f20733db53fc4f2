"""Test that small checkpoints that cost much to read are refused before they are read."""

import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from purescope.errors import ModelError
from purescope.models import pickles
from purescope.models.checkpoint import read_tensors

PROTOCOL = b"\x80\x02"
ENCODE = b"c_codecs\nencode\n"


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def doubled(times: int) -> bytes:
    """Nest tuples, each of which refers to the next one twice."""
    return b")q\x00" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(times))


def wide(depth: int) -> bytes:
    """Nest fewer tuples, each of which refers to the next one thirty times."""
    levels = (b"(" + (b"h" + bytes([i])) * 30 + b"tq" + bytes([i + 1]) for i in range(depth))
    return b")q\x00" + b"".join(levels)


EXPANDED = (
    b"ctorch._utils\n_rebuild_tensor_v2\n(("
    + text("storage")
    + b"ctorch\nFloatStorage\n"
    + text("0")
    + text("cpu")
    + b"K\x01tQK\x00J\x00\xca\x9a\x3b\x85K\x00\x85\x89}tR"
)
PICKLES: dict[str, tuple[bytes, str]] = {
    "a key of tuples": (doubled(60) + b"K\x01", r"elements, with nested tuples"),
    "a key of wide tuples": (wide(6) + b"K\x01", r"elements, with nested tuples"),
    "a key of many elements": (b"(" + b"K\x01" * 200 + b"tK\x01", "a key of 201 elements"),
    "a member of many elements": (
        text("a") + b"\x8f((" + b"K\x01" * 200 + b"tK\x02\x90",
        "a key of 201 elements",
    ),
    "a value of tuples": (text("a") + doubled(60), r"elements, with nested tuples"),
    "a set of tuples": (
        text("a") + b"c__builtin__\nset\n" + doubled(60) + b"\x85\x85R",
        r"elements, with nested",
    ),
    "a set of a tensor": (
        text("a") + b"c__builtin__\nset\n" + EXPANDED + b"\x85R",
        r"would run builtins\.set",
    ),
    "bytes of a number": (
        text("a")
        + b"c__builtin__\nbytearray\n\x8a\x05"
        + (6 << 30).to_bytes(5, "little")
        + b"\x85R",
        r"would run builtins\.bytearray",
    ),
    "a codec that doubles": (
        text("a") + ENCODE + text("a") + text("hex_codec") + b"\x86R",
        r"would run _codecs\.en",
    ),
    "a codec that is slow": (
        text("a") + ENCODE + text("a") + text("punycode") + b"\x86R",
        r"would run _codecs\.en",
    ),
    "a codec in a list": (
        text("a") + ENCODE + text("a") + text("hex_codec") + b"\x86lR",
        r"not a readable|would run",
    ),
    "a function for another": (
        text("a") + b"ctorch._tensor\n_rebuild_from_type_v2\n(" + ENCODE + b"ctorch\nTensor\n(tNtR",
        r"would run _codecs\.encode",
    ),
    "bytes again and again": (
        text("a")
        + ENCODE
        + b"q\x00"
        + text("b" * 9_000_000)
        + text("latin1")
        + b"\x86q\x01R0"
        + b"h\x00h\x01R0" * 20
        + b"K\x01",
        r"more than 64,000,000 bytes",
    ),
    "a copy of a view": (
        text("a")
        + b"ctorch._utils\n_rebuild_device_tensor_from_cpu_tensor\n("
        + EXPANDED
        + text("cpu")
        + b"tR",
        r"would run torch\._utils\._rebuild_device_tensor",
    ),
    "a set of tuples by names that are values": (
        text("a") + text("builtins") + text("set") + b"\x93" + doubled(5) + b"\x85\x85R",
        "operation STACK_GLOBAL",
    ),
    "a number of any length": (
        b"\x8b" + struct.pack("<I", 1000) + bytes(999) + b"\x01K\x01",
        "operation LONG4",
    ),
    "room for numbers": (
        text("a") + b"K\x01r\xff\xff\xff\x7f",
        "remembers a value as number 2,147,483,647",
    ),
    "more than there is": (text("a") + b"X\xff\xff\xff\x7fb", "not a readable torch checkpoint"),
}


def write(path: Path, form: str, tree: bytes) -> Path:
    """Write a pickle as torch does: in a zip, a TorchScript archive, or alone as in old files."""
    if form == "old":
        path.write_bytes(tree)
        return path
    more = {"m/constants.pkl": PROTOCOL + b")."} if form == "TorchScript" else {}
    with zipfile.ZipFile(path, "w") as archive:
        content = {
            "m/data.pkl": tree,
            "m/byteorder": b"little",
            "m/version": b"3\n",
            "m/data/0": bytes(4),
            **more,
        }
        for name, part in content.items():
            archive.writestr(name, part)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("case", PICKLES)
@pytest.mark.parametrize("form", ["zip", "old", "TorchScript"])
def test_pickles_that_cost_more_than_their_size(form: str, case: str, tmp_path: Path) -> None:
    content, message = PICKLES[case]
    tree = PROTOCOL + b"}" + content + b"s."
    with pytest.raises(ModelError, match=message):
        read_tensors(write(tmp_path / "model.pt", form, tree))


def test_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use a low limit: with type checks, the real one would take a minute."""
    monkeypatch.setattr(pickles, "_OPERATIONS", 1000)
    tree = PROTOCOL + b"}" + text("a") + b"(" + b"N" * 1000 + b"ts."
    with pytest.raises(ModelError, match="more than 1,000 operations"):
        read_tensors(write(tmp_path / "model.pt", "zip", tree))


def test_the_second_pickle_of_an_old_file(tmp_path: Path) -> None:
    magic = PROTOCOL + b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    tree = PROTOCOL + b"}" + PICKLES["a key of tuples"][0] + b"s."
    with pytest.raises(ModelError, match="elements, with nested tuples"):
        read_tensors(
            write(
                tmp_path / "model.pt",
                "old",
                magic + PROTOCOL + b"M\xe9\x03." + PROTOCOL + b"}." + tree,
            )
        )


EXTRAS: dict[str, Any] = {
    "scores": [np.float64(1.5), np.float32(2)],
    "bytes": b"abc\xff",
    "names": tuple(f"class {i}" for i in range(5000)),
    "pairs": {("a", (1, 2)): 3, (): 4},
    "a set": {1, 2, "a"},
    "counts": Counter("abca"),
    "in order": OrderedDict(a=OrderedDict(b=1)),
    "sizes": torch.Size([1, 2]),
    "types": [torch.float16, torch.device("cpu"), 1j],
    "parameters": torch.nn.ParameterDict({"a": torch.nn.Parameter(torch.zeros(2))}).state_dict(),
    "losses": [float(i) for i in range(500)],
    "deep": [[[[[[[[[[[[({"a": (1, ((), (2,)))},)]]]]]]]]]]]],
}


@pytest.mark.slow
@pytest.mark.parametrize("old", [False, True])
def test_what_honest_checkpoints_hold(old: bool, tmp_path: Path) -> None:
    weights = {
        f"layers.{i}.weight": torch.nn.Parameter(torch.full((2, 3), float(i))) for i in range(60)
    }
    optimiser = torch.optim.AdamW(weights.values())
    sum(weight.sum() for weight in weights.values()).backward()
    optimiser.step()
    content = {"state_dict": weights, "optimizer": optimiser.state_dict(), **EXTRAS}
    torch.save(content, tmp_path / "model.pt", _use_new_zipfile_serialization=not old)
    found = read_tensors(tmp_path / "model.pt")
    assert all(torch.equal(found[name], weight) for name, weight in weights.items())


@pytest.mark.slow
def test_modules_in_modules(tmp_path: Path) -> None:
    """Limit the depth, because the name of a tensor is as long as its path."""

    def tree(depth: int) -> bytes:
        tensor = (
            b"ctorch._utils\n_rebuild_tensor_v2\n(("
            + text("storage")
            + b"ctorch\nFloatStorage\n"
            + text("0")
        )
        tensor += text("cpu") + b"K\x01tQK\x00))\x89}tR"
        step = b"q\x02h\x00)\x81}" + text("a") + b"h\x02sb"
        start = b"c__torch__\nM\nq\x00)\x81}" + text("w") + tensor + b"sb"
        return PROTOCOL + start + step * depth + b"."

    found = read_tensors(write(tmp_path / "good.pt", "TorchScript", tree(60)))
    assert list(found) == ["a." * 60 + "w"]
    with pytest.raises(ModelError, match="modules in modules, more than 64 deep"):
        read_tensors(write(tmp_path / "model.pt", "TorchScript", tree(5_000)))
