"""Hold the features of images and captions, encode them, and load what ``captions:PATH`` names."""

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.prompts import Prompts
from purescope.errors import InputError
from purescope.features.cache import Cache
from purescope.features.entry import split
from purescope.features.extraction import (
    ImageSet,
    Progress,
    check_batch_size,
    check_same_space,
    image_features,
    model_identity,
    open_cache,
    quiet,
    text_features,
)
from purescope.features.features import check_towers
from purescope.formats import definitions
from purescope.models.model import Model

_SENTENCES = 1024  # captions whose lengths are counted at a time


@dataclass(frozen=True, eq=False)
class CaptionFeatures:
    """Features of images and of their captions, of one model.

    Args:
        image: ``[image, neuron]``, unit rows over all neurons; a row of zeros stays zeros. Float32,
            or float16 as a folder of clip-retrieval holds them.
        text: ``[caption, neuron]``, unit rows of the same type.
        image_of: ``[caption]`` int64, the index of the image that each caption belongs to.
        captions: the texts, one for each row of `text`; empty if they are not known.
        model, dataset: short names, for tables and titles.
        identity: everything that the numbers depend on, to be recorded beside them.
        seconds: duration of the encoding.

    Raises:
        InputError: shapes do not fit, a value is NaN or infinite, there are fewer than two images,
            or a caption is of no image, or an image has no caption.

    Examples:
        >>> image = torch.eye(2)
        >>> text = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> features = CaptionFeatures(image, text, torch.tensor([0, 0, 1]))
        >>> nearest = (features.text @ features.image.T).argmax(dim=1)
        >>> (nearest == features.image_of).tolist()
        [True, False, True]
    """

    image: Float[Tensor, "image neuron"]
    text: Float[Tensor, "caption neuron"]
    image_of: Int64[Tensor, " caption"]
    captions: tuple[str, ...] = ()
    model: str = "model"
    dataset: str = "dataset"
    identity: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        check_pairs(self.image, self.text, self.image_of)
        if self.captions and len(self.captions) != len(self.text):
            raise InputError(
                f"{len(self.captions)} captions for {len(self.text)} rows of text",
                expected="one for each row, or none",
            )

    def _repr_html_(self) -> str:
        images, neurons = self.image.shape
        entries = {
            "images": f"{images:,}",
            "captions": f"{len(self.text):,}",
            "neurons": f"{neurons:,}",
        }
        return definitions(f"Captions of {self.dataset} by {self.model}", entries)

    def select(self, images: Sequence[int] | Int64[Tensor, " kept"]) -> "CaptionFeatures":
        """Return the features of some images, in this order, and of all their captions.

        Args:
            images: distinct indices of images.

        Raises:
            InputError: an index is outside the images or occurs twice, or fewer than two remain.

        Examples:
            >>> features = CaptionFeatures(torch.eye(3), torch.eye(3), torch.tensor([2, 1, 0]))
            >>> features.select([2, 0]).image_of.tolist()
            [0, 1]
        """
        kept = torch.as_tensor(images, dtype=torch.int64)
        count = len(self.image)
        if len(kept) != len(kept.unique()) or bool(((kept < 0) | (kept >= count)).any()):
            raise InputError(
                "indices of images that repeat or are outside",
                expected=f"distinct indices from 0 to {count - 1}",
            )
        place = torch.full((count,), -1, dtype=torch.int64)
        place[kept] = torch.arange(len(kept))
        rows = (place[self.image_of] >= 0).nonzero().flatten()
        return replace(
            self,
            image=self.image[kept],
            text=self.text[rows],
            image_of=place[self.image_of[rows]],
            captions=tuple(self.captions[row] for row in rows.tolist()) if self.captions else (),
        )


def check_pairs(image: Tensor, text: Tensor, image_of: Tensor) -> None:
    """Check that arrays of any source are features of images and of their captions.

    Raises:
        InputError: as `CaptionFeatures`.
    """
    check_towers(image, text, rows="caption", transposed_rows=len(image_of))
    images = len(image)
    if images < 2:
        raise InputError(f"{images} image", expected="at least two images to search among")
    if image_of.dtype != torch.int64 or image_of.shape != (len(text),):
        raise InputError(
            f"image_of is {image_of.dtype} of shape {list(image_of.shape)}",
            expected=f"torch.int64 of shape [{len(text)}], one for each caption",
            fix="the number of the image of each caption, from 0 on, as whole numbers",
        )
    outside = ((image_of < 0) | (image_of >= images)).nonzero()
    if len(outside):
        row = int(outside[0, 0])
        raise InputError(
            f"caption {row} is of image {int(image_of[row])}",
            expected=f"0 to {images - 1}, for {images} images",
        )
    bare = (torch.bincount(image_of, minlength=images) == 0).nonzero()
    if len(bare):
        raise InputError(
            f"{len(bare)} of {images} images have no caption, the first is image {int(bare[0, 0])}",
            expected="at least one caption for each image",
            fix="leave such images out",
        )


