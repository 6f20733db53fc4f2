"""Read captions from tar shards: KEY.jpg with KEY.txt, KEY.caption or KEY.json, as CLIP_benchmark
and img2dataset write them.
"""

from pathlib import Path

from purescope.datasets.archives import read_member
from purescope.datasets.captions.beside import TEXTS, read_captions
from purescope.datasets.captions.dataset import CaptionDataset, hash_contents
from purescope.datasets.captions.listing import Where
from purescope.datasets.webdataset import Sample, find_shards, open_samples, read_samples
from purescope.errors import DatasetError
from purescope.specs import exists, short_name

_LARGEST = 1_000_000  # bytes of the captions of an image


def load(where: Where, pattern: str) -> CaptionDataset:
    """Load the samples of the shards that a pattern names, in the order of the shards' numbers.

    Raises:
        DatasetError: a shard is missing or damaged, or a key lacks its image or its captions.
    """
    where.refuse_options("tar shards")
    shards = find_shards(pattern, where.spec)
    samples = [sample for shard in shards for sample in read_samples(shard, TEXTS, "captions")]
    captions = tuple(tuple(_read(sample)) for sample in samples)
    images, contents = open_samples(shards, samples, where.spec)
    folder = shards[0].parent.resolve()
    # ROOT/test/0.tar, as CLIP_benchmark has them, is a part of ROOT.
    is_part = exists(folder / "nshards.txt") or exists(folder.parent / "dataset_type.txt")
    root = folder.parent if is_part else folder
    return CaptionDataset(
        name=short_name(root.name),
        spec=where.spec,
        images=images,
        captions=captions,
        source={
            "format": "tar shards",
            "split": ", ".join(dict.fromkeys(shard.parent.resolve().name for shard in shards)),
            "shards": str(len(shards)),
            "fingerprint_of": "names and contents of the shards",
        },
        image_fingerprint=hash_contents(contents),
    )


def _read(sample: Sample) -> list[str]:
    """Read the captions of a sample; a .json only where there is no other member with captions."""
    endings = [ending for ending in TEXTS if ending in sample.others]
    beside = [ending for ending in endings if ending != "json"]
    names = " and ".join(sample.others[ending].name for ending in beside)
    if len(beside) > 1:
        raise DatasetError(
            f"{sample.shard} has {names}", expected="one file of captions for each image"
        )
    ending = endings[0]
    member = sample.others[ending]
    name = f"{member.name} of {sample.shard}"
    if member.size > _LARGEST:
        raise DatasetError(
            f"{name} has {member.size:,} bytes", expected=f"captions of at most {_LARGEST:,} bytes"
        )
    return read_captions(ending, read_member(Path(sample.shard), member), name)
