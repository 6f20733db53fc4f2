"""The architecture of the bundled models, in open_clip's own words, and their tokenizer.

A ModifiedResNet at 64 px and a one-layer text tower, both projecting to d = 512 from at least as
many dimensions: 512 neurons in fewer dimensions could not be orthogonal. The attention pool's
projection has a bias in open_clip; it is held at zero, so that the projection is a linear map, as
in the experiment's models.
"""

import gzip
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from torch import Tensor

NEURONS = 512
IMAGE_SIZE = 64
CONTEXT = 16
MERGES = 4000
VOCABULARY_FILE = "bpe_simple_vocab_4k.txt.gz"
MEAN = STD = (0.5, 0.5, 0.5)

CONFIG: dict[str, Any] = {
    "embed_dim": NEURONS,
    "vision_cfg": {
        "image_size": IMAGE_SIZE,
        "layers": [1, 2, 2, 1],
        "width": 24,
        "patch_size": None,
        "head_width": 64,
    },
    "text_cfg": {
        "context_length": CONTEXT,
        "vocab_size": 2 * 256 + MERGES + 2,
        "width": 512,
        "heads": 8,
        "layers": 1,
        "tokenizer_kwargs": {"bpe_path": VOCABULARY_FILE},
    },
}


def write_vocabulary(path: Path) -> Path:
    """CLIP's own byte-pair merges, the first `MERGES` of them (MIT licence, from open_clip)."""
    if not path.exists():
        lines = gzip.decompress(Path(default_bpe()).read_bytes()).decode().split("\n")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("\n".join(lines[: MERGES + 1]).encode(), mtime=0))
    return path


def make_tokenizer(vocabulary: Path) -> SimpleTokenizer:
    return SimpleTokenizer(str(vocabulary), context_length=CONTEXT)


def make_model(seed: int, logit_scale: float = 20.0) -> CLIP:
    """An untrained model; the same seed gives the same weights."""
    torch.manual_seed(seed)
    text = {key: value for key, value in CONFIG["text_cfg"].items() if key != "tokenizer_kwargs"}
    model = CLIP(NEURONS, CONFIG["vision_cfg"], text)
    with torch.no_grad():
        model.logit_scale.fill_(torch.tensor(logit_scale).log())
        model.visual.attnpool.c_proj.bias.zero_()
    model.visual.attnpool.c_proj.bias.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def half_weights(model: CLIP) -> dict[str, Tensor]:
    """What is kept of a model: its weights and statistics in float16, without counters."""
    return {
        key: value.half().contiguous()
        for key, value in model.state_dict().items()
        if value.is_floating_point()
    }
