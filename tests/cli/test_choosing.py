"""``purescope choose``: what it prints for a folder of results, and refuses."""

import json
from pathlib import Path

import pytest

from purescope.features.files import save_features
from purescope.studies.synthetic import plant
from tests.cli.calls import QUICK, fails, run


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    planted = plant(effect=1.0, neurons=16, images=600, classes=3)
    data = save_features(planted.features, folder / "planted.npz")
    options = ("--space", "activations", "--keep", "4,8,12,14", "--draws", 2, *QUICK)
    strategies = ("--strategies", "pca,first_k", "--renormalise")
    command = ("sweep", "--data", f"features:{data}", *options, *strategies)
    assert run(*command, "--out", folder / "out") == 0
    return folder / "out"


def test_it_says_how_many_and_what_was_judged(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("choose", swept, "--keep-at-least", "60%", "--multiple-of", 2, "--json") == 0
    (choice,) = json.loads(capsys.readouterr().out)
    assert run("choose", swept, "--keep-at-least", "0.6", "--multiple-of", "2") == 0
    shown = capsys.readouterr().out
    assert choice["k"] and choice["strategy"] in ("pca", "first_k")
    assert f"{choice['k']} of 16 dimensions" in shown and "keep at least 60 % of" in shown
    judged = choice["judged"]
    quoted = f"{100 * judged['share']:.1f} % ({100 * judged['low']:.1f} to"
    assert quoted in shown.replace("\n", " ")
    over = choice["over_random"]
    assert (
        f"{100 * over['share']:+.2f} over random dimensions ({100 * over['low']:+.2f} to" in shown
    )
    assert "over raw truncation (" in shown and choice["over_first_k"]["share"] > 0
    # A sweep of features names no model.
    assert choice["command"] == "" and "purescope export" not in shown
    assert "`purescope rebase --data features:PATH` fits axes" in shown
    assert "Raw truncation was not measured" not in shown and "--renormalise" not in shown


def test_it_says_what_comes_closest(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("choose", swept, "--keep-at-least", "100%", "--over", "mean") == 0
    shown = capsys.readouterr().out
    assert "no number of dimensions that was measured keeps 100 %" in shown
    assert "The closest are " in shown and "purescope export" not in shown
    assert "names no model" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--keep-at-least", "0"), "--keep-at-least 0"),
        (("--keep-at-least", "101%"), "--keep-at-least 101%"),
        (("--keep-at-least", "most"), "such as 99% or 0.99"),
        (("--of", "recall"), "unknown of 'recall'"),
        (("--multiple-of", "5"), "no shares of accuracy at a multiple of 5"),
        (("--multiple-of", "0"), "--multiple-of"),
    ],
)
def test_what_is_refused(
    words: tuple[str, ...], message: str, swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in fails(capsys, "choose", swept, *words)


def test_a_folder_without_results_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no results in" in fails(capsys, "choose", tmp_path)
