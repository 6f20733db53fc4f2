"""Load ``wds:PATTERN``: tar shards of images and labels, as the CLIP benchmark publishes them.

The layout, where KEY.jpg may also end in .jpeg, .png or .webp, and KEY.cls holds a number::

    ROOT/classnames.txt                           one class name a line, in the order of labels
    ROOT/zeroshot_classification_templates.txt    one template a line, {c} for the name; optional
    ROOT/test/nshards.txt                         the number of shards; optional
    ROOT/test/0.tar, 1.tar, ...                   KEY.jpg and KEY.cls for each key
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

from purescope.datasets.archives import Member, read_member, read_members
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.datasets.decoding import Convert
from purescope.datasets.images import (
    FINGERPRINTED,
    ImageScan,
    LazyImages,
    conversion_mark,
    hash_files,
    open_rgb,
    read_all_colours,
)
from purescope.datasets.prompts import (
    CLASSNAMES,
    PLAIN_TEMPLATES,
    TEMPLATES,
    read_lines,
    standard_templates,
)
from purescope.errors import DatasetError, listed
from purescope.specs import exists, short_name, to_path

IMAGES = ("webp", "png", "jpg", "jpeg")
"""Endings of images in a shard; the first one that a key has is used."""

_LABEL = ("cls",)
_RANGE = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")
_MAX_SHARDS = 100_000
_LAYOUT = (
    "a folder of tars, ROOT with ROOT/test/*.tar, a pattern DIR/*.tar or DIR/{0..4}.tar, or one tar"
)

# The members of each key, by their endings.
_Keys = Mapping[str, Mapping[str, Member]]


@dataclass(frozen=True)
class Sample:
    """An image in a shard, with the other members of its key by their endings."""

    shard: Path
    image: Member
    others: Mapping[str, Member]


def load(pattern: str) -> Dataset:
    """Load the samples of the shards that `pattern` names, in the order of the shards' numbers.

    Raises:
        DatasetError: a shard is missing or damaged, a key lacks its image or its label, a label is
            not a number or has no class name, or there are no class names.
    """
    shards = find_shards(pattern, f"wds:{pattern}")
    root, classes = _read_class_names(shards[0].parent)
    samples = [sample for shard in shards for sample in read_samples(shard, _LABEL, "a label")]
    labels = torch.tensor(
        [_read_label(sample.shard, sample.others["cls"], len(classes)) for sample in samples],
        dtype=torch.int64,
    )
    templates: tuple[str, ...] = PLAIN_TEMPLATES
    words = root / CLASSNAMES
    if os.path.lexists(root / TEMPLATES):
        words = root / TEMPLATES
        templates = standard_templates(read_lines(words), str(words))

    images, contents = open_samples(shards, samples, f"wds:{pattern}")
    return Dataset(
        name=short_name(root.resolve().name),
        spec=f"wds:{pattern}",
        classes=classes,
        labels=labels,
        images=images,
        display_names=classes,
        templates=templates,
        source={
            "split": ", ".join(dict.fromkeys(shard.parent.resolve().name for shard in shards)),
            "shards": str(len(shards)),
            "words": str(words),
            "fingerprint_of": FINGERPRINTED.replace("file", "shard"),
        },
        fingerprint=fingerprint(classes, labels, contents),
    )


def open_samples(
    shards: Sequence[Path], samples: Sequence[Sample], where: str
) -> tuple[LazyImages, Iterator[bytes]]:
    """Return the images of samples, and the contents of their shards for a fingerprint.

    Args:
        shards: the shards in order.
        samples: the samples of all shards.
        where: a name for the dataset in warnings.
    """

    def read(index: int, convert: Convert) -> Image.Image:
        shard, image = samples[index].shard, samples[index].image
        content = io.BytesIO(read_member(shard, image))
        return open_rgb(content, f"{image.name} of {shard}", convert=convert)

    common = Path(os.path.commonpath([shard.parent for shard in shards]))
    shard_contents = hash_files(shards, common, max_bytes=sys.maxsize)
    scan = _scan_samples(samples)
    scan.warn(where)
    return scan.lazy_images(read), itertools.chain(shard_contents, scan.contents)


def _scan_samples(samples: Sequence[Sample]) -> ImageScan:
    """Read the headers of the images.

    The fingerprint covers their bytes by the hashes of the shards; contents are only names with a
    mark, of images that are not converted as Pillow would.
    """

    def read_start(index: int, size: int) -> bytes:
        shard, image = samples[index].shard, samples[index].image
        return read_member(shard, replace(image, size=size))

    colours = read_all_colours([sample.image.size for sample in samples], read_start)
    names = [sample.image.name.encode(errors="surrogatepass") for sample in samples]
    marks = map(conversion_mark, colours)
    return ImageScan(
        [name + mark for name, mark in zip(names, marks, strict=True) if mark], colours
    )


def find_shards(pattern: str, where: str) -> list[Path]:
    """Return the shards that a pattern names, in the order of their numbers.

    Args:
        pattern: a folder, a tar, or a pattern with ``*`` or ``{0..4}``.
        where: a name for the dataset in errors.

    Raises:
        DatasetError: a shard is missing, or there are none.
    """
    try:
        return _find_shards(pattern, where)
    except OSError as error:
        raise DatasetError(
            f"{where} cannot be read: {error}", expected=_LAYOUT, fix="check its permissions"
        ) from error


def _find_shards(pattern: str, where: str) -> list[Path]:
    path = to_path(pattern)
    if exists(path) and not path.is_dir():
        return [path]
    if path.is_dir():
        shards = [*path.glob("*.tar")] or [*(path / "test").glob("*.tar")]
    elif _RANGE.search(pattern):
        names = itertools.islice(_expand(str(path)), _MAX_SHARDS + 1)
        return _check_shards([Path(name) for name in names])
    else:
        shards = [*_glob(path)]
    # macOS makes files with such names beside its own.
    shards = [shard for shard in shards if not shard.name.startswith("._")]
    if not shards:
        raise DatasetError(f"{where}: there are no shards", expected=_LAYOUT, fix="check the path")
    if path.is_dir() or path.name == "*.tar":
        for folder, group in itertools.groupby(sorted(shards), key=lambda shard: shard.parent):
            _check_count(folder, len([*group]))
    return sorted(shards, key=by_number)


def _check_shards(shards: list[Path]) -> list[Path]:
    """Return the shards; refuse missing ones, and more than `_MAX_SHARDS`."""
    missing = [shard for shard in shards if not shard.exists() or shard.is_dir()]
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(shards)} shards are missing, the first is {missing[0]}",
            expected="a file for each number from the first to the last",
            fix="name the shards that exist, or fetch the others",
        )
    if len(shards) > _MAX_SHARDS:
        raise DatasetError(
            f"over {_MAX_SHARDS} shards, the first is {shards[0]}", fix="name fewer of them"
        )
    return shards


def _expand(pattern: str) -> Iterator[str]:
    """Yield each name that a pattern like ``{00..12}`` stands for, with as many digits.

    Examples:
        >>> [*_expand("{08..10}.tar")]
        ['08.tar', '09.tar', '10.tar']
    """
    numbers = _RANGE.search(pattern)
    if numbers is None:
        yield pattern
        return
    first, last = numbers.groups()
    if int(first) > int(last):
        raise DatasetError(f"{numbers[0]} in {pattern}", expected="{FIRST..LAST}, both included")
    before, after = pattern[: numbers.start()], pattern[numbers.end() :]
    for number in range(int(first), int(last) + 1):
        yield from _expand(f"{before}{number:0{len(first)}}{after}")


def _glob(path: Path) -> Iterator[Path]:
    """Yield the files that a pattern with ``*`` and ``?`` names, also in its folders."""
    parts = path.parts
    first = next((i for i, part in enumerate(parts) if re.search(r"[*?[]", part)), len(parts) - 1)
    folder, pattern = Path(*parts[:first]), str(Path(*parts[first:]))
    try:
        # Pipes and devices stay in: reading them raises an error that names them.
        yield from (file for file in folder.glob(pattern) if not file.is_dir())
    except (ValueError, NotImplementedError, IndexError):  # "**" in a word, or no pattern at all
        return


def by_number(shard: Path) -> list[tuple[int, str]]:
    """Return a key for sorting that puts 10.tar after 9.tar."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part)
        for part in re.split(r"(\d+)", str(shard))
    ]


