"""``purescope purity`` as a user types it."""

import numpy as np
import pandas as pd
import pytest

from purescope.datasets import load_dataset
from purescope.features.extraction import extract
from purescope.maths.overlaps import activation_space, overlap
from purescope.models import load_model
from tests.cli.calls import run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vocabulary")]


def test_purity_ranks_every_neuron(tmp_path, capsys) -> None:
    assert run("purity", "bundled:clip", "--out", tmp_path) == 0
    assert "overlap of 512 neurons" in capsys.readouterr().out
    neurons = pd.read_csv(tmp_path / "purity_bundled_clip.csv")
    assert sorted(neurons.neuron) == list(range(512))
    assert neurons.total_overlap.is_monotonic_increasing
    np.testing.assert_allclose(
        neurons.total_overlap, 511 * (neurons.image_overlap + neurons.text_overlap), rtol=1e-12
    )
    assert (tmp_path / "purity_bundled_clip.png").exists() and (
        tmp_path / "purity_bundled_clip.svg"
    ).exists()


def test_purity_ends_with_what_to_type_next(tmp_path, capsys) -> None:
    assert run("purity", "My model=bundled:clip") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert (
        last
        == "Prune by purity: purescope sweep 'My model=bundled:clip' --data bundled:flags --out "
        "results"
    )
    assert run("purity", "bundled:clip", "--out", tmp_path / "neurons") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Report: purescope report {tmp_path / 'neurons'}"
    assert run("report", tmp_path / "neurons") == 0
    assert (tmp_path / "neurons" / "report.html").is_file()


def test_purity_of_activations_is_over_a_dataset(folder, tmp_path, capsys) -> None:
    assert (
        run(
            "purity",
            "bundled:clip",
            "--space",
            "centred",
            "--data",
            f"folder:{folder}",
            "--out",
            tmp_path,
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "centred on pets" in said
    neurons = pd.read_csv(tmp_path / "purity_bundled_clip_centred_on_pets.csv")
    features = extract(load_model("bundled:clip"), load_dataset(f"folder:{folder}"))
    expected = overlap(activation_space(features.image, features.text, centred=True).image)
    assert neurons.sort_values("neuron").image_overlap.tolist() == pytest.approx(
        expected.tolist(), abs=1e-5
    )


@pytest.mark.parametrize("options", [("--space", "activations"), ("--data", "bundled:flags")])
def test_purity_of_activations_needs_a_dataset_and_weights_none(options, capsys) -> None:
    assert run("purity", "bundled:clip", *options) == 2
    assert "give --data with --space activations or centred" in capsys.readouterr().err


def test_purity_shows_the_measures_asked_for(tmp_path, capsys) -> None:
    assert (
        run("purity", "bundled:clip", "--measure", "linf", "--measure", "r2", "--out", tmp_path)
        == 0
    )
    neurons = pd.read_csv(tmp_path / "purity_bundled_clip.csv")
    assert {"image_linf", "text_linf", "image_r2", "text_r2"} <= set(neurons)
