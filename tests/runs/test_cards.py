"""A model card has the numbers of a sweep of the same model, axes and dimensions, and no others."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from purescope.errors import InputError
from purescope.maths.overlaps import Projections
from purescope.models import find_towers
from purescope.models.towers import Towers
from purescope.reduce.orders import order_rotation
from purescope.reduce.rotation import Rotation
from purescope.runs import cards
from purescope.studies.settings import Options
from purescope.studies.shares import share_table
from purescope.studies.sweeps import measure_strategies
from purescope.studies.synthetic import plant
from purescope.tables.results import Results
from tests.checkpoints import laclip_tensors, write_laclip
from tests.reduce.test_cutting import draw_rotation

PLANTED = plant(1.0, neurons=24, images=60, classes=3, signal=0.5)


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Towers:
    path = tmp_path_factory.mktemp("model") / "m.pt"
    return find_towers(str(write_laclip(path, laclip_tensors(depth=1))))[0]


@pytest.fixture(scope="module")
def results() -> Results:
    options = Options(
        keep=[4], draws=1, resamples=50, strategies=("svd", "high_purity"), renormalise=True
    )
    measured = measure_strategies(PLANTED.features, PLANTED.projections, options)
    table = measured.table.assign(protocol="native")
    return Results(Path("results"), {"results": table, "shares": share_table(measured)})


def manifest(towers: Towers, **changes: Any) -> Mapping[str, Any]:
    model = {"label": "planted", "weights": towers.identity["weights"]}
    return {"models": [model], "settings": {"renormalise": True}, **changes}


def from_weights(axes: str = "svd", *, seed: int = 0) -> Rotation:
    rotation = draw_rotation(24)
    recipe = {"axes": axes, "fitted_on": "weights", "seed": str(seed)}
    return Rotation(rotation.image, rotation.text, rotation.spectrum, recipe)


def test_rows_of_the_axes_and_their_share_of_the_whole(
    towers: Towers, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    vars(results)["manifest"] = manifest(towers)
    monkeypatch.setattr(cards, "open_results", lambda _: results)
    table = results.table("results")
    eye = Projections(PLANTED.projections.image, PLANTED.projections.text)
    purest = order_rotation(
        range(24), 24, eye, recipe={"order": "high_purity", "fitted_on": "weights"}
    )
    for strategy, rotation in (("svd", from_weights()), ("high_purity", purest)):
        numbers = cards.read_numbers(Path("results"), towers, rotation.keep(4))
        rows = table[(table.strategy == strategy) & (table.k == 4)]
        assert [number.metric for number in numbers] == rows.metric.tolist()
        assert [number.value for number in numbers] == rows.value.tolist()
        assert [number.low for number in numbers] == rows.low.tolist()
        (accuracy,) = (number for number in numbers if number.metric == "accuracy")
        shares = results.table("shares")
        (judged,) = shares[(shares.strategy == strategy) & (shares.half == "judge")].itertuples()
        assert (accuracy.share, accuracy.share_low) == (judged.share, judged.low)
        others = [number for number in numbers if number.metric != "accuracy"]
        assert {(number.share, number.share_low) for number in others} == {(None, None)}


@pytest.mark.parametrize(
    ("rotation", "changes", "message"),
    [
        (from_weights().keep(5), {}, "no numbers of svd with 5 dimensions"),
        (from_weights("cross").keep(4), {}, "no numbers of cross with 4 dimensions"),
        (draw_rotation(24).keep(4), {}, "no numbers of these axes with 4 dimensions"),
        (from_weights().keep(4), {"models": []}, "no numbers of this model"),
    ],
)
def test_numbers_of_something_else_are_refused(
    rotation: Rotation,
    changes: dict[str, Any],
    message: str,
    towers: Towers,
    results: Results,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vars(results)["manifest"] = manifest(towers, **changes)
    monkeypatch.setattr(cards, "open_results", lambda _: results)
    with pytest.raises(InputError, match=message):
        cards.read_numbers(Path("results"), towers, rotation)


def test_the_command_that_measures_what_is_kept() -> None:
    drawn = from_weights("random_rotation", seed=7).keep(4)
    assert cards.suggest_sweep("my model", drawn) == (
        "purescope sweep 'my model' --data DATASET --strategies random_rotation --keep 4 "
        "--renormalise --seed 7 --out results"
    )
    assert cards.suggest_sweep("m", draw_rotation(24)) == ""


def test_numbers_that_an_export_does_not_reach_are_refused(
    towers: Towers, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several datasets, those that are scaled again count, as captions are by default."""
    table = results.table("results")
    for scaled, rows in ((False, table.assign(renormalise=False)), (True, table)):
        other = table.assign(dataset="other", renormalise=False)
        mixed = Results(Path("results"), {"results": pd.concat([rows, other])})
        vars(mixed)["manifest"] = manifest(towers)
        monkeypatch.setattr(cards, "open_results", lambda _, mixed=mixed: mixed)
        if scaled:
            numbers = cards.read_numbers(Path("results"), towers, from_weights().keep(4))
            assert {number.dataset for number in numbers} == {PLANTED.features.dataset}
        else:
            with pytest.raises(InputError, match="a sweep without --renormalise"):
                cards.read_numbers(Path("results"), towers, from_weights().keep(4))
