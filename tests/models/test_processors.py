"""What a processor of transformers does not say is what its own class does."""

import json
from pathlib import Path
from typing import Any

import pytest

from purescope.errors import ModelError
from purescope.models.model import Preprocess
from purescope.models.transformers_config import read_processor, to_processor_config

transformers = pytest.importorskip("transformers")

FILTERS = {2: "bilinear", 3: "bicubic"}


def read(folder: Path, kind: str = "CLIPImageProcessor", **settings: Any) -> Preprocess:
    config = {"image_processor_type": kind, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return read_processor(folder)


@pytest.mark.parametrize(
    ("kind", "resize"), [("CLIPImageProcessor", "shortest"), ("SiglipImageProcessor", "squash")]
)
def test_defaults_are_those_of_the_class(kind: str, resize: str, tmp_path: Path) -> None:
    own = getattr(transformers, kind)().to_dict()
    size = own["size"].get("shortest_edge", own["size"].get("height"))
    found = read(tmp_path, kind)
    assert found == Preprocess(
        size, tuple(own["image_mean"]), tuple(own["image_std"]), FILTERS[int(own["resample"])],
        resize,
    )  # fmt: skip
    nothing = dict.fromkeys(("size", "resample", "image_mean", "do_resize", "crop_size"))
    assert read(tmp_path, kind, **nothing) == found


@pytest.mark.parametrize("resize", ["shortest", "squash"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_what_is_written_is_read_again(resize: Any, interpolation: Any, tmp_path: Path) -> None:
    preprocess = Preprocess(64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), interpolation, resize)
    config = to_processor_config(preprocess)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    assert read_processor(tmp_path) == preprocess


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"size": 96, "crop_size": 96}, ("shortest", 96)),
        ({"size": {"shortest_edge": 96}, "crop_size": {"height": 96, "width": 96}},
         ("shortest", 96)),
        ({"size": {"height": 96, "width": 96}, "do_center_crop": False}, ("squash", 96)),
        ({"size": {"height": 96, "width": 96}, "crop_size": 96}, ("squash", 96)),
    ],
    ids=str,
)  # fmt: skip
def test_squares_of_every_form(
    settings: dict[str, Any], expected: tuple[str, int], tmp_path: Path
) -> None:
    found = read(tmp_path, **settings)
    assert (found.resize, found.size) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_resize": False}, "do_resize off"),
        ({"do_rescale": False, "do_normalize": False}, "do_rescale, do_normalize off"),
        ({"rescale_factor": 1 / 127.5}, "rescale_factor 0.0078"),
        ({"rescale_factor": 1}, "rescale_factor 1"),
        ({"resample": 1}, "resample 1"),
        ({"resample": "3"}, "resample 3"),
        ({"size": {"shortest_edge": 96}}, "size .*96.* with crop_size 224"),
        ({"size": {"shortest_edge": 224}, "do_center_crop": False}, "with crop_size"),
        ({"size": {"height": 96, "width": 64}, "do_center_crop": False}, "size .*96.*64"),
        ({"size": {"longest_edge": 96}}, "size .*longest_edge"),
        ({"image_mean": [0.5]}, r"image_mean \[0.5\]"),
        ({"image_std": "x"}, "image_std x"),
        ({"image_std": [0, 1, 1]}, "no zero|std"),
        ({"image_processor_type": "ViTImageProcessor"}, "image_processor_type ViTImageProcessor"),
    ],
    ids=str,
)
def test_what_is_not_supported_is_named(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=message):
        read(tmp_path, **settings)
