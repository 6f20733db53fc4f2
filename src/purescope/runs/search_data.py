"""Open what is searched by name: vectors, features, captions, datasets, or a folder of results."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset, fingerprint
from purescope.errors import InputError, ModelError
from purescope.features.caption_sources import load_captions
from purescope.features.captions import CaptionFeatures, extract_captions
from purescope.features.clip_retrieval import is_clip_retrieval
from purescope.features.extraction import Progress
from purescope.features.features import Features
from purescope.files.manifest import MANIFEST, read_manifest
from purescope.models.model import Model
from purescope.reduce.collections.formats import format_of
from purescope.reduce.collections.vectors import open_vectors
from purescope.reduce.search_sets import (
    Sampler,
    ask_captions,
    ask_classes,
    choose_places,
    hold_out,
)
from purescope.reduce.searching import SearchSet
from purescope.runs.inputs import Settings, Sources, features_of, named_model, open_data
from purescope.specs import is_folder, short_name, split_label, to_path

Data: TypeAlias = str | Dataset | CaptionDataset | Features | CaptionFeatures

_FEATURES, _CAPTIONS = "features:", "captions:"
_FILES = (".npz", ".safetensors")  # of features, with texts and labels


@dataclass(frozen=True)
class Search:
    """The options of a search that change numbers, see `purescope.index`."""

    codes: tuple[str, ...]
    axes: str
    ask: str
    queries: int
    rows: int
    candidates: int
    normalise: bool
    seed: int
    resamples: int
    column: str | None = None
    array: str | None = None


def expand(
    data: Data | Sequence[Data], model: str | Model | None
) -> Iterator[tuple[Data, str | Model | None]]:
    """Return each item with its model; a folder of results stands for its models and data.

    Raises:
        InputError: there is none, or the results do not say what was measured.
    """
    items = [data] if isinstance(data, Data) else list(data)
    if not items:
        raise InputError("no DATA", expected="vectors, features, captions or a dataset")
    for item in items:
        if not isinstance(item, str) or not _is_results(item):
            yield item, model
            continue
        manifest = read_manifest(to_path(item)) or {}
        specs = [str(entry.get("spec", "features")) for entry in manifest.get("datasets", [])]
        makers = [str(entry["spec"]) for entry in manifest.get("models", [])]
        if not specs or not makers or "features" in {*specs, *makers}:
            raise InputError(
                f"{item}: these results do not name a model and datasets to encode",
                expected="results of `purescope sweep MODEL --data DATASET`",
                fix="give the vectors: features:PATH",
            )
        for maker in [model] if model is not None else makers:
            yield from ((spec, maker) for spec in specs)


def _is_results(item: str) -> bool:
    path = to_path(item)
    return is_folder(path) and (path / MANIFEST).is_file()


def open_search(
    item: Data,
    maker: str | Model | None,
    search: Search,
    sources: Sources,
    progress: Progress,
) -> tuple[SearchSet, dict[str, Any]]:
    """Open data, encode it if it is images, and draw vectors and queries.

    Returns:
        What to search, and its identity for the manifest.

    Raises:
        ModelError: some data is images, and there is no model.
        InputError: the queries that are asked for do not exist.
    """
    found = _load(item, sources, maker is not None) if isinstance(item, str) else item
    if found is None:  # vectors alone
        return _draw_vectors(str(item), search)
    encoder = named_model(maker, sources) if isinstance(maker, str) else maker
    if isinstance(found, CaptionDataset | Dataset) and encoder is None:
        raise ModelError(
            f"no model to encode {found.name}",
            expected="--model MODEL (model=), or vectors that exist already",
            fix="`purescope models` lists what can be named",
        )
    if isinstance(found, CaptionDataset):
        assert encoder is not None
        found = extract_captions(
            encoder,
            found,
            batch_size=sources.batch_size,
            cache=sources.cache,
            progress=progress,
        )
    if isinstance(found, Dataset | Features) and encoder is not None:
        found = features_of(encoder, found, Settings(), sources, progress)
    assert isinstance(found, Features | CaptionFeatures)
    if search.ask == "held-out" or (not search.ask and isinstance(found, Features)):
        return _hold_out(found, search), _identity(found)
    _note_sample(len(found.image), search.rows, found.dataset)
    if isinstance(found, Features):
        given = ask_classes(found, most=search.rows, seed=search.seed)
    else:
        given = ask_captions(found, search.queries, most=search.rows, seed=search.seed)
    return given, _identity(found)


def _load(
    item: str, sources: Sources, has_model: bool
) -> Dataset | CaptionDataset | Features | CaptionFeatures | None:
    """Load what a name stands for; None for vectors alone."""
    label, name = split_label(item)
    start = "" if label is None else f"{label}="
    path = to_path(name.removeprefix(_FEATURES))
    is_features = name.startswith(_FEATURES)
    if is_features and path.suffix in _FILES:
        return open_data(item, sources, alone=not has_model)
    if name.startswith(_CAPTIONS):
        return load_captions(item, offline=sources.offline, on_bad_image=sources.on_bad_image)
    if (is_features or ":" not in name) and is_clip_retrieval(path):
        return load_captions(f"{start}{_CAPTIONS}{path}")
    if is_features or _names_vectors(name):
        return None
    return open_data(item, sources)


def _names_vectors(name: str) -> bool:
    """Tell whether a name is the path of vectors, and not a dataset."""
    path = to_path(name)
    return ":" not in name and (format_of(path) is not None or is_folder(path))


def _draw_vectors(item: str, search: Search) -> tuple[SearchSet, dict[str, Any]]:
    """Read a collection, or a sample of it, and leave out the queries."""
    label, name = split_label(item)
    path = to_path(name.removeprefix(_FEATURES))
    if search.ask == "text":
        raise InputError(
            f"{item}: there are no texts to ask with",
            expected="captions:PATH, features:PATH with texts, or --ask held-out",
        )
    sampler = Sampler(search.rows + search.queries, seed=search.seed)
    vectors = open_vectors(path, column=search.column, array=search.array)
    vectors.each_block(lambda block: sampler.take(torch.from_numpy(block)))
    dataset = short_name(label or path.resolve().stem)
    if not sampler.count:
        raise InputError(f"{path} is empty: it holds no vectors", expected="at least 15")
    _note_sample(sampler.count, search.rows + search.queries, dataset)
    given = hold_out(
        sampler.rows(), search.queries, dataset=dataset, model="vectors", seed=search.seed
    )
    return given, {"spec": item, "vectors_read": sampler.count}


def _hold_out(found: Features | CaptionFeatures, search: Search) -> SearchSet:
    """Leave images out of the index, or out of a sample of it."""
    most = search.rows + search.queries
    _note_sample(len(found.image), most, found.dataset)
    places = choose_places(len(found.image), most, search.seed)
    return hold_out(
        found.image[places],
        search.queries,
        labels=found.labels[places] if isinstance(found, Features) else None,
        model=found.model,
        dataset=found.dataset,
        seed=search.seed,
    )


def _note_sample(count: int, most: int, dataset: str) -> None:
    if count > most:
        warnings.warn(
            f"{dataset}: a sample of {most:,} of its {count:,} vectors is searched; among more "
            "vectors recall is lower (--rows N)",
            stacklevel=2,
        )


def _identity(found: Features | CaptionFeatures) -> dict[str, Any]:
    arrays = (array.contiguous().numpy().data for array in (found.image, found.text))
    names = found.classes if isinstance(found, Features) else found.captions
    answers = found.labels if isinstance(found, Features) else found.image_of
    return {
        "spec": found.identity.get("dataset", "features"),
        "images": len(found.image),
        "texts": len(found.text),
        "fingerprint": fingerprint(names, answers, arrays),
        **found.identity,
    }
