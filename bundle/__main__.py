"""``python -m bundle [STAGE...]``: fetch, render, train, publish; all four by default, each
skipping what is done.

fetch    the source packages (about 600 MB)
render   every drawing to 64 x 64 RGBA (about a minute on two cores)
train    both models side by side, one thread each (about 90 minutes on two cores), with snapshots
on the way publish  weights and evaluation sets into src/purescope/bundled, with their notices

Beside these, on demand: untrained, both models before their first step, into build/bundle/untrained
(seconds)
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from safetensors.torch import save_file

from bundle.captions import clip_captions, laclip_captions
from bundle.corpus import collect
from bundle.drawing import read_drawings, write_drawings
from bundle.model import VOCABULARY_FILE, half_weights, make_model, make_tokenizer, write_vocabulary
from bundle.publish import publish, write_model
from bundle.render import render
from bundle.sources import Sources
from bundle.splits import is_held_out
from bundle.training import Corpus, Recipe, train
from bundle.wordnet import WordNet

MODELS = ("clip", "laclip")
STAGES = ("fetch", "render", "train", "publish")


def fetch(work: Path) -> None:
    Sources(work / "sources").fetch()


def render_stage(work: Path) -> None:
    if (work / "drawings.jsonl").exists():
        return
    sources = Sources(work / "sources")
    drawings = list(collect(sources.npm, sources.clipart))
    pictures = render(drawings, os.cpu_count() or 1)
    drawn = [
        (drawing, picture)
        for drawing, picture in zip(drawings, pictures, strict=True)
        if picture is not None
    ]
    write_drawings(
        [replace(drawing, svg="") for drawing, _ in drawn],
        np.stack([picture for _, picture in drawn]),
        work,
    )
    logging.info("rendered %d of %d drawings", len(drawn), len(drawings))


def train_stage(work: Path) -> None:
    runs = [
        subprocess.Popen([sys.executable, "-m", "bundle", "--work", str(work), f"train-{name}"])
        for name in MODELS
        if not (work / f"{name}.safetensors").exists()
    ]
    if any([run.wait() for run in runs]):
        raise SystemExit("training failed; its message is above")


def train_one(work: Path, name: str) -> None:
    torch.set_num_threads(1)
    drawings, rgba = read_drawings(work)
    kept = [i for i, drawing in enumerate(drawings) if not is_held_out(drawing)]
    drawings = [drawings[i] for i in kept]
    rng, wordnet = np.random.default_rng(0), WordNet(Sources(work / "sources").npm)
    tokenizer = make_tokenizer(write_vocabulary(work / VOCABULARY_FILE))
    captions = [
        clip_captions(drawing, rng) if name == "clip" else laclip_captions(drawing, rng, wordnet)
        for drawing in drawings
    ]
    recipe = Recipe()

    def keep(step: int, model: CLIP) -> None:
        save_file(
            half_weights(model),
            work
            / (f"{name}.safetensors" if step == recipe.steps else f"{name}-{step:05d}.safetensors"),
        )

    train(Corpus.build(drawings, rgba[kept], captions, tokenizer), recipe, keep)


def publish_stage(work: Path) -> None:
    publish(work, Path("src/purescope/bundled"), MODELS)


def untrained(work: Path) -> None:
    """Both models begin with the same weights: their step 0."""
    vocabulary = write_vocabulary(work / VOCABULARY_FILE)
    for name in MODELS:
        write_model(
            half_weights(make_model(Recipe().seed)),
            vocabulary,
            work / "untrained" / f"{name}-00000",
        )


def main() -> None:
    runs = {f"train-{name}": name for name in MODELS}
    parser = argparse.ArgumentParser(
        prog="python -m bundle", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("stages", nargs="*", default=STAGES, choices=[*STAGES, "untrained", *runs])
    parser.add_argument(
        "--work", type=Path, default=Path("build/bundle"), help="where everything is built"
    )
    options = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format=f"%(asctime)s {' '.join(options.stages)}: %(message)s"
    )
    options.work.mkdir(parents=True, exist_ok=True)
    run: dict[str, Callable[[Path], None]] = {
        "fetch": fetch,
        "render": render_stage,
        "train": train_stage,
        "publish": publish_stage,
        "untrained": untrained,
    }
    run |= {run_name: partial(train_one, name=name) for run_name, name in runs.items()}
    for stage in options.stages:
        run[stage](options.work)


if __name__ == "__main__":
    main()