def _check_count(folder: Path, shards: int) -> None:
    """Refuse another number of shards than ``nshards.txt`` has, if it exists."""
    file = folder / "nshards.txt"
    expected = read_lines(file)[0] if os.path.lexists(file) else str(shards)
    if expected != str(shards):
        raise DatasetError(
            f"{shards} shards are in {folder}",
            expected=f"{expected}, as {file.name} has it",
            fix="fetch the others; or name the shards to use: DIR/{0..4}.tar",
        )


def _read_class_names(folder: Path) -> tuple[Path, tuple[str, ...]]:
    """Find the root of the dataset, which has the list of class names, and read the list.

    The root is the folder of the shards, or the folder above it.
    """
    for root in (folder, folder.resolve().parent):
        if os.path.lexists(root / CLASSNAMES):
            return root, read_lines(root / CLASSNAMES)
    raise DatasetError(
        f"no {CLASSNAMES} in {folder} or in the folder above",
        expected="one class name a line, in the order of labels",
        fix=f"fetch it with the shards, or write it: {folder / CLASSNAMES}. Images with captions "
        f"in place of labels are captions:{folder}",
    )


def read_samples(shard: Path, endings: Sequence[str], what: str) -> Iterator[Sample]:
    """Yield the image of each key with its label or its captions, in the order of the shard.

    Args:
        shard: path of the tar.
        endings: the endings of a member that holds the label or the captions.
        what: what such a member holds, in words.

    Raises:
        DatasetError: the shard is damaged, or a key lacks its image or such a member.
    """
    keys = _read_keys(shard, endings)
    unused = _join_parts(shard, keys, endings)
    for key, members in keys.items():
        image = next((members[suffix] for suffix in IMAGES if suffix in members), None)
        others = {suffix: members[suffix] for suffix in endings if suffix in members}
        if image is None or not others:
            suffixes = " and ".join(f".{suffix}" for suffix in members)
            names = " and ".join(member.name for member in members.values())
            raise DatasetError(
                f"{key} in {shard} has {suffixes} only: {names}",
                expected=f"an image (.{', .'.join(IMAGES)}) and {what} (.{', .'.join(endings)})",
                fix="give both the same name up to the ending",
            )
        yield Sample(shard, image, others)
    if unused:
        warnings.warn(
            f"{shard}: {unused} files are left out: they are further parts of keys that have an "
            f"image and {what}",
            stacklevel=3,
        )


