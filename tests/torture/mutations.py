"""Ways to damage a file: bytes at random, and changes that a reader's first checks let pass.

Each is a function of a path and a source of randomness, and changes the file in place. What stands
in `OF_SUFFIX` knows the format: it writes sizes, checksums and headers anew, so that what it
changed is reached by the reader.
"""

import io
import json
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Mutation: TypeAlias = Callable[[Path, random.Random], object]

STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 3, 1.5, float("nan"), float("inf"), 2**31, 2**40, 2**63, -(2**63), 10**30, 1e300, "", "x", "\0",
    "[/red]x", "../../x", "/etc/passwd", "~/x", "a\nb", "\u202e", "\ud800", "x" * 5000, [], [None], [1, 2, 3], ["x"],
    [[[]]], {}, {"a": 1},
)  # fmt: skip
KEYS = (
    "auto_map", "trust_remote_code", "configuration_files", "_name_or_path", "weights_only", "tokenizer_class",
    "hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "quantization_config", "model_type", "timm_model_name",
    "vocab_file", "__class__", "layers", "width", "custom_text",
)  # fmt: skip


def damage(content: bytes, rng: random.Random) -> bytes:
    """Cut, flip, overwrite, repeat or insert; in the first bytes, where headers are, as often as
    anywhere.
    """
    if not content:
        return b"\0"
    changed = bytearray(content)
    reach = min(len(content), 200) if rng.random() < 0.5 else len(content)
    at = rng.randrange(reach)
    match rng.randrange(6):
        case 0:
            del changed[at:]
        case 1:
            changed[at] ^= 1 << rng.randrange(8)
        case 2:
            for _ in range(rng.randint(2, 20)):
                changed[rng.randrange(reach)] = rng.randrange(256)
        case 3:
            changed[at : at + 64] = bytes(min(64, len(content) - at))
        case 4:
            changed[at:at] = changed[at : at + rng.randint(1, 100)]
        case 5:
            changed[at:at] = rng.randbytes(rng.randint(1, 40))
    return bytes(changed)


def at_random(path: Path, rng: random.Random) -> None:
    """Damage bytes."""
    path.write_bytes(damage(path.read_bytes(), rng))


def something_else(path: Path, rng: random.Random) -> None:
    """Put a pipe, a device, a folder, a loop or nothing in its place."""
    path.unlink()
    match rng.randrange(6):
        case 0:
            os.mkfifo(path)
        case 1:
            path.symlink_to("/dev/zero")
        case 2:
            path.mkdir()
        case 3:
            path.symlink_to(path)
        case 4:
            path.write_bytes(b"")
        case 5:
            path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def change_tree(tree: Any, rng: random.Random) -> Any:
    """Give one value another type, take it out, repeat it, or put a key beside it that leads
    libraries astray.
    """
    node, parent, keys = tree, None, []
    while isinstance(node, dict | list) and node and (not keys or rng.random() < 0.7):
        keys.append(rng.choice([*node] if isinstance(node, dict) else range(len(node))))
        parent, node = node, node[keys[-1]]
    if parent is None:
        return rng.choice(STRANGE)
    match rng.randrange(6):
        case 0:
            del parent[keys[-1]]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(KEYS)] = rng.choice(STRANGE)
        case 2 if isinstance(parent, list):
            parent.extend(parent[:1] * rng.choice((1, 100)))
        case 3 if isinstance(node, int) and not isinstance(node, bool):
            parent[keys[-1]] = node + rng.choice((-1, 1, 1000, 10**7))
        case _:
            parent[keys[-1]] = rng.choice(STRANGE)
    return tree


def json_text(path: Path, rng: random.Random) -> None:
    """Change a value in JSON; or nest it deep, spell it otherwise, or say a key twice."""
    text = json.dumps(
        change_tree(json.loads(path.read_text(encoding="utf-8")), rng), ensure_ascii=True
    )
    match rng.randrange(12):
        case 0:
            text = "[" * 50_000
        case 1:
            text = text.replace('"a', '"\\u0061')
        case 2 if text.startswith("{"):
            text = text[:-1] + "," + text[1:]
        case 3:
            text = "\ufeff" + text
    path.write_text(text, encoding="utf-8", errors="surrogatepass")


