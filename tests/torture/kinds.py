"""What purescope reads, kind by kind: how its files are written, and how they are used."""

import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from click.testing import CliRunner
from PIL import Image

from purescope.cli.catalogue import cache as cache_command
from purescope.datasets import load_dataset
from purescope.datasets.prompts import prompts_for
from purescope.features.cache import Cache
from purescope.features.features import Features
from purescope.features.files import read_features, save_features
from purescope.files.manifest import read_manifest
from purescope.models import load_model
from purescope.plots.folder import _drawings
from purescope.report.content import gather
from purescope.runs.inputs import Settings
from purescope.tables.files import check_table, write_table
from purescope.tables.results import open_results, read_track, write_results
from purescope.tables.schema import Schema
from purescope.tables.schemas import LAYERS, PURITY, TRACK
from tests import checkpoints
from tests.models.test_transformers import word_tokenizer
from tests.models.test_transformers import write as write_transformers
from tests.report.made import make_folder
from tests.tables.test_files import result_table
from tests.tables.test_schema import sample
from tests.undrawn import run_sweep

TINY = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}
TIMM = {
    "embed_dim": 12,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 32,
        "timm_model_name": "test_resnet",
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": TINY["text_cfg"],
}


class Kind(NamedTuple):
    """Files to damage, and how they are used.

    `right` tells whether what comes out is right, where that can be told of bytes that were damaged
    at random. `share` is how many of a thousand cases are of this kind.
    """

    write: Callable[[Path], list[Path]]
    use: Callable[[Path], Any]
    right: Callable[[Any], bool] = lambda result: True
    share: int = 100


def read_all(spec: str) -> int:
    """Read every image of a dataset."""
    dataset = load_dataset(spec)
    return sum(dataset.images[row].size[0] > 0 for row in range(len(dataset)))


def draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def image_folder(folder: Path) -> list[Path]:
    names = (
        "cat/1.png",
        "cat/2.jpg",
        "dog/1.webp",
        "dog/2.bmp",
        "dog/3.ppm",
        "dog/4.tif",
        "dog/5.gif",
    )
    (folder / "images").mkdir()
    (folder / "images" / "classes.txt").write_text("cat\tA cat\ndog\tA dog\n")
    return [
        folder / "images" / "classes.txt",
        *(draw(folder / "images" / one, at) for at, one in enumerate(names)),
    ]


def manifest(folder: Path) -> list[Path]:
    paths = image_folder(folder)[1:]
    with (folder / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "class_name", "label"])
        writer.writerows(
            [p.relative_to(folder), p.parent.name, int(p.parent.name == "dog")] for p in paths
        )
    table = pd.read_csv(folder / "list.csv")
    table.to_parquet(folder / "list.parquet")
    table.drop(columns="class_name").to_csv(folder / "numbers.csv", index=False)
    (folder / "classnames.txt").write_text("cat\ndog\n")
    return [folder / name for name in ("list.csv", "list.parquet", "numbers.csv", "classnames.txt")]


def use_manifest(folder: Path) -> int:
    return sum(
        read_all(f"manifest:{folder / name}")
        for name in ("list.csv", "list.parquet", "numbers.csv")
    )