def extract_captions(
    model: Model,
    dataset: CaptionDataset,
    *,
    batch_size: int = 256,
    cache: Cache | str | os.PathLike[str] | None = None,
    progress: Progress = quiet,
) -> CaptionFeatures:
    """Encode every image and every caption of a dataset, the captions as they are.

    A caption that several images share is encoded once.

    Args:
        model: the model that encodes, with its own preprocess.
        dataset: the images and captions to encode.
        batch_size: images that the model gets at a time; the result does not depend on it beyond
            rounding.
        cache: a folder where features are kept, to be read again or to continue after an
            interruption.
        progress: wraps the batches that have to be encoded, for a progress bar.

    Returns:
        Unit rows ``[image, neuron]`` and ``[caption, neuron]``, float32 on the cpu, with the image
        of each caption.

    Raises:
        InputError: the batch size is below 1, or the model gives NaN, infinity, or different
            numbers of neurons for images and text.
        DatasetError: an image cannot be read.
        ModelError: there is no memory for a single image or sentence.
        OutputError: the cache cannot be written.

    Warns:
        UserWarning: captions are longer than the model reads.

    Examples:
        A model with a red and a blue neuron, for images and for words:

        >>> from PIL import Image
        >>> from purescope.maths.overlaps import Projections
        >>> from purescope.models.model import Preprocess
        >>> model = Model(
        ...     label="eye",
        ...     spec="made by hand",
        ...     weight_space=Projections(torch.eye(2), torch.eye(2)),
        ...     neurons=2,
        ...     preprocess=Preprocess(size=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        ...     encode_image=lambda pixels: pixels[:, [0, 2], 0, 0],
        ...     encode_text=lambda texts: torch.tensor(
        ...         [["red" in text, "blue" in text] for text in texts]
        ...     ).float(),
        ...     identity={},
        ... )
        >>> colours = CaptionDataset(
        ...     name="colours",
        ...     spec="made by hand",
        ...     images=[Image.new("RGB", (2, 2), "blue"), Image.new("RGB", (2, 2), "red")],
        ...     captions=(("a blue square", "blue"), ("all red",)),
        ...     source={},
        ...     image_fingerprint="",
        ... )
        >>> features = extract_captions(model, colours)
        >>> features.text @ features.image.T, features.image_of
        (tensor([[1., 0.],
                [1., 0.],
                [0., 1.]]), tensor([0, 0, 1]))
    """
    check_batch_size(batch_size)
    cache = open_cache(cache)
    start = time.perf_counter()
    captions = dataset.texts
    distinct = tuple(dict.fromkeys(captions))
    cut = _count_cut(model, distinct, captions)
    if cut:
        warnings.warn(
            f"{dataset.name}: {cut:,} of {len(captions):,} captions are longer than {model.label} "
            "reads; it does not see their ends",
            stacklevel=2,
        )
    name = f"{model.label}, captions of {dataset.name}"
    rows = text_features(model, Prompts(distinct, ("{}",)), cache, progress=progress, name=name)
    place = {caption: row for row, caption in enumerate(distinct)}
    text = rows[torch.tensor([place[caption] for caption in captions])]
    image_set = ImageSet(dataset.name, dataset.images, dataset.image_fingerprint)
    image = image_features(model, image_set, model.preprocess, cache, batch_size, progress)
    check_same_space(model, image, text)
    return CaptionFeatures(
        image=image,
        text=text,
        image_of=torch.tensor(dataset.image_of, dtype=torch.int64),
        captions=captions,
        model=model.label,
        dataset=dataset.name,
        identity={
            "model": model.spec,
            **model_identity(model),
            "dataset": dataset.spec,
            "dataset_fingerprint": dataset.fingerprint,
            "dataset_skipped": str(len(dataset.skipped)),
            "preprocess": str(model.preprocess),
            "captions_cut": "not known" if cut is None else str(cut),
        },
        seconds=time.perf_counter() - start,
    )


def _count_cut(model: Model, distinct: Sequence[str], captions: Sequence[str]) -> int | None:
    """Count the captions that lose their end; None if the model cannot tell."""
    if model.are_cut is None:
        return None
    cut: set[str] = set()
    for batch in split(range(len(distinct)), _SENTENCES):
        sentences = list(distinct[batch.start : batch.stop])
        are_cut = model.are_cut(sentences)
        cut |= {sentence for sentence, is_cut in zip(sentences, are_cut, strict=True) if is_cut}
    return sum(caption in cut for caption in captions)
