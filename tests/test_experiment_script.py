"""The experiment's own door: its settings, its core functions by name, its files where its readers
look for them.
"""

import dataclasses
import importlib.util
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch

import purescope as ps
from purescope.datasets.dataset import Dataset
from purescope.errors import InputError
from purescope.features.cache import default_folder
from tests import undrawn
from tests.oracles import experiment_order
from tests.words import few_words

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "experiments/2_neuron_pruning/run_eval_sam_sweep.py"


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    few_words(monkeypatch)


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_eval_sam_sweep", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def flags() -> Dataset:
    return ps.load_dataset("bundled:flags")


@pytest.fixture(scope="module")
def model() -> ps.Model:
    return ps.load_model("bundled:clip")


def test_settings_stand_at_the_top(script) -> None:
    assert script.sam_values == [200, 250, 300, 350, 400, 450, 500]
    for name in ("ckpt_path", "DATASETS", "device", "batch_size", "save_dir_base"):
        assert hasattr(script, name)


def test_core_functions_are_the_experiment_s(script) -> None:
    generator = torch.Generator().manual_seed(0)
    image, text = (torch.randn(64, width, generator=generator) for width in (48, 32))
    torch.testing.assert_close(script.normalize_tensor(image).norm(dim=1), torch.ones(64))
    for find, largest in (
        (script.find_min_off_diagonal_sum, False),
        (script.find_max_off_diagonal_sum, True),
    ):
        expected = experiment_order(image, text, 20, largest=largest)
        found = find(image, text, sam=20)
        assert isinstance(found, list) and found == expected


@pytest.mark.parametrize(
    ("image", "text", "turned"),
    [
        ((48, 64), (32, 64), "both"),
        ((48, 64), (64, 32), "the image projection"),
        ((64, 48), (32, 64), "the text projec"),
    ],
)
def test_projections_that_lie_the_other_way_round_are_told(image, text, turned, script) -> None:
    for find in (script.find_min_off_diagonal_sum, script.find_max_off_diagonal_sum):
        with pytest.raises(
            InputError,
            match=rf"neurons in the image projection(?s:.)*\[neuron, width\]; transpose {turned}",
        ):
            find(torch.ones(image), torch.ones(text), sam=20)


def test_evaluate_zeroshot_classification_agrees_with_the_sweep(script, model, flags) -> None:
    results = script.evaluate_zeroshot_classification(model, flags, list(flags.classes), sam=300)
    table = ps.sweep(
        ps.extract(model, flags, protocol="paper", cache=default_folder()),
        model.projections,
        keep=300,
        draws=0,
        resamples=20,
    )
    values = table.set_index(["strategy", "metric"]).value
    for column, strategy in (
        ("Full Features", "full"),
        ("Min Sparse Features", "high_purity"),
        ("Max Sparse Features", "low_purity"),
    ):
        for name, metric in (("Accuracy", "accuracy"), ("Silhouette Score", "silhouette")):
            assert results[column][name] == pytest.approx(values[strategy, metric], abs=1e-6)


def test_analyze_neuron_importance_is_one_evaluation_without_each_neuron(
    script, model, flags
) -> None:
    ranked = script.analyze_neuron_importance(model, flags)
    importances = [importance for _, importance in ranked]
    assert (
        sorted(neuron for neuron, _ in ranked) == list(range(512))
        and importances == sorted(importances)[::-1]
    )
    features = ps.extract(model, flags, protocol="paper", cache=default_folder())
    image, text = features.image.double(), features.text.double()

    def right(image: torch.Tensor) -> int:
        return int(((image @ text.T).argmax(dim=1) == features.labels).sum())

    for neuron, importance in (*ranked[:5], *ranked[250:255], *ranked[-5:]):
        without = right(image.index_fill(1, torch.tensor([neuron]), 0))
        assert importance == (right(image) - without) / len(image)


def test_the_script_writes_the_experiment_s_files(script, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run_eval_sam_sweep.py").write_text("# a folder that is not empty")

    def run_sweep(*given: Any, **options: Any) -> ps.Results:
        results = undrawn.run_sweep(*given, **options, rotations=0)
        (tmp_path / "report.html").write_text("where the page would be")
        return results

    monkeypatch.setattr(ps, "run_sweep", run_sweep)
    monkeypatch.setattr(ps, "Settings", partial(ps.Settings, draws=2, resamples=20))
    script.ckpt_path, script.DATASETS, script.sam_values = (
        "CC3M LaCLIP=bundled:laclip",
        ["bundled:flags"],
        [200, 500],
    )
    script.main()
    wide = pd.read_csv("result_cc3m_laclip/flags_laclip_accuracy_vs_sam.csv")
    assert list(wide) == [
        "sam",
        "Model",
        "Full Features",
        "Min Sparse Features",
        "Max Sparse Features",
    ]
    assert wide.sam.tolist() == [200, 500] and set(wide.Model) == {"CC3M LaCLIP"}
    said = capsys.readouterr().out
    assert "CC3M LaCLIP: zero-shot accuracy" in said
    assert "CC3M LaCLIP: whether high-purity neurons keep more is not decided" in said
    assert [line.split()[-1] for line in said.split("\n")[-3:-1]] == [
        str(tmp_path / "report.html"),
        str(tmp_path),
    ]


def test_features_are_kept_for_other_sam_values(
    script, model, flags, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PURESCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ps, "run_sweep", partial(undrawn.run_sweep, rotations=0))
    monkeypatch.setattr(ps, "Settings", partial(ps.Settings, draws=2, resamples=20))
    script.ckpt_path, script.DATASETS, script.sam_values = "bundled:clip", ["bundled:flags"], [300]
    script.main()
    first = script.evaluate_zeroshot_classification(model, flags, sam=300)
    assert any((tmp_path / "cache").iterdir())

    def encode(*_: object) -> torch.Tensor:
        raise AssertionError("encoded again")

    deaf = dataclasses.replace(model, encode_image=encode, encode_text=encode)
    assert script.evaluate_zeroshot_classification(deaf, flags, sam=300) == first
    script.evaluate_zeroshot_classification(deaf, flags, sam=200)
    script.keep_features = False
    with pytest.raises(AssertionError, match="encoded again"):
        script.evaluate_zeroshot_classification(deaf, flags, sam=200)
