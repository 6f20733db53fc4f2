"""Contrastive training of one bundled model on the CPU, with the two models differing in their
captions only.

Weights, batches and augmentations come from the same seeds for both; every draw is explicit, so one
machine and one thread give the same weights again.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from bundle.augment import Pictures
from bundle.captions import SLOTS
from bundle.drawing import Drawing
from bundle.model import make_model

logger = logging.getLogger(__name__)

_KIND_WEIGHT = {"emoji": 2.0, "flag": 2.5, "clipart": 1.5, "icon": 1.0}
_PLENTIFUL_SOURCES, _PLENTIFUL_WEIGHT = {"material-symbols", "mdi", "tabler"}, 0.6
_LENGTHS = (6, 10)  # tokens; captions are encoded in three groups, each no longer than it must be


@dataclass(frozen=True)
class Recipe:
    """Everything that shapes the training besides data and architecture."""

    steps: int = 4000
    batch: int = 256
    learning_rate: float = 1.5e-3
    warmup_steps: int = 200
    weight_decay: float = 0.1
    max_logit_scale: float = 100.0
    seed: int = 0
    snapshots: tuple[int, ...] = (400, 1500)


@dataclass(frozen=True)
class Corpus:
    """Training pictures, `SLOTS` token rows for each, the drawing's weight in a batch, and its
    caption's id.
    """

    pictures: Pictures
    tokens: Tensor
    weights: Tensor
    caption_ids: Tensor

    @classmethod
    def build(
        cls,
        drawings: list[Drawing],
        rgba: np.ndarray,
        captions: list[list[str]],
        tokenizer: SimpleTokenizer,
    ) -> "Corpus":
        tokens = tokenizer([text for texts in captions for text in texts]).to(torch.int16)
        ids = {
            caption: i
            for i, caption in enumerate(dict.fromkeys(drawing.caption for drawing in drawings))
        }
        weights = [
            _KIND_WEIGHT[drawing.kind]
            * (_PLENTIFUL_WEIGHT if drawing.source in _PLENTIFUL_SOURCES else 1.0)
            for drawing in drawings
        ]
        return cls(
            Pictures(torch.from_numpy(rgba).permute(0, 3, 1, 2).contiguous(), drawings),
            tokens.view(len(drawings), SLOTS, -1),
            torch.tensor(weights),
            torch.tensor([ids[drawing.caption] for drawing in drawings]),
        )


def train(corpus: Corpus, recipe: Recipe, keep: Callable[[int, CLIP], None]) -> CLIP:
    """Train from scratch; `keep(step, model)` is called at each of the recipe's snapshots and at
    the end.
    """
    model = make_model(recipe.seed).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(recipe.seed)
    losses, start = [], time.monotonic()
    for step in range(1, recipe.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(recipe, step)
        index = torch.multinomial(corpus.weights, recipe.batch, generator=generator)
        slots = torch.randint(SLOTS, (recipe.batch,), generator=generator)
        images = corpus.pictures.batch(index, generator).to(memory_format=torch.channels_last)
        loss = _loss(
            model, images, corpus.tokens[index, slots].long(), corpus.caption_ids[index], recipe
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 100 == 0:
            mean, rate = (
                float(np.mean(losses[-100:])),
                step * recipe.batch / (time.monotonic() - start),
            )
            logger.info(
                "step %d  loss %.3f  scale %.1f  %.0f samples/s",
                step,
                mean,
                model.logit_scale.exp(),
                rate,
            )
        if step in recipe.snapshots or step == recipe.steps:
            keep(step, model)
    return model.eval()


def _learning_rate(recipe: Recipe, step: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return recipe.learning_rate * min(1.0, step / recipe.warmup_steps) * (cosine + 0.005)


def _loss(
    model: CLIP, images: Tensor, tokens: Tensor, caption_ids: Tensor, recipe: Recipe
) -> Tensor:
    """Symmetric cross-entropy; two drawings of one caption are no negatives of each other."""
    with torch.autocast("cpu", torch.bfloat16):
        image = model.encode_image(images, normalize=True).float()
        text = _encode_text(model, tokens).float()
    logits = model.logit_scale.exp().clamp(max=recipe.max_logit_scale) * image @ text.T
    same = caption_ids[:, None] == caption_ids[None, :]
    logits = logits.masked_fill(same & ~torch.eye(len(same), dtype=torch.bool), -1e4)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """The model's unit text features, without computing the padding of short captions.

    Attention is causal and the feature is read at the last token, so cutting the padding off
    changes nothing.
    """
    lengths = tokens.argmax(1) + 1  # the end-of-text token has the highest id
    rows, features = [], []
    for shortest, longest in pairwise((0, *_LENGTHS, tokens.shape[1])):
        group = ((lengths > shortest) & (lengths <= longest)).nonzero()[:, 0]
        if len(group):
            hidden = (
                model.token_embedding(tokens[group, :longest])
                + model.positional_embedding[:longest]
            )
            hidden = model.ln_final(
                model.transformer(hidden, attn_mask=model.attn_mask[:longest, :longest])
            )
            last = hidden[torch.arange(len(group)), lengths[group] - 1]
            rows.append(group)
            features.append(F.normalize(last @ model.text_projection, dim=-1))
    return torch.cat(features)[torch.cat(rows).argsort()]
