import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from purescope.datasets.dataset import Dataset, drop_bad_images
from purescope.datasets.images import LazyImages
from purescope.errors import DatasetError, InputError
from purescope.features.extraction import extract
from purescope.models.model import Model

Make = Callable[..., Any]
OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def plain_features(
    model: Model,
    dataset: Dataset,
    mean: Iterable[float],
    std: Iterable[float],
    resample: Image.Resampling,
    names: Iterable[str],
    templates: Iterable[str],
) -> tuple[Tensor, Tensor]:
    """From the definition: one image and one sentence at a time, float64 arithmetic, no preprocess
    of ours.

    The images are 9 x 6 and the model sees 4 x 4: shortest side to 4 gives 6 x 4, of which columns
    1 to 4 are the centre.
    """
    image_rows = []
    for i in range(len(dataset)):
        small = dataset.images[i].resize((6, 4), resample).crop((1, 0, 5, 4))
        pixels = np.asarray(small).astype(np.float64) / 255
        pixels = (pixels - np.array([*mean])) / np.array([*std])
        row = model.encode_image(torch.from_numpy(pixels.transpose(2, 0, 1)).float()[None])[
            0
        ].double()
        image_rows.append(row / row.square().sum().sqrt())
    text_rows = []
    for name in names:
        rows = []
        for template in templates:
            row = model.encode_text([template.replace("{}", name)])[0].double()
            rows.append(row / row.square().sum().sqrt())
        mean_row = torch.stack(rows).sum(dim=0) / len(rows)
        text_rows.append(mean_row / mean_row.square().sum().sqrt())
    return torch.stack(image_rows), torch.stack(text_rows)


