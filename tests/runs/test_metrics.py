"""A run with metrics of images: what it writes and records, and that it goes on."""

from pathlib import Path

import pandas as pd
import pytest

from purescope.formats import METRIC_NAMES
from purescope.reduce.choosing import choose
from purescope.report.curves import curves_of
from purescope.runs.inputs import Settings
from purescope.studies.synthetic import plant
from purescope.tables.metrics import OF_IMAGES
from purescope.tables.results import Results, open_results
from tests.undrawn import run_sweep

pytestmark = pytest.mark.slow

FEATURES = plant(effect=1.0, neurons=16, images=90, classes=3).features
OPTIONS = {"keep": [4, 8, 12], "draws": 8, "resamples": 30, "space": "activations"}
SETTINGS = Settings(**OPTIONS, metrics=["knn", "map", "probe"])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run_sweep([], [FEATURES], tmp_path_factory.mktemp("metrics") / "out", settings=SETTINGS)


def test_more_metrics_change_no_other_number(measured: Results, tmp_path: Path) -> None:
    plain = run_sweep([], [FEATURES], tmp_path, settings=Settings(**OPTIONS))  # type: ignore[arg-type]
    assert "metrics" not in plain.manifest["settings"]
    assert not list(tmp_path.glob("image_*"))
    for name in plain.tables:
        table = measured.table(name)
        table = table[~table.metric.isin(OF_IMAGES)] if "metric" in table else table
        pd.testing.assert_frame_equal(
            pd.DataFrame(table.reset_index(drop=True)), pd.DataFrame(plain.table(name))
        )


def test_they_stand_in_the_tables_of_the_run(measured: Results) -> None:
    assert measured.manifest["settings"]["metrics"] == ["knn", "map", "probe"]
    assert measured.manifest["settings"]["renormalise"] == "metrics"
    assert measured.metrics[4:] == [*OF_IMAGES]
    for name in ("image_comparisons", "image_curves", "shares", "curve_points"):
        assert set(OF_IMAGES) <= set(measured.table(name).metric), name
    again = run_sweep([], [FEATURES], measured.path, settings=SETTINGS)
    opened = open_results(measured.path)
    for name in ("image_comparisons", "image_curves", "shares"):
        pd.testing.assert_frame_equal(opened.table(name), again.table(name))


def test_a_page_can_show_them_and_a_choice_is_made_by_them(measured: Results) -> None:
    drawn = curves_of(measured.table("curve_points"))
    assert {metric for _, _, metric in drawn} == {*measured.metrics} <= {*METRIC_NAMES}
    (choice,) = choose(measured, keep_at_least=0.5, of="mean_average_precision")
    assert choice.k == 4 and choice.as_deployed and choice.counted == [FEATURES.dataset]
    (plain,) = choose(measured, keep_at_least=0.5)
    assert not plain.as_deployed
