"""Damaged files of every kind: each is read right, or refused in words; none runs code or ends in a traceback."""

import csv
import io
import json
import os
import pickle
import random
import tarfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from purescope.cli.cache import cache as cache_command
from purescope.datasets import load_dataset
from purescope.errors import PurescopeError
from purescope.features import Cache, Features, read_features, save_features
from purescope.manifest import read_manifest
from purescope.models import load_model
from purescope.prompts import prompts_for
from purescope.tables import check_table, read_results, write_results
from tests import checkpoints
from tests.models.test_transformers import write as write_transformers
from tests.test_tables import result_table

LONG = bool(os.environ.get("PURESCOPE_TORTURE"))
TINY = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


class Kind(NamedTuple):
    """Files to damage, and how they are used; what comes out must be `right` wherever that can be told."""

    write: Callable[[Path], list[Path]]
    use: Callable[[Path], Any]
    right: Callable[[Any], bool] = lambda result: True


def read_all(spec: str) -> int:
    dataset = load_dataset(spec)
    return sum(dataset.images[row].size[0] > 0 for row in range(len(dataset)))


def draw(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def image_folder(folder: Path) -> list[Path]:
    names = ("cat/1.png", "cat/2.jpg", "dog/1.webp", "dog/2.bmp", "dog/3.ppm", "dog/4.tif")
    return [draw(folder / "images" / name, seed) for seed, name in enumerate(names)]


def manifest(folder: Path) -> list[Path]:
    paths = image_folder(folder)
    with (folder / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "class_name"])
        writer.writerows([path.relative_to(folder), path.parent.name] for path in paths)
    pd.read_csv(folder / "list.csv").to_parquet(folder / "list.parquet")
    return [folder / "list.csv", folder / "list.parquet"]


def use_manifest(folder: Path) -> int:
    return read_all(f"manifest:{folder / 'list.csv'}") + read_all(f"manifest:{folder / 'list.parquet'}")


def tar(folder: Path) -> list[Path]:
    (folder / "classnames.txt").write_text("cat\ndog\n")
    with tarfile.open(folder / "0.tar", "w") as shard:
        for number, path in enumerate(image_folder(folder)[:3]):
            for name, content in (
                (f"s{number}{path.suffix}", path.read_bytes()),
                (f"s{number}.cls", b"%d" % (number % 2)),
            ):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                shard.addfile(info, io.BytesIO(content))
    return [folder / "0.tar", folder / "classnames.txt"]


def features(folder: Path) -> list[Path]:
    made = Features(torch.eye(4), torch.eye(3, 4), torch.tensor([0, 1, 2, 0]), ("a", "b", "c"), "m", "d")
    return [save_features(made, folder / f"f{suffix}") for suffix in (".npz", ".safetensors")]


def table(folder: Path) -> list[Path]:
    write_results(result_table(), folder)
    (folder / "manifest.json").write_text('{"settings": {"draws": 2}, "timings": []}')
    return [folder / "results.parquet", folder / "manifest.json"]


def use_table(folder: Path) -> pd.DataFrame:
    read_manifest(folder)
    return read_results(folder)


def cache(folder: Path) -> list[Path]:
    entry = Cache(folder).entry("images", {"weights": "x"}, rows=40, neurons=3, about={"model": "m", "dataset": "d"})
    entry.write(entry.shards[0], torch.arange(120.0).view(40, 3))
    return [entry.folder / "00000.safetensors", entry.folder / "manifest.json"]


def use_cache(folder: Path) -> torch.Tensor | None:
    """As a user who looks first, and then encodes."""
    kept = Cache(folder)
    assert len(kept.entries()) + len(kept.damaged()) == 1
    if CliRunner().invoke(cache_command, ["ls", "--cache", str(folder)], catch_exceptions=False).exit_code:
        raise AssertionError("cache ls fails")
    entry = kept.entry("images", {"weights": "x"}, rows=40, neurons=3)
    assert (len(kept.entries()), kept.damaged()) == (1, [])
    return entry.read(entry.shards[0])