def test_native_is_the_plain_loop_with_own_preprocess(make_model: Make, make_dataset: Make) -> None:
    model, dataset = make_model(), make_dataset()
    start = time.perf_counter()
    features = extract(model, dataset, batch_size=7)
    assert 0 < features.seconds <= time.perf_counter() - start
    image, text = plain_features(
        model, dataset, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), Image.Resampling.BILINEAR,
        ["a b", "c d", "e"], ["a {}.", "the {}."],
    )  # fmt: skip
    torch.testing.assert_close(features.image.double(), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(features.text.double(), text, atol=1e-6, rtol=0)
    assert features.labels.tolist() == dataset.labels.tolist()
    assert (features.classes, features.model, features.dataset) == (
        ("a_b", "c_d", "e"),
        "tiny",
        "noise",
    )
    assert features.image.dtype == features.text.dtype == torch.float32


def test_paper_is_the_plain_loop_with_openai_preprocess(
    make_model: Make, make_dataset: Make
) -> None:
    model, dataset = make_model(), make_dataset()
    features = extract(model, dataset, protocol="paper")
    image, text = plain_features(
        model, dataset, OPENAI_MEAN, OPENAI_STD, Image.Resampling.BICUBIC,
        ["a_b", "c_d", "e"], ["a photo of a {}"],
    )  # fmt: skip
    torch.testing.assert_close(features.image.double(), image, atol=1e-5, rtol=0)
    torch.testing.assert_close(features.text.double(), text, atol=1e-6, rtol=0)


def test_what_the_numbers_depend_on_is_in_the_identity(
    make_model: Make, make_dataset: Make
) -> None:
    base = extract(make_model(), make_dataset()).identity
    changes = {
        "protocol": extract(make_model(), make_dataset(), protocol="paper").identity,
        "model_weights": extract(make_model(identity={"weights": "v"}), make_dataset()).identity,
        "dataset_fingerprint": extract(make_model(), make_dataset(fingerprint="g")).identity,
        "prompts": extract(make_model(), make_dataset(display_names=("x", "y", "z"))).identity,
        "templates": extract(make_model(), make_dataset(templates=("my {}",))).identity,
    }
    for key, changed in changes.items():
        assert changed[key] != base[key], key
    paper, native = changes["protocol"]["preprocess"], base["preprocess"]
    assert "size=4" in paper and "bicubic" in paper, "the model's own size, where it is not 224"
    assert "size=4" in native and "bilinear" in native


@pytest.mark.parametrize("batch_size", [1, 2, 22, 23, 24, 1000])
def test_the_batch_size_changes_nothing(
    make_model: Make, make_dataset: Make, batch_size: int
) -> None:
    expected = extract(make_model(), make_dataset(), batch_size=5)
    features = extract(make_model(), make_dataset(), batch_size=batch_size)
    torch.testing.assert_close(features.image, expected.image, atol=1e-6, rtol=0)
    assert torch.equal(features.text, expected.text)


def test_order_is_kept_when_later_images_are_decoded_first(
    make_model: Make, make_dataset: Make
) -> None:
    dataset = make_dataset()

    def late_first(index: int) -> Image.Image:
        time.sleep(0.03 if index % 5 == 0 else 0)
        image: Image.Image = dataset.images[index]
        return image

    slow = replace(dataset, images=LazyImages(late_first, len(dataset)))
    expected = extract(make_model(), dataset, batch_size=4)
    assert torch.equal(extract(make_model(), slow, batch_size=4).image, expected.image)


def test_look_ahead_is_bounded(make_model: Make, make_dataset: Make) -> None:
    """Of 23 images, with 2 at a time, no more than a batch for each core and lane and one more are
    ever decoded.
    """
    decoded = [0]
    dataset, lock = make_dataset(), threading.Lock()
    ahead: list[int] = []

    def read(index: int) -> Image.Image:
        with lock:
            decoded[0] += 1
        image: Image.Image = dataset.images[index]
        return image

    def encode(pixels: Tensor) -> Tensor:
        time.sleep(0.02)
        ahead.append(decoded[0] - 2 * len(ahead))
        return torch.ones(len(pixels), 5)

    model = make_model(encode_image=encode)
    extract(model, replace(dataset, images=LazyImages(read, 23)), batch_size=2)
    assert max(ahead) <= 2 * (2 + 2 + model.lanes)
    assert decoded == [23]


def test_decoding_overlaps_with_the_model(make_model: Make, make_dataset: Make) -> None:
    """While the model works on the first batch, later images are being read."""
    dataset = make_dataset()
    later, seen = threading.Event(), []

    def read(index: int) -> Image.Image:
        if index >= 4:
            later.set()
        image: Image.Image = dataset.images[index]
        return image

    def encode(pixels: Tensor) -> Tensor:
        seen.append(later.wait(timeout=5))
        return torch.ones(len(pixels), 5)

    model = make_model(encode_image=encode)
    images = LazyImages(read, 23)
    extract(model, replace(dataset, images=images), batch_size=8 if model.lanes == 0 else 4)
    assert seen[0]


def test_texts_are_encoded_in_one_call(make_model: Make, make_dataset: Make) -> None:
    calls = []

    def encode(texts: list[str]) -> Tensor:
        calls.append(list(texts))
        return torch.ones(len(texts), 5)

    extract(make_model(encode_text=encode), make_dataset())
    assert calls == [["a a b.", "the a b.", "a c d.", "the c d.", "a e.", "the e."]]


def test_templates_weigh_the_same_whatever_their_norm(make_model: Make, make_dataset: Make) -> None:
    # Unit rows first, then the mean: (1, 0) and (0, 100) meet at 45 degrees.
    def encode(texts: list[str]) -> Tensor:
        rows = [
            [1.0, 0, 0, 0, 0] if text.startswith("a") else [0, 100.0, 0, 0, 0] for text in texts
        ]
        return torch.tensor(rows)

    text = extract(make_model(encode_text=encode), make_dataset()).text
    torch.testing.assert_close(text[0], torch.tensor([0.5**0.5, 0.5**0.5, 0, 0, 0]))


def test_zero_rows_stay_zero_and_others_are_unit(make_model: Make, make_dataset: Make) -> None:
    scales = torch.tensor([0.0, 1e-30, 1e30, 1.0])

    def encode(pixels: Tensor) -> Tensor:
        return scales[torch.arange(len(pixels)) % 4][:, None] * torch.tensor(
            [[3.0, -4.0, 0.0, 0.0, 0.0]]
        )

    image = extract(make_model(encode_image=encode), make_dataset()).image
    expected = torch.tensor([[0.0] * 5] + [[0.6, -0.8, 0.0, 0.0, 0.0]] * 3)
    torch.testing.assert_close(image[:4], expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_nan_names_the_image(make_model: Make, make_dataset: Make, value: float) -> None:
    model, dataset = make_model(), make_dataset()
    marked = model.preprocess.normalise(model.preprocess.pixels(dataset.images[11])[None])
    calls = []

    def encode(pixels: Tensor) -> Tensor:
        calls.append(len(pixels))
        features = torch.ones(len(pixels), 5)
        features[(pixels == marked).flatten(1).all(1), 2] = value
        return features

    with pytest.raises(
        InputError, match=r"tiny on noise: image row 11 has a value that is NaN or infinite"
    ):
        extract(replace(model, encode_image=encode), dataset, batch_size=2)
    assert sum(calls) < 20, "the rest is not encoded"


def test_nan_in_text(make_model: Make, make_dataset: Make) -> None:
    model = make_model(encode_text=lambda texts: torch.full((len(texts), 5), float("nan")))
    with pytest.raises(InputError, match="tiny: sentence row 0"):
        extract(model, make_dataset())


def test_towers_of_different_widths(make_model: Make, make_dataset: Make) -> None:
    model = make_model(encode_text=lambda texts: torch.ones(len(texts), 4))
    with pytest.raises(InputError, match="5 neurons for images, 4 for text"):
        extract(model, make_dataset())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 0}, "batch size 0"), ({"protocol": "papers"}, "did you mean 'paper'")],
)
def test_options_are_checked(
    make_model: Make, make_dataset: Make, options: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        extract(make_model(), make_dataset(), **options)


def broken_dataset(dataset: Dataset, broken: int) -> Dataset:
    def read(index: int) -> Image.Image:
        if index == broken:
            raise DatasetError(f"image {index}.png: damaged")
        return dataset.images[index]

    return replace(dataset, images=LazyImages(read, len(dataset)))


@pytest.mark.parametrize("broken", [0, 11, 22])
def test_a_broken_image_stops_the_run_or_is_skipped(
    make_model: Make, make_dataset: Make, broken: int
) -> None:
    dataset = broken_dataset(make_dataset(), broken)
    threads = threading.active_count()
    with pytest.raises(DatasetError, match=rf"image {broken}\.png: damaged"):
        extract(make_model(), dataset, batch_size=4)
    assert threading.active_count() == threads, "no thread is left behind"
    features = extract(make_model(), drop_bad_images(dataset), batch_size=4)
    whole = extract(make_model(), make_dataset())
    kept = [i for i in range(23) if i != broken]
    torch.testing.assert_close(features.image, whole.image[kept], atol=1e-6, rtol=0)
    assert features.labels.tolist() == whole.labels[kept].tolist()
    assert features.identity["dataset_skipped"] == "1"


def test_progress_sees_every_batch(make_model: Make, make_dataset: Make) -> None:
    seen: list[Any] = []

    def progress(iterable: Iterable[Any], label: str, total: int) -> Iterable[Any]:
        seen.append((label, total))
        for item in iterable:
            seen.append(len(item))
            yield item

    extract(make_model(), make_dataset(), batch_size=10, progress=progress)
    sizes = [5, 5, 5, 5, 3] if make_model().lanes == 0 else [10, 10, 3]
    assert seen == [("tiny on noise", len(sizes)), *sizes]


def test_threads_of_torch_are_left_as_they_were(make_model: Make, make_dataset: Make) -> None:
    inside = set()

    def encode(pixels: Tensor) -> Tensor:
        inside.add(torch.get_num_threads())
        return torch.ones(len(pixels), 5)

    model = make_model(encode_image=encode)
    extract(model, make_dataset(), batch_size=4)
    assert inside <= {0: {1}, 1: {2}}.get(model.lanes, {1, 2})
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2, "of new threads too"


def test_progress_that_stops_early_leaves_no_thread(make_model: Make, make_dataset: Make) -> None:
    threads = threading.active_count()

    def stop(iterable: Iterable[Any], label: str, total: int) -> Iterable[Any]:
        iterator = iter(iterable)
        yield next(iterator)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(make_model(), make_dataset(), batch_size=2, progress=stop)
    assert threading.active_count() == threads