def text_lines(path: Path, rng: random.Random) -> None:
    """Repeat, drop, empty or spoil lines and cells of a text."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    at = rng.randrange(len(lines))
    strange = str(
        rng.choice([one for one in STRANGE if not isinstance(one, str) or one.isprintable()])
    )
    match rng.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines[at:at] = lines[at : at + 1] * rng.choice((1, 1000))
        case 2:
            cells = lines[at].split(",")
            cells[rng.randrange(len(cells))] = strange
            lines[at] = ",".join(cells)
        case 3:
            lines[at] += rng.choice((",", ";", "\t", '"', "\r", "\0", ",x" * 3000))
        case 4:
            lines[at] = ""
        case 5:
            lines[at] = strange
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")


def zip_members(path: Path, rng: random.Random) -> None:
    """Change a member of a zip and write its checksum anew; or repeat, compress, rename or drop
    one.
    """
    with zipfile.ZipFile(path) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(members))
    name, content = members[at]
    method = zipfile.ZIP_STORED
    match rng.randrange(9):
        case 0:
            members.append((name, damage(content, rng)))
        case 1:
            method = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        case 2:
            members[at] = (rng.choice(("../" + name, "/" + name, "", "x", name + "\0")), content)
        case 3:
            del members[at]
        case 4 if name.endswith(".npy"):
            members[at] = (name, npy(content, rng))
        case 5:
            method = zipfile.ZIP_DEFLATED
            members[at] = (name, content[:200] + bytes(30_000_000))
        case _:
            members[at] = (name, damage(content, rng))
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)


def npy(content: bytes, rng: random.Random) -> bytes:
    """Let the header of an array declare another type or shape."""
    length = struct.unpack("<H", content[8:10])[0]
    header = content[10 : 10 + length].decode("latin-1")
    old, new = rng.choice(
        (
            ("'<f4'", "'<f8'"), ("'<f4'", "'|O'"), ("'<i8'", "'<u8'"), ("<", ">"), ("(", "(9999999999, "),
            ("(", "(0, "),
            ("(", "(-1, "), ("False", "True"), ("shape", "shope"), ("{", "{'a': " + "[" * 300),
            ("'<f4'", "'|V9'"),
        )
    )  # fmt: skip
    text = header.replace(old, new, 1).rstrip().ljust(length - 1)[: length - 1] + "\n"
    return content[:10] + text.encode("latin-1") + content[10 + length :]


def safetensors_header(path: Path, rng: random.Random) -> None:
    """Change what a file of safetensors declares, its length written anew."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    tree = change_tree(json.loads(content[8 : 8 + length]), rng)
    header = json.dumps(tree).encode()
    if rng.randrange(10) == 0 and isinstance(tree, dict):
        header = header[:-1] + b"," + header[1:]  # every name twice
    declared = rng.choice((len(header),) * 9 + (2**40,))
    path.write_bytes(struct.pack("<Q", declared) + header + content[8 + length :])


def tar_headers(path: Path, rng: random.Random) -> None:
    """Change what a tar says of one member, its checksum written anew."""
    with tarfile.open(path) as archive:
        members = [(info, archive.extractfile(info)) for info in archive.getmembers()]
        read = [(info, content.read() if content else b"") for info, content in members]
    at = rng.randrange(len(read))
    info, content = read[at]
    match rng.randrange(7):
        case 0:
            info.name = rng.choice(
                (
                    "../../x.png",
                    "/x.png",
                    "x" * 300 + ".png",
                    "\x1b[2K.png",
                    "a.cls",
                    ".png",
                    "é/ü.cls",
                )
            )
        case 1:
            info.type = rng.choice(
                (
                    tarfile.SYMTYPE,
                    tarfile.LNKTYPE,
                    tarfile.FIFOTYPE,
                    tarfile.CHRTYPE,
                    tarfile.DIRTYPE,
                )
            )
            info.linkname = "../../x"
        case 2:
            read.append((info, content))
        case 3:
            read[at] = (info, damage(content, rng))
        case 4:
            read[at] = (
                info,
                rng.choice((b"-1", b"99999999999999999999", b"1.0", b" ", b"\0", "٣".encode())),
            )
        case 5:
            del read[at]
        case 6:
            info.pax_headers = {
                "path": "a" * 10_000,
                "size": rng.choice(("-5", "99999999999", "x")),
            }
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in read:
            info.size = len(content) if info.isreg() else 0
            try:
                archive.addfile(info, io.BytesIO(content))
            except (OSError, ValueError):
                continue


def parquet_table(path: Path, rng: random.Random) -> None:
    """Change a cell, a column or the rows of a Parquet table, page checksums written anew."""
    table = pd.read_parquet(path)
    name = rng.choice([*table.columns])
    try:
        match rng.randrange(7):
            case 0:
                table = table.drop(columns=name)
            case 1:
                table = table.rename(columns={name: rng.choice(("x", "model", ""))})
            case 2:
                table = pd.concat([table, table[: rng.randint(0, 3)]])
            case 3:
                table = table[: rng.randint(0, 1)]
            case 4:
                strange = rng.choice([one for one in STRANGE if not isinstance(one, list | dict)])
                table[name] = pd.Series([strange] * len(table), index=table.index)
            case 5 if len(table):
                if table[name].dtype.kind in "fi":
                    table[name] = table[name].astype("float64")
                    table.iloc[rng.randrange(len(table)), table.columns.get_loc(name)] = rng.choice(
                        (7.5, -5, np.nan, np.inf, 1e18, 0)
                    )
            case _:
                table[name] = rng.choice(("x", 3, 0.5, b"x", True))
        table.to_parquet(path, index=False)
    except Exception:  # not every table can be written
        at_random(path, rng)


OF_SUFFIX: dict[str, tuple[Mutation, ...]] = {
    ".json": (json_text, text_lines),
    ".txt": (text_lines,),
    ".csv": (text_lines,),
    ".npz": (zip_members,),
    ".pt": (zip_members,),
    ".safetensors": (safetensors_header,),
    ".tar": (tar_headers,),
    ".parquet": (parquet_table,),
}


def mutate(path: Path, rng: random.Random) -> str:
    """Change a file in one way or, seldom, in two; return which."""
    told = []
    for _ in range(1 if rng.random() < 0.8 else 2):
        known = OF_SUFFIX.get(path.suffix, ())
        change = rng.choice(known) if known and rng.random() < 0.7 else at_random
        change = something_else if rng.random() < 0.04 else change
        try:
            change(path, rng)
        except Exception:  # what a first change made of it, the second cannot read
            break
        told.append(change.__name__)
        if not path.is_file() or path.is_symlink():
            break
    return " ".join(told)
