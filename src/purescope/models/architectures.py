"""Architectures of open_clip for bare files of weights: by open_clip's name, with a tag, or in a
file of one's own.

A bare file tells neither its architecture nor the preprocess that it was trained with. The name of
an architecture gives the one; the tags that open_clip has of it give the other where they all
agree. Where they do not, ``ARCH/TAG`` says whose preprocess is meant. An architecture of one's own
is a file of JSON: a model_cfg as it lies in open_clip's folder of configurations, or an
open_clip_config.json with a preprocess_cfg beside it.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope.errors import ModelError, did_you_mean, near_miss
from purescope.models.checkpoint import read_json
from purescope.models.configuration import as_sides, checked_model
from purescope.models.twin import has_twin, without_twin
from purescope.specs import exists, split_part, to_path

OWN = "or give a file of your own: --arch FILE.json (arch='FILE.json') with its model_cfg"
"""What to do about an architecture that open_clip does not know."""

_LIST = 'python -c "import open_clip; print(*open_clip.list_models())"'
_PREPROCESS = ("mean", "std", "interpolation", "resize_mode")
_TOWERS = ("vision_cfg", "text_cfg")


@dataclass(frozen=True)
class Architecture:
    """What is known of the model in a bare file.

    Args:
        where: what messages call it: open_clip's name, or the path of a file.
        model: open_clip's model_cfg.
        preprocess: open_clip's preprocess_cfg; what it leaves out is open_clip's default.
        tag: whose preprocess that is, where a tag was named.
        merges: a vocabulary of its own.
    """

    where: str
    model: dict[str, Any]
    preprocess: Mapping[str, Any]
    tag: str = ""
    merges: Path | None = None


def find_architecture(name: str) -> Architecture:
    """Find an architecture by ``ARCH``, ``ARCH/TAG`` or ``FILE.json``.

    Raises:
        ModelError: open_clip knows no such architecture or tag, or the file is no model_cfg.

    Warns:
        UserWarning: the preprocess is a guess: the tags of the architecture disagree, or a file
            tells none.
    """
    if is_own(name):
        return _own(to_path(name))
    arch, tag = _split_tag(name)
    model = named_model(arch)
    if tag:
        return Architecture(arch, model, pretrained(arch, tag), tag)
    return Architecture(arch, model, _agreed(arch))


def is_own(name: str) -> bool:
    """Whether a file of one's own is named."""
    return name.lower().endswith(".json")


def named_model(arch: str) -> dict[str, Any]:
    """open_clip's model_cfg of a name.

    Raises:
        ModelError: open_clip knows no such architecture.
    """
    import open_clip

    config: dict[str, Any] | None = (
        open_clip.get_model_config(arch) if arch in open_clip.list_models() else None
    )
    if config is None:
        close = get_close_matches(arch, open_clip.list_models())
        raise ModelError(
            f"open_clip has no architecture {arch!r}",
            expected="one that it lists, such as ViT-B-32",
            fix=f"{did_you_mean(arch, close)} All: {_LIST}; {OWN}"
            if close
            else f"list them all: {_LIST}; {OWN}",
        )
    return config


