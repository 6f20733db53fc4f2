"""Every architecture that open_clip knows has sizes that are allowed; ten times as much has not."""

from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from purescope.errors import ModelError
from purescope.models.architectures import _find_image_size
from purescope.models.open_clip_config import require_sizes

# As many tensors and numbers as the largest has: the sizes themselves are to be looked at.
WEIGHTS: dict[str, Tensor] = {
    str(number): torch.zeros(()).expand(300_000) for number in range(1000)
}


@pytest.mark.parametrize("name", open_clip.list_models())
def test_every_known_architecture_is_allowed(name: str) -> None:
    config = open_clip.get_model_config(name)
    assert config is not None
    require_sizes("mine", config, WEIGHTS)


def changed(tower: str, **sizes: Any) -> dict[str, Any]:
    """A ViT-L of 16 heads with one tower changed."""
    vision = {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14, "head_width": 64}
    text = {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12}
    config: dict[str, Any] = {"vision_cfg": vision, "text_cfg": text}
    config[tower] = {**config[tower], **sizes}
    return config


@pytest.mark.parametrize(
    ("tower", "sizes", "message"),
    [
        ("vision_cfg", {"head_width": 1, "image_size": 448}, "vision_cfg has 1,024 heads over"),
        ("vision_cfg", {"patch_size": 1, "width": 64}, "vision_cfg has 1 heads over 50,176 tokens"),
        ("vision_cfg", {"image_size": 4096}, "vision_cfg.image_size is 4,096"),
        ("vision_cfg", {"image_size": [224, 4096]}, "vision_cfg.image_size is 4,096"),
        ("vision_cfg", {"image_size": 0}, "vision_cfg.image_size is 0"),
        ("vision_cfg", {"layers": 400}, "412 layers"),
        ("vision_cfg", {"width": 10**8}, "vision_cfg has a weight of"),
        ("text_cfg", {"context_length": 5000}, "text_cfg.context_length is 5,000"),
        ("text_cfg", {"context_length": 4096, "heads": 16}, "text_cfg has 16 heads over 4,096"),
        ("text_cfg", {"layers": 300}, "324 layers"),
        ("text_cfg", {"width": 10**6}, "text_cfg has a weight of 49,408,000,000"),
        (
            "text_cfg",
            {"width": 10**6, "vocab_size": 10, "context_length": 4000, "heads": 1},
            "text_cfg has a weight of 4,000,000,000",
        ),
    ],
    ids=str,
)
def test_sizes_of_no_model_are_refused(tower: str, sizes: dict[str, Any], message: str) -> None:
    require_sizes("mine", changed("text_cfg"), WEIGHTS)
    whole = {**changed("text_cfg"), "multimodal_cfg": {"width": 768, "context_length": 76}}
    require_sizes("mine", whole, WEIGHTS)
    whole["multimodal_cfg"] = {"width": 10**8, "context_length": 77}
    with pytest.raises(ModelError, match="multimodal_cfg has a weight of 7,700,000,000 numbers"):
        require_sizes("mine", whole, WEIGHTS)
    with pytest.raises(ModelError, match=message):
        require_sizes("mine", changed(tower, **sizes), WEIGHTS)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"visual.positional_embedding": (50, 8), "visual.conv1.weight": (8, 3, 32, 32)},
         (224, 32)),
        ({"visual.positional_embedding": (49, 8), "visual.conv1.weight": (8, 3, 16, 16)},
         (112, 16)),
        ({"visual.attnpool.positional_embedding": (50, 8)}, (224, 32)),
        ({"visual.trunk.pos_embed": (1, 196, 8),
          "visual.trunk.patch_embed.proj.weight": (8, 3, 16, 16)}, (224, 16)),
        ({"visual.positional_embedding": (7, 8), "visual.conv1.weight": (8, 3, 16, 16)}, (0, 0)),
        ({"visual.positional_embedding": (7,), "visual.conv1.weight": (8, 3, 16, 16)}, (0, 0)),
        ({"visual.positional_embedding": (50, 8)}, (0, 0)),
        ({}, (0, 0)),
    ],
    ids=str,
)  # fmt: skip
def test_the_size_of_images_is_that_of_the_positions(
    shapes: dict[str, tuple[int, ...]], expected: tuple[int, int]
) -> None:
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    assert _find_image_size(tensors) == expected
