"""``wds:PATTERN``: tar shards of images and labels, in the layout that the CLIP benchmark community
publishes.

ROOT/classnames.txt                             one class name a line, in the order of labels
ROOT/zeroshot_classification_templates.txt      one template a line, {c} for the name; may be
missing ROOT/test/nshards.txt                           how many shards there are; may be missing
ROOT/test/0.tar, 1.tar, ...                     KEY.jpg (or .jpeg, .png, .webp) and KEY.cls, a
number, for each key
"""

import io
import itertools
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from purescope.datasets.archives import Member, members, read_member
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.decoding import Convert
from purescope.datasets.images import (
    FINGERPRINTED,
    Looked,
    file_contents,
    look_at_starts,
    open_rgb,
    reading,
)
from purescope.datasets.prompts import PLAIN_TEMPLATES
from purescope.datasets.words import CLASSNAMES, TEMPLATES, read_lines, templates_in
from purescope.errors import DatasetError, listed
from purescope.specs import exists, short_name, to_path

_IMAGES = ("webp", "png", "jpg", "jpeg")  # the first one that a key has
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MOST_SHARDS = 100_000
_LAYOUT = (
    "a folder of tars, ROOT with ROOT/test/*.tar, a pattern DIR/*.tar or DIR/{0..4}.tar, or one tar"
)


@dataclass(frozen=True)
class _Sample:
    shard: Path
    image: Member
    label: int


def load(pattern: str) -> Dataset:
    """The samples of the shards that `pattern` names, in the order of the numbers in their names.

    Raises:
        DatasetError: a shard is missing or damaged, a key lacks its image or its label, a label is
            no number or has no class name, or there are no class names.
    """
    try:
        shards = _shards(pattern)
    except OSError as error:
        raise DatasetError(
            f"wds:{pattern} cannot be read: {error}", expected=_LAYOUT, fix="check its permissions"
        ) from error
    root, classes = _class_names(shards[0].parent)
    samples = [sample for shard in shards for sample in _samples(shard, len(classes))]
    labels = torch.tensor([sample.label for sample in samples], dtype=torch.int64)
    own_templates = os.path.lexists(templates := root / TEMPLATES)
    above = Path(os.path.commonpath([shard.parent for shard in shards]))

    def read(index: int, convert: Convert) -> Image.Image:
        shard, image = samples[index].shard, samples[index].image
        return open_rgb(
            io.BytesIO(read_member(shard, image)), f"{image.name} of {shard}", convert=convert
        )

    shard_contents = file_contents(shards, above, most=sys.maxsize)
    looked = _look(samples)
    looked.warn(f"wds:{pattern}")
    return Dataset(
        name=short_name(root.resolve().name),
        spec=f"wds:{pattern}",
        classes=classes,
        labels=labels,
        images=looked.images(read),
        display_names=classes,
        templates=templates_in(read_lines(templates), str(templates))
        if own_templates
        else PLAIN_TEMPLATES,
        source={
            "split": ", ".join(dict.fromkeys(shard.parent.resolve().name for shard in shards)),
            "shards": str(len(shards)),
            "words": str(templates if own_templates else root / CLASSNAMES),
            "fingerprint_of": FINGERPRINTED.replace("file", "shard"),
        },
        fingerprint=fingerprint(classes, labels, itertools.chain(shard_contents, looked.contents)),
    )


def _look(samples: Sequence[_Sample]) -> Looked:
    """What the images have beside plain colours; their bytes are in the fingerprint with those of
    their shards.
    """

    def read(index: int, length: int) -> bytes:
        shard, image = samples[index].shard, samples[index].image
        return read_member(shard, replace(image, size=length))

    colours = look_at_starts([sample.image.size for sample in samples], read)
    names = [sample.image.name.encode(errors="surrogatepass") for sample in samples]
    told = zip(names, map(reading, colours), strict=True)
    return Looked([name + how for name, how in told if how], colours)


def _shards(pattern: str) -> list[Path]:
    path = to_path(pattern)
    if exists(path) and not path.is_dir():
        return [path]
    if _RANGE.search(pattern) and not path.is_dir():
        return _all_there(
            [Path(name) for name in itertools.islice(_expand(str(path)), _MOST_SHARDS + 1)]
        )
    found = (
        [*path.glob("*.tar")] or [*(path / "test").glob("*.tar")]
        if path.is_dir()
        else [*_glob(path)]
    )
    found = [
        shard for shard in found if not shard.name.startswith("._")
    ]  # which macOS makes beside files of its own
    if not found:
        raise DatasetError(
            f"wds:{pattern}: no shard is there", expected=_LAYOUT, fix="check the path"
        )
    if path.is_dir() or path.name == "*.tar":
        for folder, shards in itertools.groupby(sorted(found), key=lambda shard: shard.parent):
            _check_count(folder, len([*shards]))
    return sorted(found, key=_by_number)


def _all_there(shards: list[Path]) -> list[Path]:
    gone = [shard for shard in shards if not shard.exists() or shard.is_dir()]
    if gone:
        raise DatasetError(
            f"{len(gone)} of {len(shards)} shards are not there, first {gone[0]}",
            expected="a file for each number from the first to the last",
            fix="name those that are there, or fetch the others",
        )
    if len(shards) > _MOST_SHARDS:
        raise DatasetError(
            f"over {_MOST_SHARDS} shards, first {shards[0]}", fix="name fewer of them"
        )
    return shards


def _expand(pattern: str) -> Iterator[str]:
    """Each name that a pattern like ``{00..12}`` stands for, with as many digits.

    Examples:
        >>> [*_expand("{08..10}.tar")]
        ['08.tar', '09.tar', '10.tar']
    """
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = found.groups()
    if int(first) > int(last):
        raise DatasetError(f"{found[0]} in {pattern}", expected="{FIRST..LAST}, both included")
    for number in range(int(first), int(last) + 1):
        yield from _expand(
            f"{pattern[: found.start()]}{number:0{len(first)}}{pattern[found.end() :]}"
        )


