"""Read configurations of transformers of unknown origin: models, text towers and processors.

A config.json can name code that lies beside it, another configuration, a kernel of the hub, or a
folder with weights. transformers only gets the keys in the tables here: the parameters of its own
configuration classes that describe a model.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purescope.errors import InputError, MissingExtraError, ModelError, near_miss
from purescope.files.hub import fetch_file
from purescope.models.checkpoint import read_dictionary
from purescope.models.configuration import (
    FLAG,
    NOTHING,
    NUMBER,
    TEXT,
    WHOLE,
    Kind,
    keep_known,
    list_of,
)
from purescope.models.model import Preprocess, to_rgb

CONFIG = "config.json"
PROCESSOR = "preprocessor_config.json"

POSITIONS = 16_384
"""Most tokens of a sentence: some towers compute a table of them that is not among the weights."""

_SPECIAL: dict[str, Kind] = {
    "pad_token_id": WHOLE | NOTHING,
    "bos_token_id": WHOLE | NOTHING,
    "eos_token_id": WHOLE | list_of(WHOLE) | NOTHING,
}
_SIZE = WHOLE | list_of(WHOLE, least=2, most=2)


def _table(whole: str = "", number: str = "", flag: str = "", text: str = "") -> dict[str, Kind]:
    kinds = ((whole, WHOLE), (number, NUMBER | NOTHING), (flag, FLAG), (text, TEXT))
    return {name: kind for names, kind in kinds for name in names.split()}


_TOWER = _table(
    whole="hidden_size intermediate_size num_hidden_layers num_attention_heads",
    number="layer_norm_eps attention_dropout dropout initializer_range initializer_factor",
    text="hidden_act",
)
_TEXT = {
    **_TOWER,
    **_SPECIAL,
    **_table(whole="vocab_size max_position_embeddings"),
    **dict.fromkeys(("projection_dim", "projection_size"), WHOLE | NOTHING),
}
_VISION = {
    **_TOWER,
    **_table(whole="num_channels", flag="vision_use_head"),
    **dict.fromkeys(("image_size", "patch_size"), _SIZE),
    "projection_dim": WHOLE | NOTHING,
}
_TOP = _table(whole="projection_dim", number="logit_scale_init_value initializer_factor")
# Old configurations of CLIP have each section twice, and transformers takes the second.
_SECTIONS = {
    "text_config": _TEXT,
    "vision_config": _VISION,
    "text_config_dict": _TEXT,
    "vision_config_dict": _VISION,
}

_BERT = {
    **_SPECIAL,
    **_table(
        whole="vocab_size hidden_size num_hidden_layers num_attention_heads intermediate_size "
        "max_position_embeddings type_vocab_size",
        number="hidden_dropout_prob attention_probs_dropout_prob classifier_dropout "
        "initializer_range layer_norm_eps",
        flag="is_decoder add_cross_attention use_cache tie_word_embeddings",
        text="hidden_act position_embedding_type",
    ),
}
TEXT_TOWERS: Mapping[str, Mapping[str, Kind]] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "mt5": {
        **_SPECIAL,
        **_table(
            whole="vocab_size d_model d_kv d_ff num_layers num_heads decoder_start_token_id "
            "relative_attention_num_buckets relative_attention_max_distance",
            number="dropout_rate layer_norm_epsilon initializer_factor classifier_dropout",
            flag="is_encoder_decoder use_cache tie_word_embeddings",
            text="feed_forward_proj",
        ),
    },
    "m2m_100": {
        **_SPECIAL,
        **_table(
            whole="vocab_size max_position_embeddings d_model decoder_start_token_id "
            "encoder_layers encoder_ffn_dim encoder_attention_heads",
            number="encoder_layerdrop dropout attention_dropout activation_dropout init_std",
            flag="is_encoder_decoder use_cache scale_embedding tie_word_embeddings",
            text="activation_function",
        ),
    },
}
"""The text towers that open_clip knows, by model_type."""

# open_clip builds a decoder and throws it away, so it gets the smallest possible one.
_SMALLEST_DECODER = {
    "mt5": {"num_decoder_layers": 1},
    "m2m_100": {"decoder_layers": 1, "decoder_ffn_dim": 1, "decoder_attention_heads": 1},
}
_LAYERS = ("num_hidden_layers", "num_layers", "encoder_layers")
_HEADS = ("num_attention_heads", "num_heads", "encoder_attention_heads")


def require_transformers() -> None:
    """Raise MissingExtraError unless transformers, the extra [hf], is installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error


def read_config(folder: Path) -> dict[str, Any]:
    """Read the config.json of a model, unchanged.

    Raises:
        ModelError: the file cannot be read or holds no dictionary.
    """
    return read_dictionary(folder / CONFIG, _FOLDER)