def words(folder: Path) -> list[Path]:
    image_folder(folder)
    (folder / "words.json").write_text(json.dumps({"images": ["a cat", "a dog"], "others": ["x"]}))
    (folder / "templates.json").write_text(json.dumps({"images": ["a {c}.", "the {c}."], "others": ["a {c}"]}))
    return [folder / "words.json", folder / "templates.json"]


def use_words(folder: Path) -> list[str]:
    spec = f"folder:{folder / 'images'}"
    dataset = load_dataset(spec, classnames=folder / "words.json", templates=folder / "templates.json")
    return prompts_for(dataset, "native").texts()


def saved_by_datasets(folder: Path) -> list[Path]:
    import datasets  # type: ignore[import-untyped]

    content = {"image": [str(path) for path in image_folder(folder)[:4]], "label": [0, 1, 0, 1]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    datasets.Dataset.from_dict(content, features=features).save_to_disk(str(folder / "saved"))
    return sorted(path for path in (folder / "saved").iterdir() if path.is_file())


def open_clip_folder(folder: Path) -> list[Path]:
    checkpoints.write_open_clip(folder, TINY)
    return [path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")]


def transformers_folder(folder: Path) -> list[Path]:
    write_transformers(folder, "clip")
    return [path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")]


def torchscript(folder: Path) -> list[Path]:
    return [checkpoints.write_torchscript(folder / "m.pt", checkpoints.openai_model())]


def encode(spec: str) -> bool:
    """A model that loads also encodes."""
    model = load_model(spec)
    size = model.preprocess.size
    image, text = model.encode_image(torch.zeros(2, 3, size, size)), model.encode_text(["a cat", "b"])
    return image.shape == text.shape == (2, model.neurons)


KINDS: dict[str, Kind] = {
    "images": Kind(image_folder, lambda folder: read_all(f"folder:{folder / 'images'}")),
    "manifests": Kind(manifest, use_manifest),
    "tars": Kind(tar, lambda folder: read_all(f"wds:{folder}")),
    "features": Kind(features, lambda folder: [read_features(path) for path in folder.iterdir()]),
    "tables": Kind(table, use_table, lambda found: found.equals(check_table(result_table()))),
    "cache": Kind(cache, use_cache, lambda rows: rows is None or torch.equal(rows, torch.arange(120.0).view(40, 3))),
    "checkpoints": Kind(
        lambda folder: [checkpoints.write_laclip(folder / "m.pt", checkpoints.laclip_tensors(depth=1, text_depth=1))],
        lambda folder: encode(str(folder / "m.pt")),
        bool,
    ),
    "TorchScript": Kind(torchscript, lambda folder: encode(str(folder / "m.pt")), bool),
    "open_clip folders": Kind(open_clip_folder, lambda folder: encode(f"local-dir:{folder}"), bool),
    "transformers folders": Kind(transformers_folder, lambda folder: encode(f"hf:{folder}"), bool),
    "words": Kind(words, use_words, lambda texts: len(texts) > 1),
    "saved by datasets": Kind(saved_by_datasets, lambda folder: read_all(f"hf:{folder / 'saved'}")),
}
STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 3, 1.5, float("nan"), 2**40, "", "x", "[/red]x", [], [None], [1, 2, 3], ["x"], {}, {"a": 1},
)  # fmt: skip


def damage(content: bytes, rng: random.Random) -> bytes:
    """Cut, flip, overwrite, repeat or insert; in the first bytes, where headers are, as often as anywhere."""
    if not content:
        return b"\0"
    changed = bytearray(content)
    reach = min(len(content), 200) if rng.random() < 0.5 else len(content)
    at = rng.randrange(reach)
    match rng.randrange(6):
        case 0:
            del changed[at:]
        case 1:
            changed[at] ^= 1 << rng.randrange(8)
        case 2:
            for _ in range(rng.randint(2, 20)):
                changed[rng.randrange(reach)] = rng.randrange(256)
        case 3:
            changed[at : at + 64] = bytes(min(64, len(content) - at))
        case 4:
            changed[at:at] = changed[at : at + rng.randint(1, 100)]
        case 5:
            changed[at:at] = rng.randbytes(rng.randint(1, 40))
    return bytes(changed)


def damage_json(content: bytes, rng: random.Random) -> bytes:
    """One value somewhere in it is of another type, or gone."""
    tree = json.loads(content)
    node, keys = tree, []
    while isinstance(node, dict | list) and node and (not keys or rng.random() < 0.7):
        keys.append(rng.choice([*node] if isinstance(node, dict) else range(len(node))))
        parent, node = node, node[keys[-1]]
    if not keys:
        return b"null"
    if rng.random() < 0.2:
        del parent[keys[-1]]
    else:
        parent[keys[-1]] = rng.choice(STRANGE)
    return json.dumps(tree).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_right_or_refused(kind: str, tmp_path: Path) -> None:
    rng, (write, use, right) = random.Random(kind), KINDS[kind]
    paths = write(tmp_path)
    whole = {path: path.read_bytes() for path in paths}
    outcomes: Counter[str] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        use(tmp_path)
        for _ in range(150 if LONG else 10):
            path = rng.choice(paths)
            change = damage_json if path.suffix == ".json" and rng.random() < 0.8 else damage
            path.write_bytes(change(whole[path], rng))
            try:
                assert right(use(tmp_path)), "a wrong result"
                outcomes["read"] += 1
            except PurescopeError as error:
                assert error.came
                outcomes["refused"] += 1
            path.write_bytes(whole[path])
    print(kind, dict(outcomes))


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def hostile_zip(path: Path, mark: Path) -> None:
    torch.save({"state_dict": {"x": torch.zeros(1)}, "epoch": Hostile(mark)}, path)


def hostile_pickle(path: Path, mark: Path) -> None:
    path.write_bytes(pickle.dumps(Hostile(mark)))


def hostile_npz(path: Path, mark: Path) -> None:
    np.savez(path, image=np.array([Hostile(mark)]), text=np.eye(2), labels=np.array([0]))


READERS: dict[str, tuple[Callable[[Path, Path], None], str, Callable[[Path], Any]]] = {
    "checkpoint": (hostile_zip, "m.pt", lambda path: load_model(str(path))),
    "old checkpoint": (hostile_pickle, "m.pt", lambda path: load_model(str(path))),
    "features": (hostile_npz, "f.npz", read_features),
    "pickled features": (hostile_pickle, "f.npz", read_features),
    "cifar": (hostile_pickle, "cifar-10-batches-py/test_batch", lambda path: read_cifar(path.parent.parent)),
}


def read_cifar(root: Path) -> Any:
    (root / "cifar-10-batches-py" / "batches.meta").write_bytes(b"")
    return load_dataset("cifar10", data_root=root)


@pytest.mark.parametrize("reader", READERS)
def test_no_pickle_runs(reader: str, tmp_path: Path) -> None:
    write, name, read = READERS[reader]
    path, mark = tmp_path / name, tmp_path / "mark"
    path.parent.mkdir(exist_ok=True)
    write(path, mark)
    with warnings.catch_warnings(), pytest.raises(PurescopeError):
        warnings.simplefilter("ignore")
        read(path)
    assert not mark.exists()


def test_the_hostile_files_are_hostile(tmp_path: Path) -> None:
    hostile_pickle(tmp_path / "p", tmp_path / "mark")
    pickle.loads((tmp_path / "p").read_bytes())
    assert (tmp_path / "mark").is_dir()


@pytest.mark.parametrize("name", ["../../outside", "/outside", "a/../../outside", "..\\outside", "link"])
def test_nothing_in_a_tar_is_written_anywhere(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    tar(folder)
    with tarfile.open(folder / "0.tar", "a") as shard:
        info = tarfile.TarInfo(f"{name}.png")
        if name == "link":
            info.type, info.linkname = tarfile.SYMTYPE, "../../outside.png"
        content = (folder / "images" / "cat" / "1.png").read_bytes()
        info.size = 0 if name == "link" else len(content)
        shard.addfile(info, io.BytesIO(content))
        info = tarfile.TarInfo(f"{name}.cls")
        info.size = 1
        shard.addfile(info, io.BytesIO(b"0"))
    before = sorted(tmp_path.rglob("*"))
    try:
        read_all(f"wds:{folder}")
    except PurescopeError as error:
        assert error.came
    assert sorted(tmp_path.rglob("*")) == before
