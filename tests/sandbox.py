"""A folder of small real files, called as in the pages of the documentation, in which every command
can run.
"""

import importlib
import json
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from open_clip import factory
from PIL import Image

from purescope.features.caption_files import save_caption_features
from purescope.features.captions import CaptionFeatures
from purescope.reduce.rotation import Rotation, write_rotation
from purescope.studies.synthetic import plant
from tests.checkpoints import (
    laclip_tensors,
    openai_model,
    training_extras,
    write_laclip,
    write_open_clip,
    write_torchscript,
)
from tests.datasets.test_webdataset import sample, shard
from tests.models.test_transformers import write as write_transformers
from tests.words import few_words

_CLASSES = ("bird", "cat", "dog")
_TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 16, "head_width": 64},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


@contextmanager
def sandbox(folder: Path) -> Iterator[None]:
    """Fill a folder with every file that a page names, and work in it; the hub's cache holds three
    models.

    Checkpoints are random and have 24 neurons, but for planted.pt, whose neurons are
    `purescope.studies.synthetic.plant`'s as is planted.npz; open_clip's ViT-B-16 is a small one,
    the demo runs on two such checkpoints and one image set, and the vocabulary has twenty words.
    The network is refused.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PURESCOPE_CACHE", str(folder / "features-kept"))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "hub"))
        for module in (
            torchvision.datasets.cifar,
            torchvision.datasets.utils,
        ):  # a small CIFAR-10 is not the published one
            patch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).is_file())
        demo = importlib.import_module("purescope.cli.sweeps")
        patch.setattr(demo, "MODELS", ("cc3m_clip.pt", "cc3m_laclip.pt"))
        patch.setattr(demo, "DATASETS", ("flags",))
        few_words(patch)
        for call in ("connect", "connect_ex"):
            patch.setattr(socket.socket, call, _refuse)
        patch.setattr(socket, "getaddrinfo", _refuse)
        patch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
        patch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
        (folder / "ViT-B-16.json").write_text(json.dumps(_TINY))
        open_clip.add_model_config(folder / "ViT-B-16.json")
        for make in (
            _checkpoints,
            _folders_of_models,
            _images,
            _other_data,
            _planted,
            _vectors,
            _broken,
        ):
            make(folder)
        yield


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("an example asked the network")


def _checkpoints(folder: Path) -> None:
    laclip = laclip_tensors()
    write_laclip(folder / "cc3m_laclip.pt", laclip, extras=training_extras(laclip))
    write_laclip(folder / "cc3m_clip.pt", laclip_tensors(seed=1))
    (folder / "runs").mkdir()
    for epoch in (1, 2):
        write_laclip(folder / "runs" / f"epoch_{epoch}.pt", laclip_tensors(seed=epoch))
    torch.save(
        {"model": laclip, "model_ema": laclip_tensors(seed=1), "epoch": 3}, folder / "training.pt"
    )
    write_torchscript(folder / "ViT-B-16.pt", openai_model())


def _folders_of_models(folder: Path) -> None:
    model = write_open_clip(folder / "my_open_clip", _TINY)
    (folder / "my_arch.json").write_text(json.dumps(_TINY))
    for name in ("weights.pt", "weights-2.pt"):
        torch.save(model.state_dict(), folder / name)
    write_transformers(folder / "my_clip", "clip")
    write_transformers(folder / "my_siglip", "siglip")
    write_open_clip(_repository(folder, "me/my-clip"), _TINY)
    write_open_clip(_repository(folder, "laion/CLIP-ViT-B-16-laion2B-s34B-b88K"), _TINY)
    write_transformers(_repository(folder, "openai/clip-vit-base-patch16"), "clip")


def _repository(folder: Path, name: str) -> Path:
    """A folder in the hub's cache for the files of a repository."""
    root = folder / "hub" / f"models--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    snapshot = root / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def _images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in _CLASSES:
        (folder / "my_images" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "my_images" / name / f"{i}.png")
    rows = [f"my_images/{name}/{i}.png,{name}" for name in _CLASSES for i in range(6)]
    (folder / "pets.csv").write_text("\n".join(["path,class", *rows]))
    (folder / "classnames.json").write_text(
        json.dumps({"my_images": ["a little bird", "a cat", "a dog"]})
    )
    (folder / "templates.json").write_text(
        json.dumps({"my_images": ["a photo of {c}.", "a drawing of {c}."]})
    )


