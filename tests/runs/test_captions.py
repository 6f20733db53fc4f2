"""A run with captions: alone and beside classes, what it writes, chooses and refuses."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from purescope.errors import InputError
from purescope.features.caption_files import save_caption_features
from purescope.features.captions import CaptionFeatures
from purescope.plots.folder import draw_folder
from purescope.reduce.choosing import choose
from purescope.report.writing import write_report
from purescope.runs import run as _run
from purescope.runs.inputs import Settings, Sources
from purescope.studies.synthetic import plant
from purescope.tables.files import write_table
from purescope.tables.metrics import RETRIEVAL_METRICS, SHOWN
from purescope.tables.results import Results, open_results
from purescope.tables.schemas import RESULTS
from tests.undrawn import run_evidence, run_sweep

pytestmark = pytest.mark.slow

NEURONS, IMAGES = 16, 40
SETTINGS = Settings(keep=[4, 8, 12], draws=8, resamples=30, space="activations")
PLANTED = plant(effect=1.0, neurons=NEURONS, images=90, classes=3).features
CLASSES = PLANTED.dataset


def captions(noise: float = 0.1) -> CaptionFeatures:
    generator = torch.Generator().manual_seed(1)
    own = torch.arange(IMAGES).repeat_interleave(2)
    image = torch.randn(IMAGES, NEURONS, generator=generator)
    text = image[own] + noise * torch.randn(len(own), NEURONS, generator=generator)
    unit = (torch.nn.functional.normalize(rows, dim=1) for rows in (image, text))
    return CaptionFeatures(*unit, own, model=PLANTED.model, dataset="sentences")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Results:
    out = tmp_path_factory.mktemp("mixed") / "out"
    return run_sweep([], [PLANTED, captions()], out, settings=SETTINGS)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Captions only, from a file, with figures and the report."""
    folder = tmp_path_factory.mktemp("alone")
    path = save_caption_features(captions(), folder / "sentences.npz")
    return _run.run_sweep([], [f"captions:{path}"], folder / "out", settings=SETTINGS)


def test_captions_stand_beside_classes(mixed: Results) -> None:
    table = mixed.table("results")
    metrics = table.groupby("dataset").metric.unique().map(set)
    assert metrics["sentences"] == set(RETRIEVAL_METRICS)
    assert "accuracy" in metrics[CLASSES] and not metrics[CLASSES] & set(RETRIEVAL_METRICS)
    assert set(table[table.renormalise].dataset) == {"sentences"}
    assert mixed.metrics[0] == "accuracy" and mixed.metrics[-1] == "text_retrieval_ndcg@10"
    for name in ("retrieval_comparisons", "retrieval_curves"):
        assert set(mixed.table(name).dataset) == {"sentences"}
    for name in ("comparisons", "curves", "importance"):
        assert set(mixed.table(name).dataset) == {CLASSES}
    assert set(mixed.table("shares").dataset) == {CLASSES, "sentences"}
    verdict = mixed.verdicts["planted"]
    assert [finding.about for finding in verdict.by_dataset] == [CLASSES]
    assert mixed.manifest["settings"]["renormalise"] == "captions"
    entry = mixed.manifest["datasets"][1]
    assert (entry["images"], entry["captions"]) == (IMAGES, 2 * IMAGES)


def test_captions_change_no_number_of_classes(mixed: Results, tmp_path: Path) -> None:
    classes = run_sweep([], [PLANTED], tmp_path, settings=SETTINGS)
    for name in ("results", "verdicts", "standings", "mean_points"):
        table = mixed.table(name)
        if "dataset" in table:
            table = table[table.dataset != "sentences"]
        pd.testing.assert_frame_equal(
            pd.DataFrame(table.reset_index(drop=True)), pd.DataFrame(classes.table(name))
        )
    assert not list(tmp_path.glob("retrieval_*"))
    assert classes.manifest["settings"]["renormalise"] is False


