"""Writing what is shipped: the two models as open_clip folders, snapshots of their training, the evaluation sets."""

import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from bundle.drawing import read_drawings
from bundle.evaluation_sets import build
from bundle.model import CONFIG, MEAN, STD, VOCABULARY_FILE, make_model
from bundle.sources import Sources

SNAPSHOTS = Path(__file__).parent / "snapshots"  # weights on the way, for studies of training; not installed
_PREPROCESS = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}


def publish(work: Path, package: Path, names: tuple[str, ...]) -> None:
    """Fill `package`, the folder ``src/purescope/bundled``, from the work folder."""
    SNAPSHOTS.mkdir(exist_ok=True)
    for name in names:
        _publish_model(work, name, package / "models" / name)
        for snapshot in work.glob(f"{name}-*.safetensors"):
            shutil.copyfile(snapshot, SNAPSHOTS / snapshot.name)
    data = package / "data"
    data.mkdir(parents=True, exist_ok=True)
    drawings, rgba = read_drawings(work)
    build(drawings, rgba, Sources(work / "sources"), data)


def _publish_model(work: Path, name: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = load_file(work / f"{name}.safetensors")
    make_model(seed=0).load_state_dict(weights, strict=False)  # shapes fit, or torch says which does not
    save_file(weights, folder / "open_clip_model.safetensors", {"format": "pt"})
    config = {"model_cfg": CONFIG, "preprocess_cfg": _PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copyfile(work / VOCABULARY_FILE, folder / VOCABULARY_FILE)
