"""Open the captions of a run by their names, and encode them."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset
from purescope.errors import InputError
from purescope.features.caption_sources import load_captions
from purescope.features.captions import CaptionFeatures, extract_captions
from purescope.features.extraction import Progress
from purescope.features.features import Features
from purescope.models.model import Model
from purescope.runs.inputs import Settings, Sources, check_origin, open_data, refuse_words
from purescope.specs import split_label
from purescope.studies.retrieval import check_caption_options

Captions: TypeAlias = CaptionDataset | CaptionFeatures
Data: TypeAlias = Dataset | Features | Captions

PREFIX = "captions:"


def open_any(spec: str | Data, sources: Sources, *, alone: bool = False) -> Data:
    """Load the dataset, captions or features of a name; what is loaded already is returned.

    Args:
        spec, sources, alone: as in `purescope.runs.inputs.open_data`.

    Raises:
        InputError: class names or templates are given for captions or features.

    Warns:
        UserWarning: features do not say which model made them, and a model is named.
    """
    if isinstance(spec, Captions):
        return spec
    if not isinstance(spec, str) or not split_label(spec)[1].startswith(PREFIX):
        return open_data(spec, sources, alone=alone)
    refuse_words(sources, f"{spec} has captions, which are encoded as they are")
    captions = load_captions(spec, offline=sources.offline, on_bad_image=sources.on_bad_image)
    is_unknown = isinstance(captions, CaptionFeatures) and not captions.identity.get(
        "model_weights"
    )
    if is_unknown and not alone:
        warnings.warn(
            f"{spec} does not say which model made it: purescope cannot check whether it fits the "
            "model",
            stacklevel=2,
        )
    return captions


def check_captions(datasets: Sequence[Data], settings: Settings, *, allowed: bool) -> None:
    """Refuse captions where they cannot be measured, or not under these settings.

    Raises:
        InputError: the command is about classes, or a setting does not go with captions.
    """
    captions = [data for data in datasets if isinstance(data, Captions)]
    if not captions:
        return
    first = captions[0]
    name = first.dataset if isinstance(first, CaptionFeatures) else first.name
    if not allowed:
        raise InputError(
            f"{name} has captions, not classes",
            expected="images and their labels: this command asks about classes",
            fix="measure retrieval with purescope sweep (run_sweep)",
        )
    if settings.protocol != "native":
        raise InputError(
            f"protocol {settings.protocol} for the captions of {name}",
            expected="protocol native: the experiment has no captions",
            fix="leave out --protocol (protocol=), or sweep captions by themselves",
        )
    check_caption_options(settings)


def caption_features_of(
    model: Model, data: Captions, settings: Settings, sources: Sources, progress: Progress
) -> CaptionFeatures:
    """Return the features of a model on captions, under the label of the model.

    Raises:
        InputError: `data` are features of another model.
    """
    if isinstance(data, CaptionFeatures):
        check_origin(data, model, settings)
        return replace(data, model=model.label)
    return extract_captions(
        model, data, batch_size=sources.batch_size, cache=sources.cache, progress=progress
    )