def pretrained(arch: str, tag: str) -> Mapping[str, Any]:
    """What open_clip knows of the weights that a tag stands for.

    Raises:
        ModelError: the architecture has no such tag.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    found: Mapping[str, Any] = get_pretrained_cfg(arch, tag)
    if not found:
        tags = list_pretrained_tags_by_model(arch)
        fix = f"give a file of weights: open_clip:{arch}/FILE"
        advice = near_miss(tag, tags)
        raise ModelError(
            f"open_clip has no weights {tag!r} of {arch}",
            expected=advice["expected"] if tags else "",
            fix=advice["fix"] if tags else fix,
        )
    return found


def is_tag(arch: str, tag: str) -> bool:
    """Whether open_clip has a tag of an architecture."""
    from open_clip.pretrained import get_pretrained_cfg

    return bool(get_pretrained_cfg(arch, tag))


def split_file(name: str) -> tuple[str, str] | None:
    """Split ``ARCH/FILE``, ``ARCH/TAG/FILE`` or ``OWN.json/FILE`` into architecture and file; None
    where it is none.

    Raises:
        ModelError: a file of one's own is named, and it or the weights are not there.
    """
    own = [name[: match.end() - 1] for match in re.finditer(r"\.json/", name, re.IGNORECASE)]
    if own:
        arch = next((arch for arch in own if to_path(arch).is_file()), own[0])
        file = name[len(arch) + 1 :]
        if gone := [path for path in (arch, split_part(file)[0]) if not to_path(path).is_file()]:
            raise ModelError(
                f"open_clip:{name}: no file {gone[0]}",
                expected="open_clip:ARCH.json/FILE",
                fix="check both",
            )
        return arch, file
    arch, _, file = name.partition("/")
    path = to_path(file)
    if file and (exists(path) if path.suffix else path.is_file() and not is_tag(arch, file)):
        return arch, file
    tag, _, rest = file.partition("/")
    return (f"{arch}/{tag}", rest) if rest and exists(to_path(rest)) and is_tag(arch, tag) else None


def checked_config(config: Any, path: Path) -> dict[str, Any]:
    """An open_clip_config.json whose model_cfg is rebuilt from what is known; `has_twin` tells of
    its tokenizer.

    Raises:
        ModelError: it holds no model, or something that is not known.
    """
    model = config.get("model_cfg") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not all(
        isinstance(model.get(tower), dict) for tower in _TOWERS
    ):
        raise ModelError(
            f"{path}: no model", expected="model_cfg with embed_dim, vision_cfg and text_cfg"
        )
    if not isinstance(config.get("preprocess_cfg") or {}, dict):
        raise ModelError(
            f"{path}: preprocess_cfg {config['preprocess_cfg']!r}", expected="a dictionary"
        )
    model = checked_model(model, str(path))
    return {
        **config,
        "model_cfg": without_twin(model) if has_twin(model) else model,
        "has_twin": has_twin(model),
    }


def own_merges(model: Mapping[str, Any]) -> str:
    """The name of a vocabulary of the model's own; empty where it has CLIP's."""
    text = model["text_cfg"]
    options = text.get("tokenizer_kwargs") or {}
    return "" if text.get("hf_tokenizer_name") else str(options.get("bpe_path", ""))


def fitted_sizes(path: Path, found: Architecture, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The model_cfg with the sizes of images and sentences that the position embeddings of a file
    have.

    Warns:
        UserWarning: one is another than the architecture's.
    """
    model = found.model
    changed = {"vision_cfg": dict(model["vision_cfg"]), "text_cfg": dict(model["text_cfg"])}
    vision, text = changed["vision_cfg"], changed["text_cfg"]
    told = []
    image, patch = _image_size(tensors)
    height, width = as_sides(vision.get("image_size", 224)) if patch else (0, 0)
    if patch and (height // patch) * (width // patch) != (image // patch) ** 2:
        told.append(f"images of {image} pixels, not {vision.get('image_size', 224)}")
        vision["image_size"] = image
    context = _context(tensors, text)
    if context and context != text.get("context_length", 77):
        told.append(f"sentences of {context} tokens, not {text.get('context_length', 77)}")
        text["context_length"] = context
    if told:
        warnings.warn(
            f"{path}: takes {' and '.join(told)} as {found.where}: its position embeddings say so",
            stacklevel=2,
        )
    return {**model, **changed} if told else model


def _split_tag(name: str) -> tuple[str, str]:
    """Architecture and tag, the latter empty where none is named; ViT-B/32 is OpenAI's spelling of
    one name.
    """
    import open_clip

    if "/" not in name or name.replace("/", "-") in open_clip.list_models():
        return name.replace("/", "-"), ""
    arch, _, tag = name.rpartition("/")
    return arch.replace("/", "-"), tag


def _own(path: Path) -> Architecture:
    config = read_json(path, "a file of JSON with open_clip's model_cfg of the architecture")
    if isinstance(config, dict) and "model_cfg" not in config and "vision_cfg" in config:
        config = {"model_cfg": config}
    config = checked_config(config, path)
    preprocess = config.get("preprocess_cfg") or {}
    if not preprocess.get("mean") or not preprocess.get("std"):
        warnings.warn(
            f"{path}: tells no mean and deviation of images; OpenAI's are taken. "
            f'If the model was trained with others, add "preprocess_cfg": {{"mean": [...], "std": [...]}} beside '
            f'"model_cfg"',
            stacklevel=4,
        )
    merges = own_merges(config["model_cfg"])
    return Architecture(
        str(path), config["model_cfg"], preprocess, merges=path.parent / merges if merges else None
    )


def _agreed(arch: str) -> dict[str, Any]:
    """The preprocess of all tags of an architecture; empty, which is open_clip's default, where
    they disagree.
    """
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    choices: dict[tuple[Any, ...], list[str]] = {}
    for tag in list_pretrained_tags_by_model(arch):
        config = get_pretrained_cfg(arch, tag)
        choices.setdefault(tuple(config[key] for key in _PREPROCESS), []).append(tag)
    if len(choices) > 1:
        told = "; ".join(
            f"{tags[0]}{f' and {len(tags) - 1} more' if len(tags) > 1 else ''}: "
            f"mean {', '.join(f'{value:.3g}' for value in choice[0])}, {choice[3]}"
            for choice, tags in choices.items()
        )
        warnings.warn(
            f"the file does not tell its preprocess, and open_clip's weights of {arch} have "
            f"different ones ({told}); "
            f"open_clip's default is taken, OpenAI's mean and the shortest side. If it was trained "
            f"with another, name "
            f"a tag that has it: {arch}/TAG in place of {arch}",
            stacklevel=4,
        )
    return dict(zip(_PREPROCESS, next(iter(choices)), strict=True)) if len(choices) == 1 else {}


def _image_size(tensors: Mapping[str, Tensor]) -> tuple[int, int]:
    """Side of the images and of a patch, both zero where no position embedding tells."""
    for positions, patches in (
        ("visual.positional_embedding", "visual.conv1.weight"),
        ("visual.attnpool.positional_embedding", ""),
        ("visual.trunk.pos_embed", "visual.trunk.patch_embed.proj.weight"),
    ):
        if positions in tensors and (not patches or patches in tensors):
            patch = tensors[patches].shape[-1] if patches and tensors[patches].ndim else 32
            rows = tensors[positions].shape[-2] if tensors[positions].ndim > 1 else 0
            grids = [
                isqrt(max(0, count)) for count in (rows - 1, rows)
            ]  # with the position of a class token, or not
            grid = next(
                (
                    g
                    for g, count in zip(grids, (rows - 1, rows), strict=True)
                    if g and g * g == count
                ),
                0,
            )
            return grid * patch, patch if grid else 0
    return 0, 0


def _context(tensors: Mapping[str, Tensor], text: Mapping[str, Any]) -> int:
    """How many tokens of a sentence have a position; zero where nothing tells."""
    found = [
        tensors[name]
        for name in ("positional_embedding", "text.positional_embedding")
        if name in tensors
    ]
    if not found or found[0].ndim != 2 or text.get("hf_model_name"):
        return 0
    return int(found[0].shape[0]) - bool(text.get("embed_cls"))
