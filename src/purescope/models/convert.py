"""A safe copy of a checkpoint: safetensors and a configuration in a folder, which no reader needs
code for.
"""

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
from purescope.models import find_towers, sources, transformers
from purescope.models import processor as _processor
from purescope.models.tokenizer_files import is_known
from purescope.models.towers import Towers
from purescope.models.twin import can_have_twin, with_twin
from purescope.models.vocabulary import merges_name

_FREE = "a folder that is not there, or empty"


def convert(spec: str, out: Path, *, arch: str | None = None, offline: bool = False) -> str:
    """Write a safe copy of a model into a new folder, in float32; it appears when it is complete.

    Models of open_clip and OpenAI become open_clip's `local-dir:` form, which open_clip loads by
    itself. Models of transformers keep the form of transformers. A LaCLIP checkpoint is no model of
    open_clip, which has no ViT that normalises queries and keys; it becomes a form of purescope's
    own, whose configuration says so.

    Args:
        spec: as in `load_model`, without a label.
        out: the folder: one that is not there, or empty.
        arch: as in `load_model`.
        offline: as in `load_model`.

    Returns:
        The form: "open_clip", "transformers" or "purescope".

    Raises:
        ModelError: the model cannot be loaded.
        OutputError: the folder holds something, or cannot be written.
    """
    out = out.resolve()  # "." has no name to make another from
    _refuse_existing(out)
    towers, _ = find_towers(spec, arch=arch, offline=offline)
    form, write = _FORMS[towers.identity["format"]]
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    _remove_abandoned(out)
    try:
        partial.mkdir(parents=True)
        write(towers, partial)
        partial.replace(out)
    except OSError as error:
        raise OutputError(
            f"{out}: cannot be written: {error.strerror or error}", fix="choose another OUT"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return form


def _refuse_existing(out: Path) -> None:
    try:
        holds = sorted(path.name for path in out.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(
            f"{out}: {error.strerror}", expected=_FREE, fix="choose another OUT"
        ) from error
    if holds:
        raise OutputError(f"{out}: holds {holds[0]}", expected=_FREE, fix="choose another OUT")


def _remove_abandoned(out: Path) -> None:
    """What a killed process has left of a copy: nothing is written for an hour without a new file.

    Somebody else's folder can have such a name: one that holds anything but files of a copy stays.
    """
    for partial in out.parent.glob(f".{glob.escape(out.name)}.*.partial"):
        number = partial.name.removeprefix(f".{out.name}.").removesuffix(".partial")
        try:
            old = time.time() - partial.lstat().st_mtime > 3600
            if re.fullmatch("[0-9]+", number) and old and all(map(_is_ours, partial.rglob("*"))):
                shutil.rmtree(partial, ignore_errors=True)
        except OSError:  # another process has removed it
            continue


def _is_ours(path: Path) -> bool:
    names = (
        sources.CONFIG,
        sources.WEIGHTS,
        sources.LACLIP_CONFIG,
        sources.LACLIP_WEIGHTS,
        _processor.PROCESSOR,
    )
    if path.is_dir() and not path.is_symlink():
        return True
    return not path.is_symlink() and (
        path.name in names or path.suffix == ".gz" or is_known(path.name)
    )


def _write_open_clip(towers: Towers, folder: Path) -> None:
    model = json.loads(towers.identity["architecture"])
    options = model["text_cfg"].get("tokenizer_kwargs") or {}
    if "bpe_path" in options:
        options["bpe_path"] = merges_name(options["bpe_path"])
    model = with_twin(model) if can_have_twin(model) else model
    preprocess = towers.preprocess
    config = {
        "model_cfg": model,
        "preprocess_cfg": {
            "size": preprocess.size,
            "mean": preprocess.mean,
            "std": preprocess.std,
            "interpolation": preprocess.interpolation,
            "resize_mode": preprocess.resize,
        },
    }
    _write(folder, (sources.CONFIG, config), (sources.WEIGHTS, towers.module.state_dict()))
    _write_configurations(towers, folder)
    towers.tokenize.save(folder)


def _write_transformers(towers: Towers, folder: Path) -> None:
    weights = towers.module.get_submodule("model").state_dict()
    _write(
        folder,
        (transformers.CONFIG, towers.configurations[transformers.CONFIG]),
        (transformers.WEIGHTS, weights),
    )
    processor = _processor.processor_config(towers.preprocess)
    (folder / _processor.PROCESSOR).write_text(
        json.dumps(processor, indent=2) + "\n", encoding="utf-8"
    )
    towers.tokenize.save(folder)


def _write_laclip(towers: Towers, folder: Path) -> None:
    config = {
        "form": "purescope's own, read by purescope only: LaCLIP's weights under the names of its "
        "checkpoints",
        "architecture": towers.identity["architecture"],
        "purescope": __version__,
    }
    weights = {
        name.removeprefix("text."): weight for name, weight in towers.module.state_dict().items()
    }
    _write(folder, (sources.LACLIP_CONFIG, config), (sources.LACLIP_WEIGHTS, weights))


_FORMS: dict[str, tuple[str, Callable[[Towers, Path], None]]] = {
    "open_clip": ("open_clip", _write_open_clip),
    "openai": ("open_clip", _write_open_clip),
    "transformers": ("transformers", _write_transformers),
    "laclip": ("purescope", _write_laclip),
}


def _write_configurations(towers: Towers, folder: Path) -> None:
    """That of a text tower of transformers, where it lies in the folder of the model."""
    for name, config in towers.configurations.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _write(
    folder: Path, config: tuple[str, Mapping[str, Any]], weights: tuple[str, Mapping[str, Tensor]]
) -> None:
    """Both with the names of their files."""
    from safetensors.torch import save_file

    (folder / config[0]).write_text(json.dumps(config[1], indent=2) + "\n", encoding="utf-8")
    save_file(
        {name: weight.clone().contiguous() for name, weight in weights[1].items()},
        folder / weights[0],
    )
