"""Run the program that a model card shows, in the folder of its export."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from purescope.models.towers import Towers
from purescope.reduce.forms.card import Origin, model_card

SENTENCES = ["a photo of a cat", "a red flag"]  # of the programs


def run_card(
    form: str, folder: Path, patch: pytest.MonkeyPatch, *, neurons: int, kept: int
) -> dict[str, Any]:
    """Return the names that the program defines."""
    card = model_card(form, Origin("bundled:clip", "CLIP", neurons, kept))
    program = card.partition("```python\n")[2].partition("\n```\n")[0]
    patch.chdir(folder)
    names: dict[str, Any] = {"__name__": "card"}
    exec(compile(program, f"card of {form}", "exec"), names)
    return names


def assert_similar(names: dict[str, Any], towers: Towers) -> None:
    """Compare the similarities with those of the towers, each embedding of unit length."""
    image = Image.new("RGB", (64, 48), "red")
    pixels = towers.preprocess.normalise(towers.preprocess.pixels(image)[None])
    with torch.no_grad():
        rows = towers.encode_image(pixels), towers.encode_text(towers.tokenize(SENTENCES))
    images, texts = (row / row.norm(dim=1, keepdim=True) for row in rows)
    np.testing.assert_allclose(np.asarray(names["similarities"]), images @ texts.T, atol=1e-5)
