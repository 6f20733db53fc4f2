"""``purescope sweep --data captions:...`` as a user types it, and ``choose`` after it."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from purescope.features.caption_files import save_caption_features
from purescope.features.captions import CaptionFeatures
from purescope.features.files import save_features
from purescope.studies.synthetic import plant
from purescope.tables.metrics import OF_IMAGES
from tests.cli.calls import QUICK, fails, run

pytestmark = pytest.mark.slow

ACTIVATIONS = ("--space", "activations", "--keep", "4,8,12", "--draws", 50, "--rotations", 2)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = torch.Generator().manual_seed(0)
    image = torch.nn.functional.normalize(torch.randn(60, 16, generator=generator), dim=1)
    own = torch.arange(60).repeat_interleave(2)
    features = CaptionFeatures(image, image[own], own, model="planted", dataset="sentences")
    return save_caption_features(features, tmp_path_factory.mktemp("data") / "sentences.npz")


@pytest.fixture(scope="module")
def swept(sentences: Path) -> Path:
    out = sentences.parent / "out"
    strategies = ("--strategies", "pca,first_k")
    data = ("--data", f"captions:{sentences}")
    assert run("sweep", *data, *ACTIVATIONS, *QUICK, *strategies, "--out", out) == 0
    return out


def test_it_shows_recall_of_every_strategy(
    sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = plant(effect=1.0, neurons=16, images=90, classes=3)
    classes = save_features(planted.features, tmp_path / "planted.npz")
    data = ("--data", f"features:{classes},captions:{sentences}")
    assert run("sweep", *data, *ACTIVATIONS, *QUICK, "--out", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    assert "planted: zero-shot accuracy in %" in shown
    for direction in ("Image", "Text"):
        assert f"planted: {direction} retrieval, recall at 5 in %, keeping 4 to 12" in shown
        assert f"planted: {direction} retrieval, recall at 5, mean over k" in shown
    assert "scaled to unit length again over the kept neurons" in shown
    assert "Captions take no part in the verdict" in shown
    table = pd.read_csv(tmp_path / "out" / "retrieval_comparisons.csv")
    area = table[(table.metric == "image_retrieval_recall@5") & (table.k == "area")]
    difference = area[area["first"] == "high_purity"].difference.iloc[0]
    assert f"{100 * difference:+.2f} points" in shown
    assert sorted(path.name for path in (tmp_path / "out").glob("result_*/*")) == [
        "effect_1_planted_accuracy_vs_sam.csv",
        "effect_1_planted_silhouette_vs_sam.csv",
    ]


def test_all_neurons_alone_are_scaled_if_asked(
    sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data", f"captions:{sentences}", "--no-renormalise")
    assert run("sweep", *data, *ACTIVATIONS, *QUICK, "--out", tmp_path) == 0
    assert "scaled to unit length over all neurons" in capsys.readouterr().out
    assert not pd.read_csv(tmp_path / "results.csv").renormalise.any()


def test_choose_reads_it(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("choose", swept, "--keep-at-least", "60%", "--of", "image_retrieval_recall@5") == 0
    shown = capsys.readouterr().out
    assert "of 16 dimensions" in shown and "60 % of the image_retrieval_recall@5" in shown
    assert "not scaled again" not in shown and "purescope rebase --data features:" in shown
    message = fails(capsys, "choose", swept)
    assert "no shares of accuracy" in message
    assert "unknown of 'recall'" in fails(capsys, "choose", swept, "--of", "recall")


def test_metrics_of_images_are_shown_and_chosen_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = plant(effect=1.0, neurons=16, images=90, classes=3)
    data = ("--data", f"features:{save_features(planted.features, tmp_path / 'planted.npz')}")
    options = ("--strategies", "svd,svd@2", "--metrics", "all")
    out = tmp_path / "out"
    assert run("sweep", *data, *ACTIVATIONS, *QUICK, *options, "--out", out) == 0
    shown = capsys.readouterr().out
    for name in ("Vote of the 5 nearest images", "Mean average precision", "linear probe"):
        assert f"{name}, mean over k" in shown
    assert "mean average precision, mean over k, of svd@2 minus svd: " in shown
    assert "scaled to unit length again over the kept neurons, and each searches" in shown
    metrics = pd.read_csv(out / "image_comparisons.csv").metric.unique()
    assert [*metrics] == [*OF_IMAGES]
    assert run("choose", out, "--of", "knn_accuracy@20", "--keep-at-least", "50%") == 0
    assert "not scaled again" not in capsys.readouterr().out
    assert run("choose", out, "--keep-at-least", "50%") == 0
    assert "not scaled again" in capsys.readouterr().out
    unknown = fails(capsys, "sweep", *data, *ACTIVATIONS, "--metrics", "nn", "--out", out)
    assert "unknown metric 'nn'" in unknown and "knn" in unknown


def test_metrics_that_were_not_measured_are_named(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = fails(capsys, "choose", swept, "--of", "mean_average_precision")
    assert "no shares of mean_average_precision" in message and "--metrics map" in message


def test_what_is_refused(
    sentences: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ("--out", tmp_path / "out")
    missing = f"captions:{tmp_path / 'gone'}"
    assert "there is no" in fails(capsys, "sweep", "--data", missing, *ACTIVATIONS, *out)
    data = ("--data", f"captions:{sentences}")
    labels = fails(capsys, "sweep", *data, *ACTIVATIONS, "--strategies", "importance", *out)
    assert "strategy 'importance' for captions" in labels
    message = fails(capsys, "evidence", *data, "--space", "activations", "--draws", 2, *out)
    assert "has captions, not classes" in message and "purescope sweep" in message
    images = fails(capsys, "sweep", *data, *ACTIVATIONS, "--metrics", "map", *out)
    assert "the metric 'map' for captions" in images
    classes = ("--classnames", sentences)
    assert "would not be used" in fails(capsys, "sweep", *data, *ACTIVATIONS, *classes, *out)
    assert not (tmp_path / "out").exists()
