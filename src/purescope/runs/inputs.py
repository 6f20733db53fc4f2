"""What a run is made of: models and data by their names, each checked before hours of encoding."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from purescope.datasets import load_dataset
from purescope.datasets.dataset import Dataset
from purescope.errors import DatasetError, InputError, ModelError
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

# What is no different number: where weights were found, and how they were wrapped.
_WRAPPING = ("format",)


@dataclass(frozen=True)
class Settings(Options):
    """The settings of a run; every field changes numbers and stands in the manifest.

    Args:
        keep, strategies, draws, seed, space, measure, towers, ablation, renormalise, resamples,
            orders: as in `purescope.sweep`.
        protocol: ``native``, each checkpoint's preprocess and each dataset's prompts; or ``paper``,
            the experiment's, see `purescope.extract`.
        precision: of the encoders, see `purescope.load_model`.

    Raises:
        InputError: a setting is unknown or out of range, or two do not go together.

    Examples:
        >>> Settings(keep=[128, 256], draws=1000).space
        'weights'
    """

    protocol: str = "native"
    precision: str = "auto"


@dataclass(frozen=True)
class Sources:
    """Where models and datasets are found, and how they are read.

    What of it changes a number is recorded with the model and the dataset.

    Args:
        arch: architecture of checkpoints that do not say theirs, a name of open_clip's.
        data_root: folder of the torchvision datasets.
        classnames, templates: files with class names and prompt templates of your own.
        download: fetch what is missing and can be fetched.
        offline: never ask a network.
        on_bad_image: ``error`` stops at an image that cannot be read, ``skip`` leaves it out and
            says so.
        batch_size: images at a time.
        device: where to encode, see `purescope.load_model`.
        cache: folder where features are kept, so that none is encoded twice.

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
    """The model of a name, as `load_model` finds it."""
    return load_model(
        spec, device=sources.device, precision=precision, arch=sources.arch, offline=sources.offline
    )


def named_dataset(spec: str, sources: Sources) -> Dataset:
    """The images of a name, as `load_dataset` finds them."""
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
    """The model of a name, or one that is there, checked against the settings."""
    if isinstance(model, str):
        model = named_model(model, sources, precision=settings.precision)
    ks(settings, model)
    if settings.space == "weights":
        _ = model.projections  # raises where there are none
    return model


def named_or_behind(
    models: Sequence[str | Model], sets: Sequence[Dataset | Features]
) -> Sequence[str | Model]:
    """The models that are named; where none is, the one that made the features, of which nothing
    else is known.

    Raises:
        ModelError: none is named, and there are images.
    """
    if models:
        return models
    features = [item for item in sets if isinstance(item, Features)]
    if not features or len(features) < len(sets):
        raise ModelError(
            "no MODEL was named",
            expected="one or more; none only where all --data are features:FILE",
            fix="`purescope models` lists what can be named",
        )
    return [_behind(features[0])]


def _behind(features: Features) -> Model:
    """What is known of the model that made features."""
    prefix = "model_"
    made_by = {
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
        identity=made_by,
    )


def ks(settings: Settings, model: Model) -> list[int]:
    """How many neurons of a model a run keeps."""
    return check_keep(
        default_keep(model.neurons) if settings.keep is None else settings.keep, model.neurons
    )


def open_data(
    spec: str | Dataset | Features, sources: Sources, *, alone: bool = False
) -> Dataset | Features:
    """The data set or the features of a name, or what is there; `alone` where no model is named for
    them to fit.

    Raises:
        InputError: other words are asked for than those that the features were made of.

    Warns:
        UserWarning: a file of features does not say which model made them, and one is named.
    """
    if not isinstance(spec, str):
        return spec
    label, name = split_label(spec)
    if not name.startswith("features:"):
        return named_dataset(spec, sources)
    _refuse_words(sources, f"{name} has its class features already")
    features = read_features(name.removeprefix("features:"))
    if not alone and "model_weights" not in features.identity:
        warnings.warn(
            f"{name} does not say which model made it: nothing shows whether it fits the model it "
            f"is measured with",
            stacklevel=2,
        )
    return features if label is None else replace(features, dataset=label)


def check_words(protocol: str, sources: Sources) -> None:
    """Refuse class names and templates where the protocol has its own.

    Raises:
        InputError: there are some.
    """
    if protocol == "paper":
        _refuse_words(sources, "protocol paper puts raw class names into 'a photo of a {}'")


def _refuse_words(sources: Sources, why: str) -> None:
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
    model: Model, item: Dataset | Features, settings: Settings, sources: Sources, progress: Progress
) -> Features:
    """The features of a model on a data set, under its label; those that are there, if model and
    settings made them.
    """
    if isinstance(item, Features):
        check_origin(item, model, settings)
        return replace(item, model=model.label)
    return extract(
        model,
        item,
        protocol=settings.protocol,
        batch_size=sources.batch_size,
        cache=sources.cache,
        progress=progress,
    )


def check_origin(features: Features, model: Model, settings: Settings) -> None:
    """Refuse features of another model or protocol, as far as they say what made them.

    Raises:
        InputError: they are.
    """
    neurons = features.image.shape[1]
    if neurons != model.neurons:
        raise InputError(
            f"the features of {features.dataset} have {neurons:,} neurons, {model.label} has "
            f"{model.neurons:,}",
            expected="features that this model made",
            fix="name the model that made them; or none, with --space activations: their own "
            "activations rank them",
        )
    made_by = features.identity
    named = {f"model_{key}": value for key, value in model.identity.items() if key not in _WRAPPING}
    if settings.precision == "auto":
        named.pop("model_precision", None)  # nothing is encoded, and none was asked for
    other = [
        key.removeprefix("model_")
        for key, value in named.items()
        if made_by.get(key, value) != value
    ]
    if other:
        raise InputError(
            f"the features of {features.dataset} are not those of {model.label}: their "
            f"{', '.join(other)} differ",
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


def name_of(item: Dataset | Features) -> str:
    """What a data set is called in tables."""
    return item.dataset if isinstance(item, Features) else item.name


def check_names(models: Iterable[Model], sets: Iterable[Dataset | Features]) -> None:
    """Results are filed under these names.

    Raises:
        ModelError, DatasetError: there is none, two share a file, or one cannot be part of a file
            name.
    """
    _check_names([model.label for model in models], "model", ModelError)
    _check_names([name_of(item) for item in sets], "dataset", DatasetError)


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
