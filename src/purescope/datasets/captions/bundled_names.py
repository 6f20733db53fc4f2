"""Use the names of bundled images as their captions, so that everything runs offline."""

from purescope.datasets import bundled
from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.captions.listing import Where
from purescope.datasets.prompts import clean_name


def load(where: Where, name: str) -> CaptionDataset:
    """Load a bundled set: each image's own name is its caption, else its class in a prompt.

    The fingerprint of the images is that of ``bundled:NAME``, so that both share cached features.

    Raises:
        DatasetError: no set has this name.
    """
    where.refuse_options("a bundled set")
    dataset = bundled.load(name)
    names = bundled.image_names(name)
    prompts = [dataset.templates[0].replace("{}", words) for words in dataset.display_names]
    captions = tuple(
        (clean_name(own),) if own else (prompts[label],)
        for own, label in zip(names, dataset.labels.tolist(), strict=True)
    )
    kind = "the names of the images" if any(names) else "the names of the classes"
    return CaptionDataset(
        name=f"{dataset.name}-captions",
        spec=where.spec,
        images=dataset.images,
        captions=captions,
        source={**dataset.source, "format": "bundled", "captions": kind},
        image_fingerprint=dataset.fingerprint,
    )
