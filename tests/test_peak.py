"""The memory that a whole command takes besides its features, measured in a separate process."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROWS, NEURONS, CLASSES = 30_000, 256, 4

# Imports and the first matrix product take memory that does not grow with the features, so both are
# done before measuring.
PEAK = """
import resource, sys, torch
import pandas, purescope.runs
from purescope.cli import main
torch.set_num_threads(2)
torch.ones(600, 600) @ torch.ones(600, 600)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert not stop.code
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator, labels = np.random.default_rng(0), np.arange(ROWS) % CLASSES
    text = generator.standard_normal((CLASSES, NEURONS), dtype=np.float32)
    image = generator.standard_normal((ROWS, NEURONS), dtype=np.float32) + text[labels]
    path = tmp_path_factory.mktemp("peak") / "large.npz"
    np.savez(path, image=image, text=text, labels=labels)
    return path


def test_a_sweep_holds_the_features_once(file: Path, tmp_path: Path) -> None:
    """It also holds the results for each image, and blocks, whose size does not depend on the
    number of images.
    """
    measured = ["--space", "activations", "--keep", "64,128", "--draws", "12", "--resamples", "20"]
    command = [
        "sweep",
        "--data",
        f"features:{file}",
        *measured,
        "--no-figures",
        "--no-report",
        "--out",
        tmp_path,
    ]
    run = subprocess.run(
        [sys.executable, "-c", PEAK, *command], capture_output=True, text=True, check=True
    )
    assert float(run.stdout.split()[-1]) < 1.5 * ROWS * NEURONS * 4 + 100e6
