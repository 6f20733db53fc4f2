"""Cut a model: its last linear maps end in the axes of a rotation, and everything else stays.

An embedding is ``W x + b``, and in the axes R of a rotation it is ``R.T W x + R.T b``. So the
model itself makes the smaller embedding, at no cost, if ``R.T W`` and ``R.T b`` take the place of
its last weights and bias.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from purescope.errors import InputError, ModelError
from purescope.maths.overlaps import Projections
from purescope.models.convert import written_weights
from purescope.models.last_maps import LastMap, read_last_map, replace_last_map
from purescope.models.towers import Towers
from purescope.models.transformers_config import CONFIG
from purescope.models.weights import fingerprint
from purescope.reduce.rotation import Rotation

_SECTIONS = ("text_config", "vision_config", "text_config_dict", "vision_config_dict")


def cut(towers: Towers, rotation: Rotation) -> Towers:
    """Return towers whose embeddings are expressed in the axes of a rotation.

    Rotations to as many axes as there are neurons change no logit (a rebase); fewer axes make a
    smaller embedding. The products are computed in float64. The new towers share all other weights
    with the given ones, which stay as they are, and are in the mode of evaluation.

    Args:
        towers: a model, see `purescope.models.find_towers`.
        rotation: its axes, see `purescope.reduce.rotation.fit_rotation`; `Rotation.keep` leaves the
            first of them.

    Raises:
        InputError: the rotation is of another number of neurons.
        ModelError: a tower does not end in a linear map.

    Examples:
        >>> import torch
        >>> from purescope.maths.scores import StrategyInput
        >>> from purescope.models import find_towers
        >>> from purescope.reduce.rotation import fit_rotation
        >>> towers, _ = find_towers("bundled:clip")
        >>> rotation = fit_rotation("svd", StrategyInput(towers.weight_space))
        >>> smaller = cut(towers, rotation.keep(32))
        >>> with torch.no_grad():
        ...     smaller.encode_image(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 32])
    """
    require_last_maps(towers)
    if rotation.neurons != towers.neurons:
        raise InputError(
            f"a rotation of {rotation.neurons:,} neurons for a model of {towers.neurons:,}",
            expected="the rotation of this model",
            fix="fit one: `purescope rebase MODEL`",
        )
    # All tensors and the tokenizer are shared: a copy has its own modules, and no second memory.
    shared = {id(tensor): tensor for tensor in _tensors(towers)}
    copied = copy.deepcopy(towers, {**shared, id(towers.tokenize): towers.tokenize})
    copied.module.eval()
    new = {}
    for tower, axes in (("image", rotation.image), ("text", rotation.text)):
        name = towers.last_maps[tower]
        new[tower] = _rotate(read_last_map(towers.module, name), axes)
        replace_last_map(copied.module, name, new[tower])
    biased = [tower for tower, (_, bias) in new.items() if bias is not None and bool(bias.any())]
    resized = replace(
        copied,
        weight_space=Projections(image=new["image"].rows.clone(), text=new["text"].rows.clone()),
        neurons=rotation.axes,
        configurations=_resize_configurations(towers.configurations, rotation.axes),
    )
    identity = {
        **towers.identity,
        "architecture": _resize_architecture(towers.identity, rotation.axes),
        "weights": fingerprint(written_weights(resized)),
        "projection_bias": " ".join(biased) or "none",
    }
    return replace(resized, identity=identity)


def can_cut(towers: Towers) -> bool:
    """Return whether both towers end in a linear map."""
    return {"image", "text"} <= towers.last_maps.keys()


def require_last_maps(towers: Towers) -> None:
    """Refuse a model that cannot be cut, because a tower does not end in a linear map.

    Raises:
        ModelError: a tower ends without one.
    """
    without = [tower for tower in ("image", "text") if tower not in towers.last_maps]
    if without:
        both = " and ".join(without)
        raise ModelError(
            f"a model whose {both} {'towers end' if len(without) > 1 else 'tower ends'} without a "
            f"linear map, as SigLIP's does: there are no last weights to cut",
            expected="a linear map at the end of both towers",
            fix="put the rotation behind the model: `purescope export` with --data DATASET and "
            "--to sentence-transformers, or --to rotation for vectors that it made",
        )


def _tensors(towers: Towers) -> Iterator[Tensor]:
    yield from towers.module.parameters()
    yield from towers.module.buffers()


def _rotate(given: LastMap, axes: Tensor) -> LastMap:
    turned = axes.double().T
    rows = (turned @ given.rows.double()).float()
    return LastMap(rows, None if given.bias is None else (turned @ given.bias.double()).float())


def _resize_architecture(identity: Mapping[str, str], neurons: int) -> str:
    """Return the architecture with another number of neurons; LaCLIP's text does not name it."""
    if identity["format"] == "laclip":
        return identity["architecture"]
    architecture = json.loads(identity["architecture"])
    if identity["format"] == "transformers":
        architecture = _resize_transformers(architecture, neurons)
    else:
        architecture = {**architecture, "embed_dim": neurons}
    return json.dumps(architecture, sort_keys=True)


def _resize_configurations(
    configurations: Mapping[str, Mapping[str, Any]], neurons: int
) -> dict[str, Mapping[str, Any]]:
    """Return the configurations of transformers; a text tower's has a folder, and no neurons."""
    return {
        name: _resize_transformers(config, neurons) if name == CONFIG else config
        for name, config in configurations.items()
    }


def _resize_transformers(config: Mapping[str, Any], neurons: int) -> dict[str, Any]:
    """Write the number of neurons at all three places that transformers reads it from."""
    sections = {
        name: {**config[name], "projection_dim": neurons}
        for name in _SECTIONS
        if isinstance(config.get(name), dict)
    }
    return {**config, **sections, "projection_dim": neurons}
