"""Open the models and data of a run by their names, and check them before hours of encoding."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from purescope.datasets import load_dataset
from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset
from purescope.errors import DatasetError, InputError, ModelError
from purescope.features.captions import CaptionFeatures
from purescope.features.extraction import Progress, extract
from purescope.features.features import Features
from purescope.features.files import read_features
from purescope.files.writing import slug
from purescope.maths.cells import check_keep, default_keep
from purescope.models import load_model
from purescope.models.model import OPENAI_PREPROCESS, Model, no_encoder
from purescope.specs import is_label, split_label
from purescope.studies.settings import Options
from purescope.tables.columns import VOCABULARY

# Identity fields of a model that do not affect features: how the weights were wrapped.
_NO_EFFECT = ("format",)


@dataclass(frozen=True)
class Settings(Options):
    """The settings of a run; every field changes numbers and is recorded in the manifest.

    Args:
        keep, strategies, draws, seed, space, measure: as in `purescope.sweep`.
        towers, ablation, renormalise, resamples, orders, metrics: as in `purescope.sweep`.
        protocol: ``native``: each checkpoint's preprocess and each dataset's prompts; ``paper``:
            those of the experiment, see `purescope.extract`.
        precision: precision of the encoders, see `purescope.load_model`.

    Raises:
        InputError: a setting is unknown or out of range, or two exclude each other.

    Examples:
        >>> Settings(keep=[128, 256], draws=1000).space
        'weights'
    """

    protocol: str = "native"
    precision: str = "auto"


@dataclass(frozen=True)
class Sources:
    """The places of models and datasets, and how they are read.

    Whatever changes a number is recorded with the model and the dataset.

    Args:
        arch: open_clip's name of the architecture, for checkpoints that do not determine it.
        data_root: folder of the torchvision datasets.
        classnames, templates: files with class names and prompt templates of your own.
        download: download benchmarks that are missing.
        offline: never use a network.
        on_bad_image: ``error`` stops at an image that cannot be read, ``skip`` leaves it out with a
            note.
        batch_size: number of images that are encoded at a time.
        device: where to encode, see `purescope.load_model`.
        cache: folder of cached features, so that nothing is encoded twice; None keeps nothing.

    Examples:
        >>> Sources(data_root="DATA", batch_size=64).download
        False
    """

    arch: str | None = None
    data_root: str | Path | None = None
    classnames: str | Path | None = None
    templates: str | Path | None = None
    download: bool = False
    offline: bool = False
    on_bad_image: Literal["error", "skip"] = "error"
    batch_size: int = 256
    device: str = "auto"
    cache: str | Path | None = None


def named_model(spec: str, sources: Sources, *, precision: str = "auto") -> Model:
    """Load the model of a name."""
    return load_model(
        spec, device=sources.device, precision=precision, arch=sources.arch, offline=sources.offline
    )


def named_dataset(spec: str, sources: Sources) -> Dataset:
    """Load the dataset of a name."""
    return load_dataset(
        spec,
        data_root=sources.data_root,
        classnames=sources.classnames,
        templates=sources.templates,
        download=sources.download,
        offline=sources.offline,
        on_bad_image=sources.on_bad_image,
    )


def open_model(model: str | Model, sources: Sources, settings: Settings) -> Model:
    """Load the model of a name, and check a model against the settings.

    Raises:
        PurescopeError: it cannot be loaded, or does not fit the settings.
    """
    if isinstance(model, str):
        model = named_model(model, sources, precision=settings.precision)
    numbers_kept(settings, model)
    if settings.space == "weights":
        _ = model.projections  # raises where there are none
    return model


def models_or_origin(
    models: Sequence[str | Model],
    datasets: Sequence[Dataset | Features | CaptionDataset | CaptionFeatures],
) -> Sequence[str | Model]:
    """Return the models that are named; if none is, the unknown model that made the features.

    Raises:
        ModelError: no model is named, and some data is images.
    """
    if models:
        return models
    features = [data for data in datasets if isinstance(data, Features | CaptionFeatures)]
    if not features or len(features) < len(datasets):
        raise ModelError(
            "no MODEL was named",
            expected="one or more; none only if all --data are features:FILE",
            fix="`purescope models` lists what can be named",
        )
    return [_origin(features[0])]


def _origin(features: Features | CaptionFeatures) -> Model:
    """Return the model that made features, as far as the features say."""
    prefix = "model_"
    identity = {
        key.removeprefix(prefix): value
        for key, value in features.identity.items()
        if key.startswith(prefix)
    }
    return Model(
        label=features.model,
        spec="features",
        weight_space="its features are given, and no MODEL",
        neurons=features.image.shape[1],
        preprocess=OPENAI_PREPROCESS,
        encode_image=no_encoder,
        encode_text=no_encoder,
        identity=identity,
    )


def numbers_kept(settings: Settings, model: Model) -> list[int]:
    """Return the numbers of neurons k that a run keeps of a model."""
    return check_keep(
        default_keep(model.neurons) if settings.keep is None else settings.keep, model.neurons
    )


def open_data(
    spec: str | Dataset | Features, sources: Sources, *, alone: bool = False
) -> Dataset | Features:
    """Load the dataset or the features of a name; what is loaded already is returned.

    Args:
        spec: the name, a dataset or features.
        sources: where and how to read.
        alone: no model is named that features must fit.

    Raises:
        InputError: class names or templates are given for features.

    Warns:
        UserWarning: a file of features does not say which model made them, and a model is named.
    """
    if not isinstance(spec, str):
        return spec
    label, name = split_label(spec)
    if not name.startswith("features:"):
        return named_dataset(spec, sources)
    refuse_words(sources, f"{name} has its class features already")
    features = read_features(name.removeprefix("features:"))
    if not alone and "model_weights" not in features.identity:
        warnings.warn(
            f"{name} does not say which model made it: purescope cannot check whether it fits the "
            "model",
            stacklevel=2,
        )
    return features if label is None else replace(features, dataset=label)


def check_words(protocol: str, sources: Sources) -> None:
    """Refuse class names and templates if the protocol has its own.

    Raises:
        InputError: there are some.
    """
    if protocol == "paper":
        refuse_words(sources, "protocol paper puts raw class names into 'a photo of a {}'")


def refuse_words(sources: Sources, why: str) -> None:
    """Refuse class names and templates that would not be used.

    Raises:
        InputError: there are some; the error gives `why` as the reason.
    """
    given = [
        f"--{name}" for name in ("classnames", "templates") if getattr(sources, name) is not None
    ]
    if given:
        raise InputError(
            f"{' and '.join(given)} would not be used: {why}",
            expected="words of your own for images, under protocol native",
            fix="leave them out here",
        )


def features_of(
    model: Model, data: Dataset | Features, settings: Settings, sources: Sources, progress: Progress
) -> Features:
    """Return the features of a model on data, under the label of the model.

    Raises:
        InputError: `data` are features of another model or protocol.
    """
    if isinstance(data, Features):
        check_origin(data, model, settings)
        return replace(data, model=model.label)
    return extract(
        model,
        data,
        protocol=settings.protocol,
        batch_size=sources.batch_size,
        cache=sources.cache,
        progress=progress,
    )


def check_origin(features: Features | CaptionFeatures, model: Model, settings: Settings) -> None:
    """Refuse features of another model or protocol, as far as they say what made them.

    Raises:
        InputError: another model or protocol made them.
    """
    neurons = features.image.shape[1]
    if neurons != model.neurons:
        raise InputError(
            f"the features of {features.dataset} have {neurons:,} neurons, {model.label} has "
            f"{model.neurons:,}",
            expected="features that this model made",
            fix="name the model that made them; or none, with --space activations, to rank neurons "
            "by their activations",
        )
    made_by = features.identity
    named = {
        f"model_{key}": value for key, value in model.identity.items() if key not in _NO_EFFECT
    }
    if settings.precision == "auto":
        named.pop("model_precision", None)  # nothing is encoded, and no precision was asked
    different = [
        key.removeprefix("model_")
        for key, value in named.items()
        if made_by.get(key, value) != value
    ]
    if different:
        raise InputError(
            f"the features of {features.dataset} are not those of {model.label}: their "
            f"{', '.join(different)} differ",
            expected=f"features that {model.label} made",
            fix=f"name the model that made them, {made_by.get('model', features.model)}; or give "
            f"the images instead",
        )
    protocol = made_by.get("protocol", settings.protocol)
    if protocol != settings.protocol:
        raise InputError(
            f"the features of {features.dataset} were made under protocol {protocol}, not "
            f"{settings.protocol}",
            expected="one protocol in a run",
            fix=f"--protocol {protocol} (protocol={protocol!r}); or give the images instead",
        )


def dataset_name(data: Dataset | Features | CaptionDataset | CaptionFeatures) -> str:
    """Return the name of a dataset in tables."""
    return data.dataset if isinstance(data, Features | CaptionFeatures) else data.name


def check_names(
    models: Iterable[Model],
    datasets: Iterable[Dataset | Features | CaptionDataset | CaptionFeatures],
) -> None:
    """Check that names of models and datasets can be parts of the names of files.

    Raises:
        ModelError, DatasetError: there is no name, two would give the same file, or one cannot be
            part of a file name.
    """
    _check_names([model.label for model in models], "model", ModelError)
    _check_names([dataset_name(data) for data in datasets], "dataset", DatasetError)


def _check_names(
    names: Sequence[str], what: str, error: type[ModelError] | type[DatasetError]
) -> None:
    if not names:
        raise error(
            f"no {what} was named", expected="at least one", fix=f"`purescope {what}s` lists them"
        )
    fix = "name one as NEWLABEL=SPEC"
    for name in names:
        if not is_label(name) or name == VOCABULARY:
            raise error(
                f"a {what} called {name!r}",
                expected="a short name that can be part of a file name",
                fix=fix,
            )
    files = [slug(name) for name in names]
    twice = sorted({name for name in names if files.count(slug(name)) > 1})
    if twice:
        raise error(
            f"{len(names)} {what}s, of which {', '.join(map(repr, twice))} share a name",
            expected=f"a different name for each {what}: results are filed under it",
            fix=fix,
        )
