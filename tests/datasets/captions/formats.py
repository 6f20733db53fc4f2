"""Write the same three images with captions in every format that is read."""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from tests.datasets.pictures import picture

CAPTIONS = (
    ("a cat", "a cat, on a mat"),
    ("the dog",),
    ("two birds", "a bird and é", "birds"),
)
SHADES = [10, 20, 30]
FILES = ("a.png", "in/b.png", "c.png")


def write_images(root: Path) -> None:
    for name, shade in zip(FILES, SHADES, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(shade))


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def shard_members(ending: str = "txt") -> dict[str, bytes]:
    """Return the members of a shard as CLIP_benchmark writes them, or with captions in JSON."""
    members = {}
    for index, captions in enumerate(CAPTIONS):
        text = "\n".join(captions) if ending == "txt" else json.dumps({"captions": captions})
        members[f"s{index:07d}.png"] = picture(SHADES[index])
        members[f"s{index:07d}.{ending}"] = text.encode()
    return members


def _benchmark(root: Path) -> str:
    members = list(shard_members().items())
    write_tar(root / "test" / "0.tar", dict(members[:4]))
    write_tar(root / "test" / "1.tar", dict(members[4:]))
    (root / "test" / "nshards.txt").write_text("2\n")
    (root / "dataset_type.txt").write_text("retrieval\n")
    return str(root)


def _img2dataset(root: Path) -> str:
    write_tar(root / "00000.tar", shard_members("json"))
    (root / "00000.parquet").write_bytes(b"what img2dataset puts beside a shard")
    (root / "00000_stats.json").write_text("{}")
    return str(root)


def _beside(ending: str) -> Callable[[Path], str]:
    def write(root: Path) -> str:
        write_images(root)
        for name, captions in zip(FILES, CAPTIONS, strict=True):
            text = "\n".join(captions) + "\n"
            (root / name).with_suffix(ending).write_text(text, encoding="utf-8")
        return str(root)

    return write


def _jsonl(root: Path) -> str:
    """One row a caption, as an image folder of `datasets` has them."""
    write_images(root)
    rows = [
        {"file_name": name, "text": caption}
        for name, captions in zip(FILES, CAPTIONS, strict=True)
        for caption in captions
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (root / "metadata.jsonl").write_text(text, encoding="utf-8")
    return str(root)


def _table(name: str, header: tuple[str, str], separator: str) -> Callable[[Path], str]:
    def write(root: Path) -> str:
        write_images(root)
        with (root / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, delimiter=separator)
            writer.writerow(header)
            for file, captions in zip(FILES, CAPTIONS, strict=True):
                writer.writerows((file, caption) for caption in captions)
        return str(root)

    return write


def _absolute(root: Path) -> str:
    """A list of absolute paths, as open_clip trains on them."""
    write_images(root)
    rows = [
        f"{root / name}\t{caption}"
        for name, captions in zip(FILES, CAPTIONS, strict=True)
        for caption in captions
    ]
    file = root.parent / "train.csv"
    file.write_text("\n".join(["filepath\ttitle", *rows]), encoding="utf-8")
    return str(file)


def _flickr(root: Path) -> str:
    """A list of CLIP_benchmark: captions with commas, without quotes."""
    write_images(root)
    rows = [
        f"{name},{caption}"
        for name, captions in zip(FILES, CAPTIONS, strict=True)
        for caption in captions
    ]
    (root / "captions.txt").write_text("\n".join(["image,caption", *rows]), encoding="utf-8")
    return str(root)


def _karpathy(root: Path) -> str:
    write_images(root / "images")
    images = [
        {
            "filepath": str(Path(name).parent).replace(".", ""),
            "filename": Path(name).name,
            "split": "test",
            "sentences": [{"raw": caption, "tokens": caption.split()} for caption in captions],
        }
        for name, captions in zip(FILES, CAPTIONS, strict=True)
    ]
    other = {"filename": "gone.png", "split": "train", "sentences": [{"raw": "not here"}]}
    content = {"dataset": "pets", "images": [other, *images]}
    (root / "dataset_pets.json").write_text(json.dumps(content))
    return str(root)


def _coco(root: Path) -> str:
    write_images(root / "val2017")
    images = [{"id": 7 - index, "file_name": name} for index, name in enumerate(FILES)]
    annotations = [
        {"id": 100 * index + place, "image_id": 7 - index, "caption": caption}
        for place in range(3)
        for index, captions in enumerate(CAPTIONS)
        for caption in captions[place : place + 1]
    ]
    (root / "annotations").mkdir()
    content = {"info": {}, "images": images, "annotations": annotations}
    (root / "annotations" / "captions_val2017.json").write_text(json.dumps(content))
    (root / "annotations" / "captions_train2017.json").write_text("{}")
    return f"{root}#val2017"


def _list(root: Path) -> str:
    write_images(root / "photos")
    rows = [
        {"image": f"photos/{name}", "caption": list(captions)}
        for name, captions in zip(FILES, CAPTIONS, strict=True)
    ]
    (root / "pets_test.json").write_text(json.dumps(rows))
    return str(root / "pets_test.json")


FORMATS: dict[str, Callable[[Path], str]] = {
    "shards of CLIP_benchmark": _benchmark,
    "shards of img2dataset": _img2dataset,
    ".txt beside": _beside(".txt"),
    ".caption beside": _beside(".caption"),
    "metadata.jsonl": _jsonl,
    "metadata.csv": _table("metadata.csv", ("file_name", "text"), ","),
    "image,caption": _table("results.csv", ("image", "caption"), ","),
    "filepath, tab, title": _table("pairs.tsv", ("filepath", "title"), "\t"),
    "absolute paths": _absolute,
    "captions.txt": _flickr,
    "Karpathy": _karpathy,
    "COCO": _coco,
    "a list in JSON": _list,
}
"""Writes the images and captions into a folder, and returns what follows ``captions:``."""