def rebuild_model(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Rebuild the configuration of a CLIP or SigLIP model from known keys.

    Raises:
        ModelError: a known key has a value of another type.
    """
    rebuilt = {"model_type": config["model_type"], **keep_known(config, _TOP, where)}
    for section, known in _SECTIONS.items():
        if config.get(section) is not None:
            if not isinstance(config[section], dict):
                raise ModelError(
                    f"{where}.{section} is {config[section]!r}", expected="a dictionary"
                )
            rebuilt[section] = keep_known(config[section], known, f"{where}.{section}")
    for section in _SECTIONS:
        _check_positions(where, rebuilt.get(section, {}))
    return rebuilt


def count_layers(config: Mapping[str, Any]) -> int:
    """Count the layers of both towers in a rebuilt configuration of a model.

    A tower has 12 if the configuration does not say, as in transformers.
    """
    depths = []
    for section in ("text_config", "vision_config"):
        tower = {**(config.get(section) or {}), **(config.get(f"{section}_dict") or {})}
        depths.append(tower.get("num_hidden_layers", 12))
    return sum(max(0, depth) for depth in depths)


@dataclass(frozen=True)
class TextTower:
    """Describe a text tower of transformers.

    Args:
        path: the path of its config.json.
        config: the known keys of that file.
        place: the path of that file in the folder of the model; empty if it is on the hub.
    """

    path: Path
    config: Mapping[str, Any]
    place: str = ""

    @property
    def layers(self) -> int:
        """Return the number of layers."""
        return next((int(self.config[name]) for name in _LAYERS if name in self.config), 12)

    @property
    def heads(self) -> int:
        """Return the number of attention heads."""
        return next((int(self.config[name]) for name in _HEADS if name in self.config), 16)


def find_text_tower(name: str, folder: Path | None, where: str, *, offline: bool) -> TextTower:
    """Find a text tower by name, in the folder of a model or on the hub.

    Args:
        name: a folder inside `folder`, or a repository.
        folder: the folder of the model, if it has one.
        where: what messages call the model.
        offline: download nothing.

    Raises:
        ModelError: the tower is missing, cannot be downloaded, or is not one of open_clip's.
        MissingExtraError: transformers is not installed.
    """
    require_transformers()
    place = Path(name) / CONFIG
    if folder is not None and (folder / place).exists():
        return TextTower(folder / place, rebuild_text_tower(folder / place), place.as_posix())
    try:
        path = fetch_file(name, [CONFIG], offline=offline)
    except ModelError as error:
        came = f"{where}: wants the text tower {name}. {error.came}"
        raise ModelError(came, expected=error.expected, fix=error.fix) from error
    return TextTower(path, rebuild_text_tower(path))


def rebuild_text_tower(path: Path) -> dict[str, Any]:
    """Rebuild the configuration of a text tower for open_clip from known keys.

    Raises:
        ModelError: the file cannot be read, names code of its own, or describes a tower that
            open_clip does not know.
    """
    config = read_dictionary(path, "the config.json of a text tower of transformers")
    if "auto_map" in config:
        raise ModelError(
            f"{path}: the text tower wants code of its own (auto_map)",
            expected="a tower of transformers",
        )
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in TEXT_TOWERS:
        advice = near_miss(kind if isinstance(kind, str) else "", TEXT_TOWERS)
        raise ModelError(f"{path}: a text tower of the model_type {kind!r}", **advice)
    rebuilt = keep_known(config, TEXT_TOWERS[kind], f"{path}: it")
    _check_positions(f"{path}: it", rebuilt)
    return {"model_type": kind, **rebuilt, **_SMALLEST_DECODER.get(kind, {})}


def _check_positions(where: str, config: Mapping[str, Any]) -> None:
    positions = config.get("max_position_embeddings", 1)
    if not 1 <= positions <= POSITIONS:
        raise ModelError(
            f"{where}.max_position_embeddings is {positions:,}", expected=f"1 to {POSITIONS:,}"
        )


_FOLDER = "a folder of transformers with config.json"
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


def read_processor(folder: Path) -> Preprocess:
    """Read the preprocess of a model from preprocessor_config.json, or from processor_config.json.

    Newer versions of transformers write the latter. Pixels are those of transformers' Pillow
    processors, except for the crop: transformers rounds its offset down and torchvision rounds to
    even, which differs by one pixel for half of the odd sizes.

    Raises:
        ModelError: there is no such file, or it does something that `Preprocess` cannot.
    """
    path, settings = _read_processor_settings(folder)
    resize, size = _find_square(settings)
    mean, std = to_rgb(settings["image_mean"]), to_rgb(settings["image_std"])
    off = [key for key in ("do_resize", "do_rescale", "do_normalize") if settings[key] is not True]
    scale = settings["rescale_factor"]
    unsupported = {
        f"{', '.join(off)} off": bool(off),
        f"rescale_factor {scale}": not (isinstance(scale, float) and abs(scale * 255 - 1) < 1e-6),
        f"resample {settings['resample']}": settings["resample"] not in tuple(_FILTERS),
        f"size {settings['size']} with crop_size {settings['crop_size']}": resize is None,
        f"image_mean {settings['image_mean']}": mean is None,
        f"image_std {settings['image_std']}": std is None,
    }
    if resize is None or mean is None or std is None or any(unsupported.values()):
        raise ModelError(
            f"{path}: {'; '.join(text for text, applies in unsupported.items() if applies)}",
            expected="a square by shortest edge and centre crop or by height and width, scaled to "
            "[0, 1], normalised",
        )
    try:
        return Preprocess(size, mean, std, _FILTERS[settings["resample"]], resize)
    except InputError as error:
        raise ModelError(f"{path}: {error.came}", expected=error.expected) from error


def _read_processor_settings(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Read the settings of a processor, with the defaults of its type for missing ones."""
    path, newer = folder / PROCESSOR, folder / "processor_config.json"
    config: Any
    if path.exists():
        config = read_dictionary(path, _FOLDER)
    elif newer.exists():
        whole = read_dictionary(newer, _FOLDER)
        path, section = newer, whole.get("image_processor")
        config = whole if section is None else section
    else:
        raise ModelError(
            f"{folder}: no {PROCESSOR}, which says how images are prepared",
            expected="it, or processor_config.json, beside config.json",
            fix="copy it from the model that this one was trained from: "
            "processor.save_pretrained(FOLDER)",
        )
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
    return path, {**_COMMON, **_PROCESSORS[known[1]], **given}


def _find_square(settings: Mapping[str, Any]) -> tuple[str | None, int]:
    """Return how an image becomes a square, and its side; None if another way."""
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


def to_processor_config(preprocess: Preprocess) -> dict[str, Any]:
    """Return the preprocessor_config.json that is read as this preprocess."""
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