def _other_data(folder: Path) -> None:
    import datasets

    rng = np.random.default_rng(1)
    labels = np.arange(30) % 3
    np.savez(
        folder / "mine.npz",
        image=rng.normal(size=(30, 24)),
        text=rng.normal(size=(3, 24)),
        labels=labels,
    )
    for i in range(2):
        pictures = [sample(f"s{j:04d}", 20 * j, j % 3) for j in range(6)]
        shard(
            folder / "wds_pets" / "test" / f"{i}.tar",
            [file for picture in pictures for file in picture],
        )
    (folder / "wds_pets" / "classnames.txt").write_text("\n".join(_CLASSES))
    pets = [
        {"path": str(folder / "my_images" / name / "0.png"), "bytes": None} for name in _CLASSES
    ]
    columns = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(_CLASSES))}
    )
    table = datasets.Dataset.from_dict(
        {"image": pets * 4, "label": [0, 1, 2] * 4}, features=columns
    )
    datasets.disable_progress_bars()
    datasets.DatasetDict({"test": table}).save_to_disk(folder / "my_pets")
    datasets.enable_progress_bars()
    _cifar10(folder / "DATA" / "cifar-10-batches-py", rng)
    (folder / "EMPTY").mkdir()


def _cifar10(folder: Path, rng: Any) -> None:
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = rng.integers(0, 256, (30, 3 * 32 * 32), dtype=np.uint8)
        (folder / name).write_bytes(
            pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(30)]})
        )
    names = [
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))


def _planted(folder: Path) -> None:
    """A model and features of one making: the purest neurons carry most."""
    made = plant(1.0, neurons=24, images=90, classes=6, signal=0.5)
    tensors = laclip_tensors(width=256, text_width=256, depth=1, text_depth=1, head_width=64)
    tensors["image_projection"] = made.projections.image.T.float().contiguous()
    tensors["text_projection"] = made.projections.text.T.float().contiguous()
    write_laclip(folder / "planted.pt", tensors)
    features = made.features
    np.savez(
        folder / "planted.npz", image=features.image, text=features.text, labels=features.labels
    )
    # Two captions of each of 40 images, near it.
    own = torch.arange(40).repeat_interleave(2)
    noise = torch.randn(len(own), 24, generator=torch.Generator().manual_seed(0))
    captions = torch.nn.functional.normalize(features.image[own].float() + 0.1 * noise, dim=1)
    image = torch.nn.functional.normalize(features.image[:40].float(), dim=1)
    save_caption_features(CaptionFeatures(image, captions, own), folder / "sentences.npz")


def _vectors(folder: Path) -> None:
    """A rotation of 512 dimensions, and collections of such vectors."""
    rng = np.random.default_rng(2)
    axes = torch.from_numpy(np.linalg.qr(rng.normal(size=(512, 512)))[0].astype(np.float32))
    recipe = {"axes": "svd", "neurons": "512", "kept": "512"}
    rotation = Rotation(axes, axes, torch.full((512,), 1 / 512), recipe)
    write_rotation(rotation, folder / "axes" / "rotation.safetensors")
    rows = rng.normal(size=(60, 512)).astype(np.float32)
    np.save(folder / "vectors.npy", rows)
    np.savez(folder / "vectors.npz", image=rows, other=rows, ids=np.arange(60))
    for part in ("img_emb", "text_emb"):
        for first in range(2):
            file = folder / "laion" / part / f"{part}_{first}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, rows[first::2].astype(np.float16))
    (folder / "laion" / "metadata").mkdir()
    table = pa.table({"id": np.arange(60), "caption": [f"caption {i}" for i in range(60)]})
    pq.write_table(table.slice(0, 30), folder / "laion" / "metadata" / "metadata_0.parquet")
    for name in ("image", "title"):
        table = table.append_column(name, pa.array(list(rows)))
    pq.write_table(table, folder / "items.parquet")


class _Runs:
    """A pickle that would print when it is read."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("read",)


def _broken(folder: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "args": _Runs()}, folder / "pickled.pt")
    torch.save({"a": torch.ones(2, 2)}, folder / "bare.pt")
    (folder / "cut.pt").write_bytes((folder / "cc3m_laclip.pt").read_bytes()[:1000])
