"""Load what ``captions:PATH`` names: images with captions, or features of them."""

from dataclasses import replace
from typing import Literal

from purescope.datasets.captions import loading
from purescope.datasets.captions.dataset import CaptionDataset, warn_of_equal_captions
from purescope.errors import DatasetError
from purescope.features.caption_files import SUFFIXES, read_caption_features
from purescope.features.captions import CaptionFeatures
from purescope.features.clip_retrieval import is_clip_retrieval, read_clip_retrieval
from purescope.specs import is_label, split_label, to_path

_PREFIX = "captions:"


def load_captions(
    spec: str, *, offline: bool = False, on_bad_image: Literal["error", "skip"] | str = "error"
) -> CaptionDataset | CaptionFeatures:
    """Load the images and captions that `spec` names, or the features of images and captions.

    Args:
        spec: ``captions:`` and then ``bundled:NAME``, whose captions are the names of the images;
            a folder, in which captions are looked for; or a file. Understood are tar shards
            (KEY.jpg with KEY.txt or KEY.json); images with text files beside them, one caption a
            line; ``metadata.jsonl`` and ``metadata.csv``; tables with an image and a caption a row;
            Karpathy's ``dataset_*.json``; COCO's ``captions_*.json``; datasets saved by
            `datasets`, and ``hf:OWNER/REPO``; folders of clip-retrieval; and files of
            `save_caption_features`. ``#SPLIT`` after it names a split, ``?images=DIR`` the folder
            of the images, ``?image=COLUMN&caption=COLUMN`` the columns. A ``NAME=`` before it gives
            it another name.
        offline: do not use the network; only ``hf:OWNER/REPO`` does.
        on_bad_image: ``error`` stops at a broken image when it is reached; ``skip`` reads every
            image now and leaves the broken ones out, with their captions.

    Returns:
        A `CaptionDataset`, to be encoded by `extract_captions`; or `CaptionFeatures` where there
        are only features.

    Raises:
        DatasetError: nothing is there, or it cannot be read; the message names what was looked for.
        InputError: a file of features is damaged, or `on_bad_image` is neither value.
        MissingExtraError: a dataset of `datasets` without the extra.

    Warns:
        UserWarning: images share captions, which makes recall lower than it is; or what is unusual
            about the data.

    Examples:
        >>> emoji = load_captions("captions:bundled:emoji")
        >>> len(emoji), emoji.captions[0]
        (1399, ('a button (blood type)',))
        >>> load_captions("captions:gone")
        Traceback (most recent call last):
        purescope.errors.DatasetError: captions:gone: there is no gone
          expected: captions:PATH, captions:PATH#SPLIT or captions:PATH?images=DIR&...
          to fix:   check the path, or quote it
    """
    label, name = split_label(spec)
    if label is not None and not is_label(label):
        raise DatasetError(
            f"label {label!r}",
            expected="a name that can be part of a file name",
            fix="choose another: NAME=DATASET",
        )
    if not name.startswith(_PREFIX):
        raise DatasetError(
            f"{spec!r} names no captions", expected="captions:PATH", fix=f"captions:{name}"
        )
    name = name.removeprefix(_PREFIX)
    loaded = _load(name, spec, offline, on_bad_image)
    if label is None:
        return loaded
    if isinstance(loaded, CaptionFeatures):
        return replace(loaded, dataset=label.strip())
    return replace(loaded, name=label.strip())


def _load(
    name: str, spec: str, offline: bool, on_bad_image: str
) -> CaptionDataset | CaptionFeatures:
    path = to_path(name)
    if name.endswith(SUFFIXES):
        features = read_caption_features(path)
    elif is_clip_retrieval(path):
        features = read_clip_retrieval(path)
    else:
        return loading.load(name, spec=spec, offline=offline, on_bad_image=on_bad_image)
    images = features.image_of.tolist()
    if features.captions:
        warn_of_equal_captions(features.dataset, features.captions, images, len(features.image))
    return features
