"""Evidence and comparison as runs: their tables, what they agree with, and that a stopped one goes
on.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from purescope.cli import main, options
from purescope.cli.evidence import _variants_sentence
from purescope.cli.evidence import evidence as evidence_command
from purescope.features.features import Features
from purescope.features.files import save_features
from purescope.files.manifest import read_manifest
from purescope.maths.overlaps import Projections
from purescope.models.model import Model, Preprocess
from purescope.runs import doors
from purescope.runs.inputs import Settings
from purescope.runs.pairs import measure_pair
from purescope.studies.comparisons import compare_models
from purescope.studies.judging import judge
from purescope.studies.nulls import null_table
from purescope.studies.settings import all_strategies
from purescope.studies.synthetic import plant
from purescope.tables.files import check_table, read_table
from purescope.tables.schemas import COMPARISONS, RIVALS
from tests.checkpoints import laclip_tensors, write_laclip
from tests.undrawn import run_compare, run_evidence, run_sweep

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*(told from chance|recall is 0)"),
]

NEURONS = 32
SETTINGS = Settings(
    keep=(8, 16, 24), draws=60, resamples=200, strategies=("high_purity", "low_purity", "svd")
)
TABLES = ("results", "comparisons", "curves", "nulls", "variants", "importance", "correlations")


def model(label: str, seed: int, weights: Projections | str | None = None) -> Model:
    planted = plant(1.0, neurons=NEURONS, images=90, seed=seed)
    return Model(
        label=label,
        spec="made by hand",
        weight_space=planted.projections if weights is None else weights,
        neurons=NEURONS,
        preprocess=Preprocess(2, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        encode_image=lambda pixels: pixels.flatten(1)[:, :NEURONS],
        encode_text=lambda texts: torch.zeros(len(texts), NEURONS),
        identity={"weights": label},
    )


def data(name: str, seed: int) -> Features:
    made = plant(1.0, neurons=NEURONS, images=90, signal=0.5, seed=seed).features
    return Features(made.image, made.text, made.labels, made.classes, "unknown", name)


MODELS, DATA = [model("One", 1), model("Two", 2)], [data("first", 1), data("second", 2)]


class StopHere(BaseException): ...


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pd.DataFrame]]:
    out = tmp_path_factory.mktemp("evidence")
    return out, run_evidence(MODELS, DATA, out, settings=SETTINGS, rotations=5).tables


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, pd.DataFrame]]:
    out = tmp_path_factory.mktemp("compared")
    return out, run_compare(*MODELS, DATA, out, settings=SETTINGS).tables


@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_of_every_pair_and_on_disk(evidence: Any, name: str) -> None:
    out, tables = evidence
    pairs = {(m.label, d.dataset) for m in MODELS for d in DATA}
    assert set(tables[name][["model", "dataset"]].itertuples(index=False, name=None)) == pairs
    pd.testing.assert_frame_equal(
        pd.read_parquet(out / f"{name}.parquet"),
        pd.DataFrame(tables[name]),
        check_dtype=False,
        check_column_type=False,
    )
    assert len(pd.read_csv(out / f"{name}.csv")) == len(tables[name])


def test_evidence_is_the_sweep_and_more(evidence: Any, tmp_path: Path) -> None:
    table = pd.DataFrame(run_sweep(MODELS, DATA, tmp_path, settings=SETTINGS).table("results"))
    pd.testing.assert_frame_equal(pd.DataFrame(evidence[1]["results"]), table, check_exact=True)
    pd.testing.assert_frame_equal(
        evidence[1]["comparisons"], read_table(tmp_path, COMPARISONS), check_exact=True
    )


def test_one_neuron_each_and_all_of_them(evidence: Any) -> None:
    importance = evidence[1]["importance"]
    for _, part in importance.groupby(["model", "dataset"]):
        assert sorted(part.neuron) == list(range(NEURONS))


def test_the_verdict_reads_what_was_written(evidence: Any) -> None:
    out, tables = evidence
    verdict = judge(tables["results"], read_table(out, COMPARISONS), model="One")
    assert [finding.about for finding in verdict.by_dataset] == ["first", "second"]
    assert "Over all k and 2 datasets" in verdict.sentence


def test_a_stopped_run_goes_on(evidence: Any, tmp_path: Path) -> None:
    seen: list[str] = []

    def stopping(found: Any, *arguments: Any, **options: Any) -> pd.DataFrame:
        seen.append(found.features.model)
        if len(seen) == 3:
            raise StopHere
        return null_table(found, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopHere):
        patch.setattr(doors, "null_table", stopping)
        run_evidence(MODELS, DATA, tmp_path, settings=SETTINGS, rotations=5)
    tables = run_evidence(MODELS, DATA, tmp_path, settings=SETTINGS, rotations=5).tables
    for name in TABLES:
        pd.testing.assert_frame_equal(tables[name], evidence[1][name], check_exact=True)


def test_a_model_without_projections_is_judged_by_its_activations(tmp_path: Path) -> None:
    bare = model("Bare", 1, "ends without a projection")
    settings = Settings(keep=(8, 16), draws=20, resamples=50, space="centred")
    tables = run_evidence([bare], DATA[:1], tmp_path, settings=settings, rotations=3).tables
    assert "gaussian weights" not in set(tables["nulls"].null)
    assert "weights" not in set(tables["variants"].choice)
    assert tables["importance"].total_overlap.isna().all()
    assert tables["correlations"].empty


def test_the_default_is_every_strategy_and_a_thousand_draws() -> None:
    settings = doors.evidence_settings()
    assert list(settings.strategies) == all_strategies()
    assert settings.draws == 1000


def test_the_command_has_the_same_defaults() -> None:
    context = evidence_command.make_context(
        "evidence", ["bundled:clip", "--data", "x", "--out", "y"]
    )
    assert options.pop_settings(dict(context.params)) == doors.evidence_settings()


def test_two_models_are_compared_on_each_data_set(compared: Any) -> None:
    out, tables = compared
    rivals = check_table(tables["rivals"], RIVALS)
    assert set(rivals.dataset) == {"first", "second", "all"}
    assert set(rivals["first"]) == {"One"}
    assert set(rivals.second) == {"Two"}
    full = (
        tables["results"]
        .query("strategy == 'full' and metric == 'accuracy'")
        .set_index(["model", "dataset"])
        .value
    )
    for name in ("first", "second"):
        found = rivals[
            (rivals.dataset == name) & (rivals.strategy == "full") & (rivals.metric == "accuracy")
        ].iloc[0]
        assert found.difference == pytest.approx(full["One", name] - full["Two", name])
    pd.testing.assert_frame_equal(read_table(out, RIVALS), rivals, check_exact=True)
    assert read_manifest(out)["tables"] == [*tables]


@pytest.mark.parametrize("stopped", ["at the last pair", "at the comparison"])
def test_a_stopped_comparison_goes_on(
    stopped: str, compared: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = compared[1]
    seen: list[str] = []

    def stopping(*arguments: Any) -> Any:
        seen.append(stopped)
        if len(seen) == (2 if stopped == "at the comparison" else 4):
            raise StopHere
        return (compare_models if stopped == "at the comparison" else measure_pair)(*arguments)

    name = (
        "runs.doors.compare_models" if stopped == "at the comparison" else "runs.run.measure_pair"
    )
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StopHere):
        patch.setattr(f"purescope.{name}", stopping)
        run_compare(*MODELS, DATA, tmp_path / "out", settings=SETTINGS)
    for _ in range(2):  # what is missing, and then from what is on disk
        tables = run_compare(*MODELS, DATA, tmp_path / "out", settings=SETTINGS).tables
        for table in expected:
            pd.testing.assert_frame_equal(tables[table], expected[table], check_exact=True)
        monkeypatch.setattr(doors, "compare_models", None)


def test_rotations_are_as_many_as_asked_for_and_every_option_is_varied(evidence: Any) -> None:
    nulls, variants = evidence[1]["nulls"], evidence[1]["variants"]
    assert set(nulls[nulls.null.isin(["rotation", "shuffled purity"])].draws) == {5}
    assert set(variants.option) == {
        "as swept",
        "measure",
        "towers",
        "space",
        "ablation",
        "renormalise",
    }


def test_the_sweep_itself_is_no_variant_of_it(evidence: Any) -> None:
    variants = evidence[1]["variants"]
    variants = variants[variants.model == variants.model.iloc[0]]
    said = _variants_sentence(variants, str(variants.model.iloc[0]))
    changed = [row.percentile for row in variants.itertuples() if row.option != "as swept"]
    above, below = sum(p > 97.5 for p in changed), sum(p < 2.5 for p in changed)
    assert said.startswith(f"In {len(changed)} variants (") and len(changed) < len(variants)
    assert f"random orders in {above}, below" in said and f"of them in {below}, among" in said


@pytest.mark.parametrize("command", ["evidence", "compare"])
def test_the_commands(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = plant(1.0, neurons=24, images=60, seed=1).features
    save_features(made, tmp_path / "made.npz")
    models = [
        str(write_laclip(tmp_path / f"{name}.pt", laclip_tensors(seed=name))) for name in (1, 2)
    ]
    few = [
        "--draws",
        "30",
        "--resamples",
        "50",
        "--keep",
        "8,16",
        "--strategies",
        "high_purity,low_purity",
    ]
    few += ["--rotations", "2", "--no-figures", "--no-report"]
    spec = f"features:{tmp_path / 'made.npz'}"
    try:
        main([command, *models, "--data", spec, "--out", str(tmp_path / "out"), *few])
    except SystemExit as end:
        assert not end.code
    said = " ".join(capsys.readouterr().out.split())
    for words in {"evidence": ("rotated, 95 %", "In "), "compare": ("difference (95 % interval)",)}[
        command
    ]:
        assert words in said
    assert "high-purity neurons keep" in said
