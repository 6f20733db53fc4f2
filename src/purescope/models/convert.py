"""Write a safe copy of a checkpoint: safetensors and a configuration, read without any code."""

import glob
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from purescope import __version__
from purescope.errors import OutputError
from purescope.files.writing import refuse_existing, umask
from purescope.models import find_towers, sources, transformers
from purescope.models.open_clip_config import (
    can_have_twin,
    choose_merges_name,
    to_preprocess_config,
    with_twin,
)
from purescope.models.tokenizer_files import is_tokenizer_file
from purescope.models.towers import Towers
from purescope.models.transformers_config import CONFIG, PROCESSOR, to_processor_config


def convert(spec: str, out: Path, *, arch: str | None = None, offline: bool = False) -> str:
    """Write a safe copy of a model into a new folder, in float32; it appears when it is complete.

    Models of open_clip and OpenAI become open_clip's `local-dir:` form, which open_clip loads by
    itself. Models of transformers keep the form of transformers. A LaCLIP checkpoint is no model of
    open_clip, which has no ViT that normalises queries and keys; it gets a form of purescope's own,
    and its configuration says so.

    Args:
        spec: as in `load_model`, without a label.
        out: the folder, which does not exist or is empty.
        arch: as in `load_model`.
        offline: as in `load_model`.

    Returns:
        The form: "open_clip", "transformers" or "purescope".

    Raises:
        ModelError: the model cannot be loaded.
        OutputError: the folder is not empty, or cannot be written.
    """
    out = out.resolve()  # "." has no name to derive that of the partial folder from
    refuse_existing(out, fix="choose another OUT")
    towers, _ = find_towers(spec, arch=arch, offline=offline)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    _remove_abandoned(out)
    try:
        partial.mkdir(parents=True)
        form = write_towers(towers, partial)
        partial.replace(out)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written: {error.strerror or error}", fix="choose another OUT"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return form


def write_towers(towers: Towers, folder: Path) -> str:
    """Write a model in its own safe form into an empty folder, and return the form.

    It is "open_clip", "transformers" or "purescope", see `convert`.
    """
    form, write = _FORMS[towers.identity["format"]]
    write(towers, folder)
    return form


def own_form(towers: Towers) -> str:
    """Return the form that `write_towers` writes a model in."""
    return _FORMS[towers.identity["format"]][0]


def written_weights(towers: Towers) -> dict[str, Tensor]:
    """Return the weights of a model by the names that a copy of it has for them."""
    module = towers.module
    if towers.identity["format"] == "transformers":
        return dict(module.get_submodule("model").state_dict())
    weights = module.state_dict()
    if towers.identity["format"] == "laclip":  # no prefix before those of the text tower
        return {name.removeprefix("text."): weight for name, weight in weights.items()}
    return dict(weights)


def _remove_abandoned(out: Path) -> None:
    """Remove partial copies that a killed process has left: those without a new file for an hour.

    A folder of somebody else can have such a name. A folder with any other file than those of a
    copy stays.
    """
    for partial in out.parent.glob(f".{glob.escape(out.name)}.*.partial"):
        number = partial.name.removeprefix(f".{out.name}.").removesuffix(".partial")
        try:
            is_old = time.time() - partial.lstat().st_mtime > 3600
            if re.fullmatch("[0-9]+", number) and is_old and all(map(_is_ours, partial.rglob("*"))):
                shutil.rmtree(partial, ignore_errors=True)
        except OSError:  # another process has removed it
            continue


def _is_ours(path: Path) -> bool:
    if path.is_symlink():
        return False
    if path.is_dir():
        return True
    names = (
        sources.CONFIG,
        sources.WEIGHTS,
        sources.LACLIP_CONFIG,
        sources.LACLIP_WEIGHTS,
        PROCESSOR,
    )
    return path.name in names or path.suffix == ".gz" or is_tokenizer_file(path.name)


def _write_open_clip(towers: Towers, folder: Path) -> None:
    model = json.loads(towers.identity["architecture"])
    options = model["text_cfg"].get("tokenizer_kwargs") or {}
    if "bpe_path" in options:
        options["bpe_path"] = choose_merges_name(options["bpe_path"])
    model = with_twin(model) if can_have_twin(model) else model
    config = {"model_cfg": model, "preprocess_cfg": to_preprocess_config(towers.preprocess)}
    write_json(folder / sources.CONFIG, config)
    write_weights(folder / sources.WEIGHTS, written_weights(towers))
    # The configuration of a text tower of transformers, if it is in the folder of the model.
    for name, text_config in towers.configurations.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_json(folder / name, text_config)
    towers.tokenize.save(folder)


def _write_transformers(towers: Towers, folder: Path) -> None:
    write_json(folder / CONFIG, towers.configurations[CONFIG])
    write_weights(folder / transformers.WEIGHTS, written_weights(towers))
    write_json(folder / PROCESSOR, to_processor_config(towers.preprocess))
    towers.tokenize.save(folder)


def _write_laclip(towers: Towers, folder: Path) -> None:
    config = {
        "form": "purescope's own, read by purescope only: LaCLIP's weights under the names of its "
        "checkpoints",
        "architecture": towers.identity["architecture"],
        "purescope": __version__,
    }
    write_json(folder / sources.LACLIP_CONFIG, config)
    write_weights(folder / sources.LACLIP_WEIGHTS, written_weights(towers))


_FORMS: dict[str, tuple[str, Callable[[Towers, Path], None]]] = {
    "open_clip": ("open_clip", _write_open_clip),
    "openai": ("open_clip", _write_open_clip),
    "transformers": ("transformers", _write_transformers),
    "laclip": ("purescope", _write_laclip),
}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a configuration."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def write_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write named weights as safetensors."""
    from safetensors.torch import save_file

    save_file({name: weight.clone().contiguous() for name, weight in weights.items()}, path)
    path.chmod(0o666 & ~umask())  # safetensors lets nobody else read its files
