"""The preprocess of transformers: what a processor's configuration says, as a `Preprocess`, and the
way back.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purescope.errors import InputError, ModelError
from purescope.models.checkpoint import read_json
from purescope.models.model import Preprocess, as_rgb

PROCESSOR = "preprocessor_config.json"
_PROCESSORS: dict[str, dict[str, Any]] = {
    "CLIP": {
        "size": {"shortest_edge": 224},
        "do_center_crop": True,
        "crop_size": 224,
        "image_mean": (0.48145466, 0.4578275, 0.40821073),
        "image_std": (0.26862954, 0.26130258, 0.27577711),
    },
    "Siglip": {
        "size": {"height": 224, "width": 224},
        "do_center_crop": False,
        "crop_size": None,
        "image_mean": (0.5, 0.5, 0.5),
        "image_std": (0.5, 0.5, 0.5),
    },
}
_COMMON = {
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "resample": 3,
}
_FILTERS = {2: "bilinear", 3: "bicubic"}


def find_preprocess(folder: Path) -> Preprocess:
    """The preprocess in preprocessor_config.json, or in the processor_config.json that newer
    versions write.

    Pixels are those of transformers' Pillow processors, but that transformers rounds the place of
    the crop down where torchvision rounds to even: one pixel aside for half of the odd sizes.

    Raises:
        ModelError: there is none, or it does something that `Preprocess` cannot.
    """
    path, config = folder / PROCESSOR, None
    if not path.exists() and not (folder / "processor_config.json").exists():
        raise ModelError(
            f"{folder}: no {PROCESSOR}, which tells how images are prepared",
            expected="it, or processor_config.json, beside config.json",
            fix="copy it from the model that this one was trained from: "
            "processor.save_pretrained(FOLDER)",
        )
    if not path.exists() and (folder / "processor_config.json").exists():
        path = folder / "processor_config.json"
        config = read_dictionary(path).get("image_processor")
    config = read_dictionary(path) if config is None else config
    if not isinstance(config, dict):
        raise ModelError(f"{path}: image_processor is {config!r}", expected="a dictionary")
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    known = re.fullmatch(r"(CLIP|Siglip)(ImageProcessor(Fast|Pil)?|FeatureExtractor)", kind)
    if not known:
        raise ModelError(
            f"{path}: image_processor_type {kind}",
            expected="CLIPImageProcessor or SiglipImageProcessor",
        )
    given = {key: value for key, value in config.items() if value is not None}
    settings = {**_COMMON, **_PROCESSORS[known[1]], **given}
    resize, size = _square(settings)
    off = [key for key in ("do_resize", "do_rescale", "do_normalize") if settings[key] is not True]
    scale, mean, std = (
        settings["rescale_factor"],
        as_rgb(settings["image_mean"]),
        as_rgb(settings["image_std"]),
    )
    unmapped = {
        f"{', '.join(off)} off": bool(off),
        f"rescale_factor {scale}": not (isinstance(scale, float) and abs(scale * 255 - 1) < 1e-6),
        f"resample {settings['resample']}": settings["resample"] not in tuple(_FILTERS),
        f"size {settings['size']} with crop_size {settings['crop_size']}": resize is None,
        f"image_mean {settings['image_mean']}": mean is None,
        f"image_std {settings['image_std']}": std is None,
    }
    if resize is None or mean is None or std is None or any(unmapped.values()):
        raise ModelError(
            f"{path}: {'; '.join(what for what, is_so in unmapped.items() if is_so)}",
            expected="a square by shortest edge and centre crop or by height and width, scaled to "
            "[0, 1], normalised",
        )
    try:
        return Preprocess(size, mean, std, _FILTERS[settings["resample"]], resize)
    except InputError as error:
        raise ModelError(f"{path}: {error.came}", expected=error.expected) from error


def processor_config(preprocess: Preprocess) -> dict[str, Any]:
    """What `find_preprocess` reads as this preprocess, and transformers, too."""
    side, is_cut = preprocess.size, preprocess.resize == "shortest"
    square = {"height": side, "width": side}
    return {
        **_COMMON,
        "image_processor_type": "CLIPImageProcessor" if is_cut else "SiglipImageProcessor",
        "size": {"shortest_edge": side} if is_cut else square,
        "do_center_crop": is_cut,
        "crop_size": square,
        "do_convert_rgb": True,
        "image_mean": preprocess.mean,
        "image_std": preprocess.std,
        "resample": {name: number for number, name in _FILTERS.items()}[preprocess.interpolation],
    }


def _square(settings: Mapping[str, Any]) -> tuple[str | None, int]:
    """How an image becomes a square, and its side; None where it does not, or by other means."""
    size, crop = settings["size"], settings["crop_size"]
    size = size if isinstance(size, dict) else {"shortest_edge": size}
    crop = crop if isinstance(crop, dict) else {"height": crop, "width": crop}
    resize = "shortest" if size.keys() == {"shortest_edge"} else "squash"
    side = size.get("shortest_edge", size.get("height"))
    square = {"height": side, "width": side}
    is_square = crop == square if settings["do_center_crop"] else resize == "squash"
    if isinstance(side, int) and is_square and size in ({"shortest_edge": side}, square):
        return resize, side
    return None, 0


def read_dictionary(path: Path) -> dict[str, Any]:
    """What stands in a configuration of transformers.

    Raises:
        ModelError: it cannot be read, or holds something else.
    """
    content = read_json(path, "a folder of transformers with config.json")
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds a {type(content).__name__}", expected="a dictionary")
    return content