def tar(folder: Path) -> list[Path]:
    (folder / "classnames.txt").write_text("cat\ndog\n")
    (folder / "nshards.txt").write_text("1\n")
    with tarfile.open(folder / "0.tar", "w") as shard:
        for number, path in enumerate(image_folder(folder)[1:4]):
            for name, content in (
                (f"s{number}{path.suffix}", path.read_bytes()),
                (f"s{number}.cls", b"%d" % (number % 2)),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                shard.addfile(info, io.BytesIO(content))
    return [folder / "0.tar", folder / "0.tar", folder / "classnames.txt", folder / "nshards.txt"]


def features(folder: Path) -> list[Path]:
    made = Features(
        torch.eye(4), torch.eye(3, 4), torch.tensor([0, 1, 2, 0]), ("a", "b", "c"), "m", "d"
    )
    return [save_features(made, folder / f"f{suffix}") for suffix in (".npz", ".safetensors")]


def table(folder: Path) -> list[Path]:
    write_results(result_table(), folder)
    return [folder / "results.parquet"]


def results_folder(folder: Path) -> list[Path]:
    make_folder(folder, models=("First",), datasets=("pets",), notes=("a note",))
    for schema, name in ((LAYERS, "layers_a.csv"), (PURITY, "purity_a.csv")):
        rows(schema).to_csv(folder / name, index=False)
    track = rows(TRACK).assign(order=[np.array([0])])
    write_table(track, folder, TRACK, csv=False)
    return [path for path in folder.iterdir() if path.suffix in (".parquet", ".npz", ".json")] + [
        *folder.glob("layers_*"),
        *folder.glob("purity_*"),
    ]


def rows(schema: Schema) -> pd.DataFrame:
    return pd.DataFrame(
        [{name: sample(column) for name, column in schema.described.items()}]
    ).astype(schema.columns)


def use_results_folder(folder: Path) -> Any:
    """All that report and figures read; the page is gathered from it, but not written."""
    read_manifest(folder)
    read_track(folder)
    _drawings(folder, folder / "figures", None)
    return gather(open_results(folder))


def stopped_run(folder: Path) -> list[Path]:
    go_on(folder)
    return [path for path in (folder / "out").iterdir() if path.suffix in (".parquet", ".json")]


def go_on(folder: Path) -> pd.DataFrame:
    """Run, or go on with what is there."""
    return run_sweep(
        [],
        [FEATURES],
        folder / "out",
        settings=Settings(keep=[2], draws=1, space="activations", resamples=9),
    )


FEATURES = Features(
    torch.nn.functional.normalize(
        torch.randn(40, 4, generator=torch.Generator().manual_seed(0)), dim=1
    ),
    torch.eye(3, 4),
    torch.arange(40) % 3,
    ("a", "b", "c"),
    "m",
    "d",
)


def cache(folder: Path) -> list[Path]:
    entry = Cache(folder).entry(
        "images", {"weights": "x"}, rows=40, neurons=3, about={"model": "m", "dataset": "d"}
    )
    entry.write(entry.shards[0], torch.arange(120.0).view(40, 3))
    return [entry.folder / "00000.safetensors", entry.folder / "manifest.json"]


def use_cache(folder: Path) -> torch.Tensor | None:
    """As a user who looks first, and then encodes."""
    kept = Cache(folder)
    assert len(kept.entries()) + len(kept.damaged()) == 1
    if (
        CliRunner()
        .invoke(cache_command, ["ls", "--cache", str(folder)], catch_exceptions=False)
        .exit_code
    ):
        raise AssertionError("cache ls fails")
    entry = kept.entry("images", {"weights": "x"}, rows=40, neurons=3)
    assert (len(kept.entries()), kept.damaged()) == (1, [])
    return entry.read(entry.shards[0])


def words(folder: Path) -> list[Path]:
    image_folder(folder)
    (folder / "words.json").write_text(json.dumps({"images": ["a cat", "a dog"], "others": ["x"]}))
    (folder / "templates.json").write_text(
        json.dumps({"images": ["a {c}.", "the {c}."], "others": ["a {c}"]})
    )
    return [folder / "words.json", folder / "templates.json"]


def use_words(folder: Path) -> list[str]:
    spec = f"folder:{folder / 'images'}"
    dataset = load_dataset(
        spec, classnames=folder / "words.json", templates=folder / "templates.json"
    )
    return prompts_for(dataset, "native").texts()


def saved_by_datasets(folder: Path) -> list[Path]:
    import datasets  # type: ignore[import-untyped]

    content = {"image": [str(path) for path in image_folder(folder)[1:5]], "label": [0, 1, 0, 1]}
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    saved = datasets.DatasetDict({"test": datasets.Dataset.from_dict(content, features=features)})
    saved.save_to_disk(str(folder / "saved"))
    return sorted(path for path in (folder / "saved").rglob("*") if path.is_file())


def open_clip_folder(folder: Path) -> list[Path]:
    checkpoints.write_open_clip(folder, TINY)
    return [path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")]


def open_clip_of_others(folder: Path) -> list[Path]:
    """Towers of timm and of transformers."""
    import transformers

    size = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.RobertaConfig(**size, intermediate_size=48).save_pretrained(folder / "roberta")
    text = {
        "hf_model_name": "roberta",
        "hf_tokenizer_name": "x",
        "hf_model_pretrained": False,
        "hf_proj_type": "linear",
    }
    built = {
        **TIMM,
        "text_cfg": {**text, "hf_model_name": str(folder / "roberta"), "context_length": 8},
    }
    checkpoints.write_open_clip(folder, built)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = "roberta"
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    tokenizer = word_tokenizer()
    tokenizer.pad_token = "</s>"
    tokenizer.save_pretrained(folder)
    return [path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")]


def transformers_folder(family: str) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        write_transformers(folder, family)
        return [path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")]

    return write


def torchscript(folder: Path) -> list[Path]:
    return [checkpoints.write_torchscript(folder / "m.pt", checkpoints.openai_model())]


def checkpoint(folder: Path) -> list[Path]:
    tensors = checkpoints.laclip_tensors(depth=1, text_depth=1)
    return [
        checkpoints.write_laclip(
            folder / "m.pt", tensors, extras=checkpoints.training_extras(tensors)
        )
    ]


def encode(spec: str) -> bool:
    """A model that loads also encodes."""
    model = load_model(spec)
    size = model.preprocess.size
    image, text = (
        model.encode_image(torch.zeros(2, 3, size, size)),
        model.encode_text(["a cat", "b"]),
    )
    return image.shape == text.shape == (2, model.neurons)


KINDS: dict[str, Kind] = {
    "images": Kind(image_folder, lambda folder: read_all(f"folder:{folder / 'images'}"), share=120),
    "manifests": Kind(manifest, use_manifest, share=130),
    "tars": Kind(tar, lambda folder: read_all(f"wds:{folder}"), share=130),
    "features": Kind(
        features, lambda folder: [read_features(path) for path in folder.iterdir()], share=170
    ),
    "tables": Kind(
        table,
        lambda folder: open_results(folder).table("results"),
        lambda found: found.equals(check_table(result_table())),
        share=100,
    ),
    "results folders": Kind(results_folder, use_results_folder, share=25),
    "stopped runs": Kind(stopped_run, go_on, share=10),
    "cache": Kind(
        cache,
        use_cache,
        lambda rows: rows is None or torch.equal(rows, torch.arange(120.0).view(40, 3)),
        share=100,
    ),
    "words": Kind(words, use_words, lambda texts: len(texts) > 1, share=95),
    "saved by datasets": Kind(
        saved_by_datasets, lambda folder: read_all(f"hf:{folder / 'saved'}"), share=40
    ),
    "checkpoints": Kind(checkpoint, lambda folder: encode(str(folder / "m.pt")), bool, share=20),
    "TorchScript": Kind(torchscript, lambda folder: encode(str(folder / "m.pt")), bool, share=8),
    "open_clip folders": Kind(
        open_clip_folder, lambda folder: encode(f"local-dir:{folder}"), bool, share=22
    ),
    "open_clip's other towers": Kind(
        open_clip_of_others, lambda folder: encode(str(folder)), bool, share=10
    ),
    "CLIP of transformers": Kind(
        transformers_folder("clip"), lambda folder: encode(f"hf:{folder}"), bool, share=12
    ),
    "SigLIP of transformers": Kind(
        transformers_folder("siglip"), lambda folder: encode(str(folder)), bool, share=8
    ),
}
