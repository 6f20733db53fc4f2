"""The config.json of transformers from somebody else: the models that are built, and what they may
be told.

A config.json can name code that lies beside it, another configuration, a kernel of the hub, a
folder with weights. What is handed to transformers has the keys of the tables here and nothing
else: the parameters of its own configuration classes that say what a model is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from purescope.errors import ModelError, near_miss
from purescope.models.checkpoint import read_json
from purescope.models.plain import FLAG, NOTHING, NUMBER, TEXT, WHOLE, Kind, known_only, list_of

POSITIONS = 16_384
"""Of tokens, at most: some towers compute a table of them, which is among no weights."""

_IDS = WHOLE | list_of(WHOLE) | NOTHING
_SPECIAL: dict[str, Kind] = {
    "pad_token_id": WHOLE | NOTHING,
    "bos_token_id": WHOLE | NOTHING,
    "eos_token_id": _IDS,
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
# Old configurations of CLIP say it twice, and transformers takes the second.
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
        "max_position_embeddings "
        "type_vocab_size",
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
            whole="vocab_size d_model d_kv d_ff num_layers num_heads "
            "relative_attention_num_buckets "
            "relative_attention_max_distance decoder_start_token_id",
            number="dropout_rate layer_norm_epsilon initializer_factor classifier_dropout",
            flag="is_encoder_decoder use_cache tie_word_embeddings",
            text="feed_forward_proj",
        ),
    },
    "m2m_100": {
        **_SPECIAL,
        **_table(
            whole="vocab_size max_position_embeddings d_model encoder_layers encoder_ffn_dim "
            "encoder_attention_heads "
            "decoder_start_token_id",
            number="encoder_layerdrop dropout attention_dropout activation_dropout init_std",
            flag="is_encoder_decoder use_cache scale_embedding tie_word_embeddings",
            text="activation_function",
        ),
    },
}
"""The text towers that open_clip knows, by model_type."""

# open_clip builds it and throws it away: the smallest that there is.
_NO_DECODER = {
    "mt5": {"num_decoder_layers": 1},
    "m2m_100": {"decoder_layers": 1, "decoder_ffn_dim": 1, "decoder_attention_heads": 1},
}
_LAYERS = ("num_hidden_layers", "num_layers", "encoder_layers")
_HEADS = ("num_attention_heads", "num_heads", "encoder_attention_heads")


def rebuilt_model(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The configuration of a CLIP or SigLIP model, of known keys only.

    Raises:
        ModelError: a known key has a value of another type.
    """
    rebuilt = {"model_type": config["model_type"], **known_only(config, _TOP, where)}
    for section, known in _SECTIONS.items():
        if config.get(section) is not None:
            if not isinstance(config[section], dict):
                raise ModelError(
                    f"{where}.{section} is {config[section]!r}", expected="a dictionary"
                )
            rebuilt[section] = known_only(config[section], known, f"{where}.{section}")
    _require_positions(where, *(rebuilt.get(section, {}) for section in _SECTIONS))
    return rebuilt


def layers_of(config: Mapping[str, Any]) -> int:
    """How many layers a rebuilt configuration has, of all its towers; 12 where it says nothing, as
    for transformers.
    """
    towers = [config.get(section) or {} for section in ("text_config", "vision_config")]
    again = [config.get(f"{section}_dict") or {} for section in ("text_config", "vision_config")]
    depths = (
        {**tower, **other}.get("num_hidden_layers", 12)
        for tower, other in zip(towers, again, strict=True)
    )
    return sum(max(0, depth) for depth in depths)


def layers_of_tower(config: Mapping[str, Any]) -> int:
    """How many layers a rebuilt configuration of a text tower has."""
    return next((int(config[name]) for name in _LAYERS if name in config), 12)


def heads_of_tower(config: Mapping[str, Any]) -> int:
    """How many heads a rebuilt configuration of a text tower has."""
    return next((int(config[name]) for name in _HEADS if name in config), 16)


def rebuilt_text_tower(path: Path) -> dict[str, Any]:
    """The configuration of a text tower for open_clip, of known keys only.

    Raises:
        ModelError: it cannot be read, names code of its own, or is none of the towers that
            open_clip knows.
    """
    config = read_json(path, "the config.json of a text tower of transformers")
    if not isinstance(config, dict):
        raise ModelError(f"{path}: holds a {type(config).__name__}", expected="a dictionary")
    if "auto_map" in config:
        raise ModelError(
            f"{path}: the text tower wants code of its own (auto_map)",
            expected="a tower of transformers",
        )
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in TEXT_TOWERS:
        advice = (
            near_miss(kind, TEXT_TOWERS) if isinstance(kind, str) else near_miss("", TEXT_TOWERS)
        )
        raise ModelError(f"{path}: a text tower of the model_type {kind!r}", **advice)
    rebuilt = known_only(config, TEXT_TOWERS[kind], f"{path}: it")
    _require_positions(f"{path}: it", rebuilt)
    return {"model_type": kind, **rebuilt, **_NO_DECODER.get(kind, {})}


def _require_positions(where: str, *configs: Mapping[str, Any]) -> None:
    for config in configs:
        positions = config.get("max_position_embeddings", 1)
        if not 1 <= positions <= POSITIONS:
            raise ModelError(
                f"{where}.max_position_embeddings is {positions:,}", expected=f"1 to {POSITIONS:,}"
            )
