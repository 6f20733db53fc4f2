"""What a file holds, in lines that a reviewer can read: shapes, a few values, and fingerprints of
all of them.

Texts, whole numbers and truths are exact: eight digits of a SHA-256 stand for all of them, in their
order. Real numbers are given as least, mean and most, the first few, and a ``mix``: their sum with
weights between -1 and 1 that differ from place to place, over the sum of their sizes. So a single
value that moves, or two that change places, move it too; rounding, which grows with the sizes and
not with the sum, does not.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FEW = 4  # values that are shown
_TIMES = re.compile(r"\d+(\.\d+)? (s|ms|seconds?|GB/s|MB/s)\b")
# Of random weights, which another processor makes with other last bits.
_DIGESTS = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{40}\b|\b(?=\w*\d)(?=\w*[a-f])[0-9a-f]{8}\b")
# What differs from one run or machine to another, in a manifest.
_PASSING = {
    "versions",
    "timings",
    "started",
    "finished",
    "threads",
    "hashes",
    "seconds",
    "last_use",
    "modified_ns",
    "changed_ns",
    "crc32",
    "bytes",
}


# Columns of tables that differ from one run to another.
_SECONDS = {"build_seconds", "query_ms"}


def table(frame: pd.DataFrame) -> Iterator[str]:
    """A line for the size, and one for each column."""
    yield f"{len(frame)} rows"
    for name in frame.columns:
        if name in _SECONDS:
            yield f"  {name}: ..."
            continue
        column = frame[name].to_numpy()
        lists = len(column) and all(
            isinstance(one, np.ndarray) and one.dtype.kind == "f" for one in column
        )
        yield f"  {name}: {values(np.stack(column) if lists else column)}"


def values(found: np.ndarray[Any, Any]) -> str:
    """What an array holds, in a line."""
    flat = found.ravel()
    shape = f"{' x '.join(map(str, found.shape))} " if found.ndim != 1 else ""
    if flat.dtype.kind in "fc":
        return f"{shape}real, {_reals(flat.astype(np.float64))}"
    kind = {"i": "whole", "u": "whole", "b": "truth"}.get(flat.dtype.kind, "text")
    texts = [_text(one) for one in flat.tolist()]
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:8]
    known = dict.fromkeys(texts)
    some = " | ".join(list(known)[:FEW]) + (" ..." if len(known) > FEW else "")
    return f"{shape}{kind}, {len(known)} different: {some} #{digest}"


def _text(one: object) -> str:
    """A cell; of bytes that there are some, since other versions of a library pack pictures
    otherwise.
    """
    return (
        ("<bytes>" if one else "<no bytes>")
        if isinstance(one, bytes)
        else _DIGESTS.sub("<digest>", str(one))
    )


def _reals(flat: np.ndarray[Any, Any]) -> str:
    finite = flat[np.isfinite(flat)]
    said = [f"{len(flat) - len(finite)} not finite"] if len(finite) < len(flat) else []
    if len(finite):
        said += [
            f"{name} {number(of(finite))}" for name, of in (("least", np.min), ("most", np.max))
        ]
        weights = np.cos(1.0 + 2.5 * np.arange(len(flat)))[np.isfinite(flat)]
        mix = (weights * finite).sum() / (np.abs(finite).sum() or 1.0)
        said += [f"mean {number(finite.mean())}", f"mix {number(mix)}"]
    first = ", ".join(number(one) for one in flat[:FEW]) + (" ..." if len(flat) > FEW else "")
    return "; ".join([*said, f"first {first}"])


def number(value: float) -> str:
    """Seven digits, always with a point or an exponent: what is compared with a tolerance has
    one.
    """
    if not math.isfinite(value):
        return str(value)
    said = f"{value:.7g}"
    return said if set(said) & set(".e") else f"{said}.0"


def file(path: Path) -> list[str]:
    """The lines of one file, after the kind that its name ends in; of pictures and pages, that it
    is there.
    """
    if path.suffix == ".csv":
        return list(table(pd.read_csv(path)))
    if path.suffix == ".parquet":
        return list(table(pd.read_parquet(path)))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return [f"  {name}: {values(arrays[name])}" for name in arrays.files]
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return [f"  {name}: {values(array)}" for name, array in sorted(load_file(path).items())]
    if path.suffix == ".json":
        return [f"  {line}" for line in _flat(json.loads(path.read_text(encoding="utf-8")))]
    if path.suffix in (".md", ".txt"):
        return screen(path.read_text(encoding="utf-8"))
    return []


def _flat(found: Any, name: str = "") -> Iterator[str]:
    """Each leaf of a JSON document; what passes is named only."""
    if isinstance(found, dict) and found:
        for key, value in sorted(found.items()):
            inner = f"{name}.{key}" if name else key
            yield from [f"{inner}: ..."] if key in _PASSING else _flat(value, inner)
    elif isinstance(found, list) and any(isinstance(one, dict | list) for one in found):
        for place, one in enumerate(found):
            yield from _flat(one, f"{name}[{place}]")
    else:
        yield f"{name}: {_text(json.dumps(found, ensure_ascii=False))}"


def folder(path: Path) -> list[str]:
    """Every file below a folder, by name, with what it holds; of two of one content, once."""
    lines, known = [], dict[tuple[str, ...], str]()

    def place(one: Path) -> tuple[Path, bool, str]:
        return (
            one.with_suffix(""),
            one.suffix == ".csv",
            one.suffix,
        )  # Parquet before CSV: it has types

    for one in sorted(path.rglob("*"), key=place):
        if one.is_file():
            name, content = one.relative_to(path).as_posix(), file(one)
            first = known.setdefault(tuple(content), name)
            lines += (
                [name, *content]
                if first == name
                else [f"{name}: as {first}"]
                if content
                else [name]
            )
    return lines


def screen(text: str) -> list[str]:
    """What a terminal showed, without seconds and digests."""
    return [
        f"  {line.rstrip()}"
        for line in _DIGESTS.sub("<digest>", _TIMES.sub("... s", text)).splitlines()
    ]
