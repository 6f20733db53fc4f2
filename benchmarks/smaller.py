"""Measure how few dimensions are enough: for the bundled models, and for made embeddings.

The embeddings of the bundled models are nearly of rank 64, which those of large models are not.
So the second part makes pairs of embeddings with a spectrum like that of published CLIPs: a slow
decay, an effective rank in the hundreds, and a large mean of each tower. Axes are fitted to one
half of them, and judged on the other.

Run it as ``python -m benchmarks.smaller --out DIR``. It prints tables in Markdown.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

import purescope as ps
from purescope.features.features import unit_rows
from purescope.reduce.shares import Choice
from purescope.studies.spectra import MadeEmbeddings, Spectrum, effective_rank, make_embeddings

MODELS = ("bundled:clip", "bundled:laclip")
NAMES = ("emoji-names", "openmoji-names")
SETS = ("emoji", "openmoji", "flags", "icons", "clipart", "fashion-mnist")
CAPTIONS = ("emoji-names", "openmoji-names", "flags", "icons")
DATA = {
    "classes": [f"bundled:{name}" for name in SETS],
    "names": [f"bundled:{name}" for name in NAMES],
    "captions": [f"captions:bundled:{name}" for name in CAPTIONS],
}
KS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)
MADE_KS = (*range(16, 129, 16), *range(160, 513, 32))
RECALL = "image_retrieval_recall@5"
NOISE = 0.9  # of the made texts: searches are as hard as those of published CLIPs on COCO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder for all results")
    parser.add_argument("--rows", type=int, default=10_000, help="number of made pairs")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    bundled(given.out)
    made(given.out, given.rows)


def bundled(out: Path) -> None:
    """Sweep the bundled models, as deployed, on sets of classes and on captions."""
    settings = ps.Settings(
        keep=KS, strategies=("svd", "cross", "first_k"), draws=50, renormalise=True
    )
    for name, data in DATA.items():
        results = ps.run_sweep(MODELS, data, out=out / name, settings=settings)
        metric = RECALL if name == "captions" else "accuracy"
        shares = results.table("shares")
        judged = shares[(shares.metric == metric) & (shares.half == "judge")]
        found = judged.groupby(["k", "model", "strategy"]).share.agg(["mean", "min"])
        print(f"\n## {metric} on {name}: the share kept, judged: mean over sets, and the worst\n")
        print(flat(pd.DataFrame(found.unstack(["model", "strategy"]))))
        choices = ps.choose(results, of=metric, over="mean")
        print("\n".join(["", *map(describe, choices)]))


def made(out: Path, rows: int) -> None:
    """Compare axes with raw dimensions, on pairs whose axes were fitted to other pairs."""
    embeddings = make_embeddings(rows, spectrum=Spectrum(noise=NOISE))
    fit, judge = torch.arange(rows).chunk(2)
    print(f"\n## Made pairs: {len(fit)} to fit to, {len(judge)} to judge\n")
    print(f"Effective rank of the images: {effective_rank(embeddings.image):.0f}")
    curves, needed = [], []
    for name, image, text in bases(embeddings, fit, out):
        features = ps.CaptionFeatures(
            unit_rows(image[judge]),
            unit_rows(text[judge]),
            torch.arange(len(judge)),
            model=name,
            dataset="made",
        )
        settings = ps.Settings(
            keep=MADE_KS,
            strategies=("first_k",),
            draws=20 if name == "raw" else 0,
            space="activations",  # there are no weights
        )
        results = ps.run_sweep([], [features], out / name, settings=settings, figures=False)
        points = results.table("results")
        points = points[points.metric == RECALL]
        points = points[points.strategy != "full"].assign(axes=name)
        curves.append(points)
        needed += [describe(choice) for choice in ps.choose(results, of=RECALL)]
    print(f"\n{RECALL}:\n")
    table = (
        pd.concat(curves)
        .groupby(["k", "axes", "strategy"])
        .value.mean()
        .unstack(["axes", "strategy"])
    )
    print(flat(table))
    print("\n".join(["", *needed]))


def bases(
    embeddings: MadeEmbeddings, fit: Tensor, out: Path
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the embeddings along axes that are fitted to some rows."""
    image, text = embeddings.image, embeddings.text
    yield "raw", image, text
    folder = out / "fitted-to"
    for part, rows in (("img_emb", image), ("text_emb", text)):
        (folder / part).mkdir(parents=True)
        np.save(folder / part / "0.npy", rows[fit].numpy())
    for axes in ("svd", "cross"):
        rotation = ps.rebase(axes=axes, data=[f"features:{folder}"], out=out / f"{axes}-axes")
        yield axes, image @ rotation.image, text @ rotation.text
    # As faiss does: principal axes of the images, and their mean is taken from images and texts.
    mean = image[fit].mean(dim=0)
    turn = torch.linalg.svd(image[fit] - mean, full_matrices=False).Vh.T
    yield "centred pca", (image - mean) @ turn, (text - mean) @ turn


def flat(table: pd.DataFrame) -> str:
    """Return a table in Markdown, with one name for each column."""
    names = [", ".join(map(str, column)) for column in table.columns]
    return table.round(3).set_axis(names, axis=1).to_markdown()


def describe(choice: Choice) -> str:
    """Say in a line what a choice found."""
    if choice.k is None:
        return f"- {choice.model}: no k is certain to keep 99 %; the closest: {choice.closest}"
    return (
        f"- {choice.model}: 99 % at k = {choice.k} by {choice.strategy}; judged {choice.judged}; "
        f"over random {choice.over_random}; needed by each {dict(choice.needed)}"
    )


if __name__ == "__main__":
    main()
