"""Writing what is shipped: the models and snapshots of their training as open_clip folders, the
evaluation sets.
"""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from bundle.drawing import read_drawings
from bundle.evaluation_sets import build
from bundle.model import CONFIG, MEAN, STD, VOCABULARY_FILE, make_model, make_tokenizer
from bundle.sources import Sources
from purescope.models.open_clip_config import with_twin
from purescope.models.tokenizer_twins import write_twin

SNAPSHOTS = (
    Path(__file__).parent / "snapshots"
)  # weights on the way, for studies of training; not installed
_PREPROCESS = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}


def publish(work: Path, package: Path, names: tuple[str, ...]) -> None:
    """Fill `package`, the folder ``src/purescope/bundled``, from the work folder."""
    vocabulary = work / VOCABULARY_FILE
    for name in names:
        write_model(load_file(work / f"{name}.safetensors"), vocabulary, package / "models" / name)
        for snapshot in work.glob(f"{name}-*.safetensors"):
            write_model(load_file(snapshot), vocabulary, SNAPSHOTS / snapshot.stem)
    data = package / "data"
    data.mkdir(parents=True, exist_ok=True)
    drawings, rgba = read_drawings(work)
    build(drawings, rgba, Sources(work / "sources"), data)


def write_model(weights: dict[str, Tensor], vocabulary: Path, folder: Path) -> None:
    """A folder in open_clip's form, which `purescope.load_model` reads."""
    make_model(seed=0).load_state_dict(
        weights, strict=False
    )  # shapes fit, or torch says which does not
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
    shutil.copyfile(vocabulary, folder / VOCABULARY_FILE)
    write_configuration(folder)


def write_configuration(folder: Path) -> None:
    """The configuration, and the tokenizer as open_clip finds it in the folder, from any working
    directory.
    """
    config = {"model_cfg": with_twin(CONFIG), "preprocess_cfg": _PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    write_twin(make_tokenizer(folder / VOCABULARY_FILE), folder)
