"""Every command, on small planted and small real files: what it ends with, shows and writes."""

import contextlib
import io
import shlex
from collections.abc import Iterator
from pathlib import Path

from purescope.cli import main
from tests.goldens import describe

_FEW = "--draws 4 --resamples 50 --rotations 20 --no-figures --no-report"
_PLANTED = f"planted.pt --data features:planted.npz --keep 6,12,18 {_FEW}"

COMMANDS: dict[str, list[str]] = {
    "sweep": [
        f"sweep {_PLANTED} --rotations 200 --strategies all --out sweep",
        "sweep A=cc3m_clip.pt B=cc3m_laclip.pt --data folder:my_images,mine=features:mine.npz "
        "--keep 6,12 --draws 3"
        " --resamples 50 --rotations 20 --protocol paper --no-figures --no-report --out two",
        f"sweep {_PLANTED} --space centred --measure r2 --towers image --ablation mean --seed 3 "
        f"--out variant",
        f"sweep {_PLANTED} --space activations --towers rank_mean --ablation resample "
        f"--renormalise --out other",
        f"sweep --data features:planted.npz --space activations {_FEW} --out alone",
        f"sweep planted.pt --data captions:sentences.npz --keep 6,12,18 {_FEW} --out retrieval",
        f"sweep {_PLANTED} --strategies svd,svd@2 --metrics all --out by-image",
    ],
    "evidence": [
        f"evidence {_PLANTED} --rotations 5 --strategies high_purity,low_purity,svd --out evidence"
    ],
    "compare": [
        f"compare cc3m_clip.pt planted.pt --data features:planted.npz --keep 6,12,18 {_FEW} --out "
        f"compare"
    ],
    "purity": [
        "purity planted.pt bundled:clip --measure l1 --measure l2 --measure linf --measure median "
        "--measure signed_mean --measure r2 --measure interference --measure superposition "
        "--measure pearson --measure polysemanticity --out purity",
        "purity planted.pt --space centred --data features:planted.npz",
    ],
    "importance": [
        "importance planted.pt --data features:planted.npz --per-class --out importance",
        "importance planted.pt --data features:planted.npz --ablation resample --seed 2 --out "
        "resampled",
    ],
    "layers": ["layers cc3m_clip.pt my_siglip --data folder:my_images --no-report --out layers"],
    "track": [
        "track runs --data folder:my_images --keep 6,12 --draws 4 --no-figures --no-report --out "
        "track"
    ],
    "reproduce": [
        "reproduce cc3m_laclip.pt --data-root DATA --data cifar10 --draws 3 --resamples 50 "
        "--rotations 20 --no-figures --no-report --out reproduce"
    ],
    "demo": ["demo --out demo"],
    "report": ["report two"],
    "plot": ["plot alone --style paper --venue cvpr --format pdf --out paper"],
    "convert": ["convert cc3m_laclip.pt safe", "purity safe"],
    "rebase": [
        "rebase planted.pt --axes cross --out rebase",
        "rebase --data features:planted.npz --fit-on 0.5 --seed 1 --out rebase-features",
    ],
    "choose": [
        "choose alone --keep-at-least 50% --over mean",
        "choose alone --json",
        "choose retrieval --of image_retrieval_recall@5 --keep-at-least 50%",
    ],
    "export": [
        "export planted.pt --keep 6 --rotation rebase --out export",
        "export my_open_clip --keep 6 --order high_purity --to open_clip --out forms",
        "export my_siglip --keep 6 --out wrong",
    ],
    "shrink": [
        "shrink vectors.npy --by axes --keep 8 --out short/vectors.npy",
        "shrink vectors.npy --by axes --keep 8 --out short/vectors.npy",
        "shrink laion items.parquet vectors.npz --by axes --keep 4 --dtype float32 --column title "
        "--array other --no-normalise --out shrunk",
    ],
    "index": [
        "index vectors.npy --keep 128,512 --codes f32,int8 --queries 10 --resamples 50 --no-figures "
        "--no-report --out searched",
        "index vectors.npz --out wrong",
        "index vectors.npy --axes cross --out wrong",
    ],
    "models": ["models"],
    "datasets": ["datasets", "datasets --check DATA"],
    "cache": [f"cache {what} --cache features-kept" for what in ("ls", "verify", "rm --all", "ls")],
    "errors": [
        "sweep planted.pt --data features:planted.npz --keep 99 --out wrong",
        "sweep planted.pt --data features:planted.npz --strategies best --out wrong",
        "sweep planted.pt --data folder:nowhere --out wrong",
        "sweep cut.pt --data features:planted.npz --out wrong",
        "purity pickled.pt",
        "report EMPTY",
        "shrink vectors.npy --by axes --keep 9 --out short/vectors.npy",
        "shrink items.parquet --by axes --keep 9 --out short.parquet",
        "shrink mine.npz --by axes --keep 9 --out short.npz",
        "sweep planted.pt --data features:planted.npz --keep 7 --draws 2 --out sweep",
    ],
}
"""What is run for each golden, in this order: some commands read what others wrote."""


def told(line: str) -> Iterator[str]:
    """Run a command, and describe what it ends with, what it shows, and the folder that it
    writes.
    """
    words = shlex.split(line)
    shown, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        code = ended(words)
    yield f"$ purescope {line}"
    yield f"exit code {code}"
    lines = describe.screen(shown.getvalue())
    yield from (
        sorted(lines) if line.startswith("cache ls") else lines
    )  # by last use: some within one tick of the clock
    if code or "no report: " in said.getvalue():
        yield from describe.screen(said.getvalue())
    if code == 0:
        out = (
            words[words.index("--out") + 1]
            if "--out" in words
            else words[-1]
            if words[0] == "convert"
            else None
        )
        yield from describe.folder(Path(out)) if out else []
    yield ""


def ended(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
