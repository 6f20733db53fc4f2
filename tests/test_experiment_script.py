"""The experiment's own door: its settings, its core functions by name, its files where its readers look for them."""

import importlib.util
from functools import partial
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import torch

import purescope as ps
from purescope.datasets import Dataset
from purescope.runs import Settings
from tests import undrawn
from tests.oracles import experiment_order

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "experiments/2_neuron_pruning/run_eval_sam_sweep.py"


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
    for find, largest in ((script.find_min_off_diagonal_sum, False), (script.find_max_off_diagonal_sum, True)):
        expected = experiment_order(image, text, 20, largest=largest)
        assert find(image, text, sam=20).tolist() == expected


def test_evaluate_zeroshot_classification_agrees_with_the_sweep(script, model, flags) -> None:
    results = script.evaluate_zeroshot_classification(model, flags, list(flags.classes), sam=300)
    table = ps.sweep(ps.extract(model, flags, protocol="paper"), model.projections, keep=300, draws=0, resamples=20)
    values = table.set_index(["strategy", "metric"]).value
    for column, strategy in (
        ("Full Features", "full"),
        ("Min Sparse Features", "high_purity"),
        ("Max Sparse Features", "low_purity"),
    ):
        for metric in ("accuracy", "silhouette"):
            assert results[column][metric] == pytest.approx(values[strategy, metric], abs=1e-6)


def test_analyze_neuron_importance_is_one_evaluation_without_each_neuron(script, model, flags) -> None:
    ranked = script.analyze_neuron_importance(model, flags)
    importances = [importance for _, importance in ranked]
    assert sorted(neuron for neuron, _ in ranked) == list(range(512)) and importances == sorted(importances)[::-1]
    features = ps.extract(model, flags, protocol="paper")
    image, text = features.image.double(), features.text.double()

    def right(image: torch.Tensor) -> int:
        return int(((image @ text.T).argmax(dim=1) == features.labels).sum())

    for neuron, importance in (*ranked[:5], *ranked[250:255], *ranked[-5:]):
        without = right(image.index_fill(1, torch.tensor([neuron]), 0))
        assert importance == (right(image) - without) / len(image)


def test_the_script_writes_the_experiment_s_files(script, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run_eval_sam_sweep.py").write_text("# a folder that is not empty")
    monkeypatch.setattr(ps, "run_sweep", undrawn.run_sweep)
    script.Settings = partial(Settings, draws=2, resamples=20)
    script.ckpt_path, script.DATASETS, script.sam_values = "CC3M LaCLIP=bundled:laclip", ["bundled:flags"], [200, 500]
    script.main()
    wide = pd.read_csv("result_cc3m_laclip/flags_laclip_accuracy_vs_sam.csv")
    assert list(wide) == ["sam", "Model", "Full Features", "Min Sparse Features", "Max Sparse Features"]
    assert wide.sam.tolist() == [200, 500] and set(wide.Model) == {"CC3M LaCLIP"}
    assert "CC3M LaCLIP" in capsys.readouterr().out
