"""Files that tests of the commands read, and a small vocabulary."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.checkpoints import laclip_tensors, write_laclip
from tests.words import few_words


@pytest.fixture
def vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    few_words(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write two classes of three small images each."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """Write two small checkpoints of 24 neurons: commands take a fraction of the time with them."""
    paths = tmp_path / "clip.pt", tmp_path / "laclip.pt"
    for seed, path in enumerate(paths):
        write_laclip(path, laclip_tensors(depth=1, text_depth=1, seed=seed))
    return paths


@pytest.fixture
def features_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(30, 512)), rng.normal(size=(3, 512))
    np.savez(tmp_path / "mine.npz", image=image, text=text, labels=np.arange(30) % 3)
    return tmp_path / "mine.npz"