def _read_keys(shard: Path, endings: Sequence[str]) -> dict[str, dict[str, Member]]:
    """Return the members of a shard by key and ending; the key ends at the last dot.

    The format splits names at the first dot, but many names are like ``Track 2.0 (live).jpg``; see
    `_find_host`.
    """
    keys: dict[str, dict[str, Member]] = {}
    for member in read_members(shard):
        folder, _, file = member.name.rpartition("/")
        stem, _, suffix = file.rpartition(".")
        suffix = suffix.lower()
        if stem and not stem.startswith(".") and suffix in (*IMAGES, *endings):
            members = keys.setdefault(f"{folder}/{stem}".lstrip("/"), {})
            if suffix in members:
                raise DatasetError(f"{member.name} is twice in {shard}", expected="each file once")
            members[suffix] = member
    return keys


def _find_host(key: str, keys: _Keys) -> str | None:
    """Return the key that a part with two endings belongs to: ``00001`` for ``00001.image``."""
    folder, slash, name = key.rpartition("/")
    while "." in name:
        name = name.rpartition(".")[0]
        if keys.get(folder + slash + name):
            return folder + slash + name
    return None


def _is_complete(members: Mapping[str, Member], endings: Sequence[str]) -> bool:
    return bool({*members} & {*endings}) and bool({*members} & {*IMAGES})


def _join_parts(shard: Path, keys: dict[str, dict[str, Member]], endings: Sequence[str]) -> int:
    """Complete keys with the parts that belong to them, and remove the parts from the keys.

    Returns:
        The number of files that no key needs.

    Raises:
        DatasetError: a key without an image has several parts that are images.
    """
    parts: dict[str, list[str]] = {}
    for key in keys:
        host = None if _is_complete(keys[key], endings) else _find_host(key, keys)
        if host is not None:
            parts.setdefault(host, []).append(key)
    unused = 0
    for host, names in parts.items():
        needed = [] if {*keys[host]} & {*endings} else [*endings]
        if not any(suffix in keys[host] for suffix in IMAGES):
            needed += IMAGES
        members = [
            (suffix, member)
            for name in names
            for suffix, member in keys[name].items()
            if suffix in needed
        ]
        images = [member.name for suffix, member in members if suffix in IMAGES]
        if len(images) > 1:
            raise DatasetError(
                f"{host} in {shard} has the images {listed(images)}",
                expected="one image for each key",
                fix="leave only the right one in the shard",
            )
        unused += sum(len(keys.pop(name)) for name in names) - len(members)
        keys[host].update(members)
    return unused


def _read_label(shard: Path, member: Member, classes: int) -> int:
    text = read_member(shard, member).strip() if member.size <= 20 else b"..."
    if not re.fullmatch(rb"[0-9]+", text) or int(text) >= classes:
        raise DatasetError(
            f"{member.name} in {shard} is {text.decode('ascii', 'replace')!r}",
            expected=f"a whole number from 0 to {classes - 1}, for the {classes} names of "
            f"{CLASSNAMES}",
        )
    return int(text)