def _glob(path: Path) -> Iterator[Path]:
    """What a pattern with ``*`` and ``?`` names, in folders too."""
    parts = path.parts
    first = next((i for i, part in enumerate(parts) if re.search(r"[*?[]", part)), len(parts) - 1)
    try:
        # Pipes and devices are named when they are reached: only folders are no shards.
        yield from (
            found
            for found in Path(*parts[:first]).glob(str(Path(*parts[first:])))
            if not found.is_dir()
        )
    except (ValueError, NotImplementedError, IndexError):  # "**" in a word, or no pattern at all
        return


def _by_number(shard: Path) -> list[tuple[int, str]]:
    """10.tar comes after 9.tar."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", str(shard))
    ]


def _check_count(folder: Path, shards: int) -> None:
    file = folder / "nshards.txt"
    told = read_lines(file)[0] if os.path.lexists(file) else str(shards)
    if told != str(shards):
        raise DatasetError(
            f"{shards} shards are in {folder}",
            expected=f"{told}, as {file.name} has it",
            fix="fetch the others; or name those to take: DIR/{0..4}.tar",
        )


def _class_names(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """The root of the set, which has the list of class names: the folder of the shards, or the one
    above.
    """
    for root in (folder, folder.resolve().parent):
        if os.path.lexists(root / CLASSNAMES):
            return root, read_lines(root / CLASSNAMES)
    raise DatasetError(
        f"no {CLASSNAMES} in {folder} or in the folder above",
        expected="one class name a line, in the order of labels",
        fix=f"fetch it with the shards, or write it: {folder / CLASSNAMES}",
    )


def _samples(shard: Path, classes: int) -> Iterator[_Sample]:
    """The image and the label of each key, in the order of the shard."""
    keys = _parts(shard)
    extra = _join_parts(shard, keys)
    for key, found in keys.items():
        image = next((found[suffix] for suffix in _IMAGES if suffix in found), None)
        if image is None or "cls" not in found:
            names = " and ".join(member.name for member in found.values())
            raise DatasetError(
                f"{key} in {shard} has {' and '.join(f'.{suffix}' for suffix in found)} only: "
                f"{names}",
                expected=f"an image (.{', .'.join(_IMAGES)}) and its label (.cls)",
                fix="call the two alike up to their endings",
            )
        yield _Sample(shard, image, _label(shard, found["cls"], classes))
    if extra:
        warnings.warn(
            f"{shard}: {extra} files are further parts of images that have a picture and a label, "
            f"and are left out",
            stacklevel=3,
        )


def _parts(shard: Path) -> dict[str, dict[str, Member]]:
    """The pictures and labels of a shard, by their names up to the last dot and by their endings.

    The format splits names at their first dot, where many are called ``Track 2.0 (live).jpg``; see
    `_host`.
    """
    keys: dict[str, dict[str, Member]] = {}
    for member in members(shard):
        folder, _, file = member.name.rpartition("/")
        stem, _, suffix = file.rpartition(".")
        if stem and not stem.startswith(".") and suffix.lower() in (*_IMAGES, "cls"):
            found = keys.setdefault(f"{folder}/{stem}".lstrip("/"), {})
            if suffix.lower() in found:
                raise DatasetError(f"{member.name} is twice in {shard}", expected="each file once")
            found[suffix.lower()] = member
    return keys


def _host(key: str, keys: Mapping[str, Mapping[str, Member]]) -> str | None:
    """The key that a part with an ending of two words belongs to: ``00001.image.png`` to 00001."""
    folder, slash, name = key.rpartition("/")
    while "." in name:
        name = name.rpartition(".")[0]
        if keys.get(folder + slash + name):
            return folder + slash + name
    return None


def _is_whole(found: Mapping[str, Member]) -> bool:
    return "cls" in found and len(found) > 1


def _join_parts(shard: Path, keys: dict[str, dict[str, Member]]) -> int:
    """Give keys what they lack from their parts, which are no keys then; return how many files are
    left over.

    Raises:
        DatasetError: a key without a picture has several parts that are pictures.
    """
    parts: dict[str, list[str]] = {}
    for key in keys:
        host = None if _is_whole(keys[key]) else _host(key, keys)
        if host is not None:
            parts.setdefault(host, []).append(key)
    extra = 0
    for host, names in parts.items():
        lacking = [suffix for suffix in ("cls",) if suffix not in keys[host]]
        lacking += [] if any(suffix in keys[host] for suffix in _IMAGES) else _IMAGES
        fitting = [
            member for name in names for suffix, member in keys[name].items() if suffix in lacking
        ]
        pictures = [member.name for member in fitting if not member.name.lower().endswith(".cls")]
        if len(pictures) > 1:
            raise DatasetError(
                f"{host} in {shard} has the pictures {listed(pictures)}",
                expected="one picture for each key",
                fix="leave only the one that is meant in the shard",
            )
        extra += sum(len(keys.pop(name)) for name in names) - len(fitting)
        keys[host].update({member.name.rpartition(".")[2].lower(): member for member in fitting})
    return extra


def _label(shard: Path, member: Member, classes: int) -> int:
    expected = f"a whole number from 0 to {classes - 1}, for the {classes} names of {CLASSNAMES}"
    text = read_member(shard, member).strip() if member.size <= 20 else b"..."
    if not re.fullmatch(rb"[0-9]+", text) or int(text) >= classes:
        raise DatasetError(
            f"{member.name} in {shard} is {text.decode('ascii', 'replace')!r}", expected=expected
        )
    return int(text)