def test_the_same_run_goes_on(mixed: Results) -> None:
    before = (mixed.path / "results.parquet").read_bytes()
    again = run_sweep([], [PLANTED, captions()], mixed.path, settings=SETTINGS)
    assert (mixed.path / "results.parquet").read_bytes() == before
    opened = open_results(mixed.path)
    for name in ("retrieval_comparisons", "retrieval_curves", "shares"):
        pd.testing.assert_frame_equal(opened.table(name), again.table(name))


def test_a_mixed_folder_has_figures_of_both(mixed: Results, tmp_path: Path) -> None:
    rows = mixed.table("results")
    shown = rows[(rows.dataset == "sentences") | (rows.k == 8) | (rows.strategy == "full")]
    write_table(shown, tmp_path, RESULTS)
    drawn = draw_folder(tmp_path, tmp_path / "figures", ["svg"])
    names = {path.stem for path in drawn.written}
    assert {"neuron_pruning_effect_1", "retrieval_sentences"} <= names
    assert not {"neuron_pruning_sentences", "purity_gap_sentences"} & names


def test_a_page_shows_both(mixed: Results) -> None:
    page = write_report(mixed.path).read_text(encoding="utf-8")
    assert "Image retrieval, recall at 5" in page and "40 images, 80 captions" in page
    assert "90 images, 3 classes" in page and "of the image recall at 5 on sentences" in page


def test_captions_alone_are_a_whole_run(alone: Results) -> None:
    assert alone.verdicts == {} and alone.datasets == ["sentences"]
    assert [path.name for path in alone.figures] == [
        "retrieval_sentences.png",
        "retrieval_sentences.svg",
    ]
    assert alone.manifest["settings"]["renormalise"] is True
    assert alone.report is not None
    page = alone.report.read_text(encoding="utf-8")
    assert "Text retrieval, recall at 5" in page and "What can go" in page
    assert "no report" not in json.dumps(alone.manifest["notes"])
    assert "retrieval" in (open_results(alone.path)._repr_html_() or "").lower()
    assert not list(alone.path.glob("result_*"))  # the experiment's files are about classes


def test_the_fewest_dimensions_for_retrieval_are_chosen(alone: Results, mixed: Results) -> None:
    for results in (alone, mixed):
        (choice,) = choose(results, keep_at_least=0.5, of=SHOWN[0])
        assert choice.k and choice.strategy and choice.judged and choice.as_deployed
        assert list(choice.datasets) == ["sentences"] and choice.judged.share > 0.5
        shares = results.table("shares")
        chosen = shares[(shares.metric == SHOWN[0]) & (shares.half == "choose")]
        enough = chosen[(chosen.low >= 0.5) & (chosen.strategy != "random")]
        assert choice.k == enough.k.min()
    (of_classes,) = choose(mixed, keep_at_least=0.5)
    assert list(of_classes.counted) == [CLASSES] and not of_classes.as_deployed


def test_captions_that_a_model_does_not_know_do_not_count(tmp_path: Path) -> None:
    shuffled = captions(noise=1e6)
    results = run_sweep([], [shuffled], tmp_path, settings=SETTINGS)
    (choice,) = choose(results, of=SHOWN[0])
    assert (choice.k, choice.counted, choice.uncounted) == (None, [], ["sentences"])


def test_what_captions_cannot_be_measured_by_is_refused(tmp_path: Path) -> None:
    for changes, message in (
        ({"protocol": "paper"}, "protocol paper for the captions of sentences"),
        ({"ablation": "mean"}, "ablation 'mean' for captions"),
        ({"strategies": ["importance"]}, "strategy 'importance' for captions"),
    ):
        settings = Settings(space="activations", **changes)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            run_sweep([], [captions()], tmp_path, settings=settings)
    with pytest.raises(InputError, match="sentences has captions, not classes"):
        run_evidence([], [captions()], tmp_path, settings=Settings(space="activations"))
    path = save_caption_features(captions(), tmp_path / "sentences.npz")
    with pytest.raises(InputError, match="--templates would not be used"):
        run_sweep([], [f"captions:{path}"], tmp_path, sources=Sources(templates=path))
    assert [file.name for file in tmp_path.iterdir()] == ["sentences.npz"]
