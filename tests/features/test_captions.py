"""Test the encoding of captions: against the plain loop, with the cache, and what is noted."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from purescope.datasets.captions.dataset import CaptionDataset
from purescope.datasets.dataset import Dataset
from purescope.errors import InputError
from purescope.features.caption_sources import load_captions
from purescope.features.captions import CaptionFeatures, check_pairs, extract_captions
from purescope.features.extraction import extract

Make = Callable[..., Any]


def captioned(dataset: Dataset, **changes: Any) -> CaptionDataset:
    """Return the images with one to three captions each, of which some are shared."""
    words = ("photo", "drawing", "map")
    captions = [
        tuple(f"a {word} of {{}} {index % 5}" for word in words[: index % 3 + 1])
        for index in range(len(dataset))
    ]
    fields: dict[str, Any] = {
        "name": "noise",
        "spec": "made by hand",
        "images": dataset.images,
        "captions": tuple(captions),
        "source": {},
        "image_fingerprint": dataset.fingerprint,
    }
    return CaptionDataset(**{**fields, **changes})


def test_it_is_the_plain_loop(make_model: Make, make_dataset: Make) -> None:
    """Each caption is encoded as it stands, braces and all."""
    model, labelled = make_model(), make_dataset()
    dataset = captioned(labelled)
    features = extract_captions(model, dataset, batch_size=5)
    rows, owners = [], []
    for index, captions in enumerate(dataset.captions):
        for caption in captions:
            row: Tensor = model.encode_text([caption])[0].double()
            rows.append(row / row.square().sum().sqrt())
            owners.append(index)
    torch.testing.assert_close(features.text.double(), torch.stack(rows), atol=1e-6, rtol=0)
    assert features.image_of.tolist() == owners
    assert features.captions == dataset.texts
    assert torch.equal(features.image, extract(model, labelled, batch_size=5).image)
    assert (features.model, features.dataset) == ("tiny", "noise")
    assert features.identity["dataset_fingerprint"] == dataset.fingerprint
    assert features.identity["model_weights"] == "w"
    assert features.identity["captions_cut"] == "not known"


def test_the_cache_is_shared_with_that_of_classes(
    make_model: Make, make_dataset: Make, tmp_path: Path
) -> None:
    """The images of `extract` are not encoded again; equal captions are encoded once."""
    sentences: list[str] = []

    def counting(texts: list[str]) -> Tensor:
        sentences.extend(texts)
        encoded: Tensor = make_model().encode_text(texts)
        return encoded

    def never(_: object) -> Tensor:
        raise AssertionError("encoded twice")

    labelled = make_dataset()
    plain = extract_captions(make_model(), captioned(labelled))
    extract(make_model(), labelled, cache=tmp_path)
    model = make_model(encode_image=never, encode_text=counting)
    dataset = captioned(labelled)
    first = extract_captions(model, dataset, cache=tmp_path)
    assert sorted(sentences) == sorted({*dataset.texts}), "each text once"
    done = make_model(encode_image=never, encode_text=never)
    again = extract_captions(done, dataset, cache=tmp_path)
    for features in (first, again):
        assert torch.equal(features.text, plain.text)
        assert torch.equal(features.image, plain.image)
    changed = captioned(labelled, captions=(("new",), *dataset.captions[1:]))
    assert not torch.equal(extract_captions(model, changed, cache=tmp_path).text[0], plain.text[0])


def test_captions_that_are_cut_are_counted(make_model: Make, make_dataset: Make) -> None:
    """Every caption counts, not every distinct one; a model that cuts none is not noted."""
    dataset = captioned(make_dataset())
    cut = [caption for caption in dataset.texts if "map" in caption]
    model = make_model(are_cut=lambda texts: ["map" in text for text in texts])
    with pytest.warns(UserWarning, match=f"{len(cut)} of {len(dataset.texts)} captions are longer"):
        features = extract_captions(model, dataset)
    assert features.identity["captions_cut"] == str(len(cut)) and len(cut) > len({*cut})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = extract_captions(make_model(are_cut=lambda texts: [False] * len(texts)), dataset)
        unknown = extract_captions(make_model(), dataset)
    assert whole.identity["captions_cut"] == "0"
    assert unknown.identity["captions_cut"] == "not known"


def test_towers_of_different_sizes(make_model: Make, make_dataset: Make) -> None:
    with pytest.raises(InputError, match="5 neurons for images, 3 for text"):
        extract_captions(
            make_model(encode_text=lambda texts: torch.ones(len(texts), 3)),
            captioned(make_dataset()),
        )
    with pytest.raises(InputError, match="batch size 0"):
        extract_captions(make_model(), captioned(make_dataset()), batch_size=0)


def test_the_progress_counts_captions_and_images(make_model: Make, make_dataset: Make) -> None:
    seen: list[tuple[str, int]] = []

    def progress(batches: Any, label: str, total: int) -> Any:
        seen.append((label, total))
        return batches

    extract_captions(make_model(), captioned(make_dataset()), batch_size=23, progress=progress)
    assert [label for label, _ in seen] == ["tiny, captions of noise", "tiny on noise"]
    assert all(total > 0 for _, total in seen)


IMAGE, TEXT = torch.eye(3), torch.eye(3)[[0, 0, 1, 2]]
OF = torch.tensor([0, 0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": torch.eye(3)[:1]}, "1 image"),
        ({"image": torch.eye(3, dtype=torch.int64)}, r"floating-point features \[image, neuron\]"),
        ({"text": torch.ones(4)}, r"floating-point features \[caption, neuron\]"),
        ({"text": torch.ones(4, 2)}, "image has 3 neurons, text has 2"),
        ({"text": TEXT / 0}, "text row 0 has a value that is NaN or infinite"),
        ({"image_of": OF.int()}, r"image_of is torch\.int32"),
        ({"image_of": OF[:3]}, r"torch\.int64 of shape \[4\]"),
        ({"image_of": torch.tensor([0, 0, 1, 3])}, "caption 3 is of image 3"),
        ({"image_of": torch.tensor([0, 0, 1, -1])}, "caption 3 is of image -1"),
        ({"image_of": torch.tensor([0, 0, 1, 1])}, "1 of 3 images have no caption.*image 2"),
    ],
)
def test_arrays_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    arrays = {"image": IMAGE, "text": TEXT, "image_of": OF}
    with pytest.raises(InputError, match=message):
        check_pairs(**{**arrays, **changes})


def test_features_check_their_arrays_and_captions() -> None:
    with pytest.raises(InputError, match="caption 3 is of image 3"):
        CaptionFeatures(IMAGE, TEXT, torch.tensor([0, 0, 1, 3]))
    with pytest.raises(InputError, match="1 captions for 4 rows of text"):
        CaptionFeatures(IMAGE, TEXT, OF, ("a",))


def test_images_are_selected_with_their_captions() -> None:
    features = CaptionFeatures(IMAGE, TEXT, OF, ("a", "b", "c", "d"))
    kept = features.select([2, 0])
    assert torch.equal(kept.image, IMAGE[[2, 0]])
    assert kept.captions == ("a", "b", "d") and kept.image_of.tolist() == [1, 1, 0]
    for row, caption in enumerate(kept.captions):
        assert torch.equal(kept.text[row], TEXT["abcd".index(caption)])
    for indices in ([0, 0], [0, 3], [-1, 0], [1]):
        with pytest.raises(InputError):
            features.select(indices)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("bundled:flags", "captions:bundled:flags"),
        ("a\tb=captions:bundled:flags", "label"),
        ("captions:", "names nothing"),
        ("captions:gone.npz", r"there is no file gone\.npz"),
    ],
)
def test_names_that_load_nothing(spec: str, message: str) -> None:
    with pytest.raises(Exception, match=message) as caught:
        load_captions(spec)
    assert type(caught.value).__module__ == "purescope.errors"


@pytest.mark.filterwarnings("ignore::UserWarning")  # of equal captions
def test_a_label_is_the_name_without_spaces_around_it() -> None:
    loaded = load_captions(" my flags =captions:bundled:flags")
    assert isinstance(loaded, CaptionDataset) and loaded.name == "my flags"
