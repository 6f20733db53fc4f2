"""Importance of single neurons: the table, its intervals, its correlation with purity, and the
command.
"""

import inspect
import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from scipy.optimize import brentq
from scipy.stats import spearmanr

from purescope.cli.neurons import importance as command
from purescope.errors import InputError
from purescope.features.features import Features
from purescope.maths.leave_one_out import leave_one_out
from purescope.maths.overlaps import Projections, overlap, purity
from purescope.studies.importance import (
    class_importance,
    drop_interval,
    importance_and_purity,
    importance_tables,
    neuron_importance,
)

NAMES = tuple("abcdefg")


def gaussian(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def features() -> Features:
    labels = torch.arange(140) % 7
    text = torch.nn.functional.normalize(gaussian(7, 30, seed=0), dim=1)
    image = torch.nn.functional.normalize(text[labels] + 0.2 * gaussian(140, 30, seed=1), dim=1)
    return Features(image, text, labels, NAMES, model="clip", dataset="letters")


@pytest.fixture
def projections() -> Projections:
    return Projections(gaussian(30, 12, seed=2), gaussian(30, 8, seed=3))


# --- the interval


def score_limits(lost: int, gained: int, samples: int) -> tuple[float, float]:
    """Tango's interval from its definition: the likelihood at a given drop is maximised by setting
    its slope to 0.
    """

    def statistic(drop: float) -> float:
        def slope(
            q: float,
        ) -> float:  # of lost log(q + drop) + gained log(q) + level log(1 - 2 q - drop)
            return (
                lost / (q + drop) + gained / q - 2 * (samples - lost - gained) / (1 - 2 * q - drop)
            )

        least, most = max(0.0, -drop), (1 - drop) / 2
        inner = (least + 1e-12, most - 1e-12)
        q = least if slope(inner[0]) < 0 else brentq(slope, *inner, xtol=1e-15)
        return (lost - gained - samples * drop) / math.sqrt(samples * (2 * q + drop * (1 - drop)))

    found, z = (lost - gained) / samples, 1.959963984540054
    return (
        brentq(lambda drop: statistic(drop) - z, -1 + 1e-9, found - 1e-9),
        brentq(lambda drop: statistic(drop) + z, found + 1e-9, 1 - 1e-9),
    )


@pytest.mark.parametrize(
    ("lost", "gained", "samples"),
    [
        (0, 0, 1),
        (0, 0, 2),
        (1, 0, 2),
        (0, 0, 50),
        (3, 0, 40),
        (0, 3, 40),
        (9, 4, 60),
        (30, 30, 100),
    ],
)
def test_the_interval_is_the_score_test_turned_round(lost: int, gained: int, samples: int) -> None:
    low, high = drop_interval(torch.tensor(lost), torch.tensor(gained), samples)
    assert (low.item(), high.item()) == pytest.approx(score_limits(lost, gained, samples), abs=1e-7)
    mirrored = drop_interval(torch.tensor(gained), torch.tensor(lost), samples)
    assert (-mirrored[1].item(), -mirrored[0].item()) == pytest.approx(
        (low.item(), high.item()), abs=1e-12
    )


@pytest.mark.parametrize(("share_lost", "share_gained"), [(0.08, 0.03), (0.05, 0.05), (0.02, 0.01)])
def test_the_interval_covers_the_true_drop(share_lost: float, share_gained: float) -> None:
    shares = torch.tensor([share_lost, share_gained, 1 - share_lost - share_gained]).expand(2000, 3)
    drawn = torch.multinomial(
        shares, 400, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    low, high = drop_interval((drawn == 0).sum(1), (drawn == 1).sum(1), 400)
    covered = (
        ((low <= share_lost - share_gained) & (share_lost - share_gained <= high))
        .double()
        .mean()
        .item()
    )
    assert 0.93 <= covered <= 0.97


# --- the tables


def test_what_is_drawn_has_the_seed_zero_unless_another_is_given() -> None:
    for function in (neuron_importance, class_importance, importance_tables):
        parameters = inspect.signature(function).parameters
        assert (parameters["seed"].default, parameters["ablation"].default) == (0, "zero")


def test_the_table_has_every_neuron_with_what_it_costs(features, projections) -> None:
    table = neuron_importance(features, projections)
    without = leave_one_out(features.image, features.text, features.labels)
    assert (
        sorted(table.neuron) == list(range(30))
        and set(table.model) == {"clip"}
        and set(table.ablation) == {"zero"}
    )
    assert table.accuracy_drop.is_monotonic_decreasing
    row = table.set_index("neuron").loc[11]
    assert (
        row.accuracy_drop == without.accuracy_drop[11]
        and row.loss_change == without.loss_change[11]
    )
    assert row.low < row.accuracy_drop < row.high
    assert row.variance == pytest.approx(features.image[:, 11].double().numpy().var())
    assert row.image_purity == pytest.approx(1 / overlap(projections.image)[11].item())
    for tower, rows in (("image", projections.image), ("text", projections.text)):
        norms = table.set_index("neuron")[f"{tower}_norm"].sort_index()
        assert norms.tolist() == pytest.approx([math.hypot(*r) for r in rows.tolist()], rel=1e-12)


def test_equal_drops_stand_in_the_order_of_their_losses(features) -> None:
    table = neuron_importance(features)
    tied = table[table.duplicated("accuracy_drop", keep=False)]
    assert len(tied) > 10
    assert all(
        part.loss_change.is_monotonic_decreasing for _, part in tied.groupby("accuracy_drop")
    )
    assert "image_purity" not in table


def test_ablations_differ_and_are_recorded(features) -> None:
    tables = {
        name: neuron_importance(features, ablation=name, seed=3)
        for name in ("zero", "mean", "resample")
    }
    assert all(set(table.ablation) == {name} for name, table in tables.items())
    losses = {
        name: table.set_index("neuron").loss_change.sort_index() for name, table in tables.items()
    }
    assert not losses["zero"].equals(losses["mean"]) and not losses["mean"].equals(
        losses["resample"]
    )


def test_class_drops_average_to_the_drop_of_balanced_classes(features) -> None:
    classes = class_importance(features)
    assert len(classes) == 30 * 7 and tuple(classes["class"][:7]) == NAMES
    mean = classes.groupby("neuron").recall_drop.mean()
    expected = neuron_importance(features).set_index("neuron").accuracy_drop.sort_index()
    pd.testing.assert_series_equal(mean, expected, check_names=False)


def test_projections_of_another_model_are_refused(features) -> None:
    with pytest.raises(InputError, match="4 neurons for features of 30"):
        neuron_importance(features, Projections(torch.eye(4), torch.eye(4)))


# --- importance and purity


def test_correlations_are_scipy_s_and_signed_so_that_more_matters_more(
    features, projections
) -> None:
    table = neuron_importance(features, projections)
    found = importance_and_purity(table).set_index(["importance", "purity"])
    assert len(found) == 9
    by_neuron = table.sort_values("neuron")
    for name, sign in (("accuracy_drop", 1), ("loss_change", 1), ("margin_change", -1)):
        expected = spearmanr(sign * by_neuron[name], purity(projections.image).numpy()).statistic
        row = found.loc[(name, "image")]
        assert row.rho == pytest.approx(expected, abs=1e-12)
        assert row.low < row.rho < row.high and row.partial_low < row.partial < row.partial_high
        both = spearmanr(sign * by_neuron[name], -by_neuron.total_overlap).statistic
        assert found.loc[(name, "both")].rho == pytest.approx(both, abs=1e-12)


def test_what_norm_explains_is_not_purity_s(features, projections) -> None:
    table = neuron_importance(features, projections)
    purest = -table.total_overlap
    table = table.assign(image_norm=purest, accuracy_drop=purest + 1e-3 * table.loss_change)
    row = (
        importance_and_purity(table)
        .set_index(["importance", "purity"])
        .loc[("accuracy_drop", "both")]
    )
    assert row.rho > 0.9 and not abs(row.partial) > 0.9


def test_dead_neurons_are_left_out_and_tables_are_kept_apart(features, projections) -> None:
    image = projections.image.clone()
    image[4] = 0
    table = neuron_importance(features, replace(projections, image=image))
    two = pd.concat([table, table.assign(dataset="digits")])
    found = importance_and_purity(two)
    assert set(found.neurons) == {29} and found.dataset.value_counts().tolist() == [9, 9]
    with pytest.raises(InputError, match="without purity"):
        importance_and_purity(neuron_importance(features))


# --- the command


@pytest.mark.slow
def test_the_command_prints_the_ends_and_writes_every_neuron(tmp_path) -> None:
    arguments = [
        "CC3M LaCLIP=bundled:laclip",
        "--data",
        "bundled:flags",
        "--out",
        str(tmp_path),
        "--top",
        "3",
    ]
    result = CliRunner().invoke(
        command, [*arguments, "--ablation", "mean", "--per-class"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "CC3M LaCLIP on flags" in result.output and "mean ablation" in result.output
    assert (
        "Spearman's correlation of purity and accuracy drop" in result.output
        and "512 neurons" in result.output
    )
    table = pd.read_csv(tmp_path / "importance_cc3m_laclip_flags.csv")
    assert sorted(table.neuron) == list(range(512)) and set(table.model) == {"CC3M LaCLIP"}
    assert str(table.neuron[0]) in result.output and str(table.neuron[511]) in result.output
    classes = pd.read_csv(
        tmp_path / "class_importance_cc3m_laclip_flags.csv", keep_default_na=False
    )
    assert len(classes) == 512 * classes["class"].nunique()


def test_classes_of_one_name_are_told_apart() -> None:
    eye = torch.eye(2)
    table = class_importance(
        Features(eye, eye, torch.arange(2), ("crane", "crane"), model="a", dataset="birds")
    )
    assert table["class"].tolist() == ["crane", "crane (2)"] * 2
    assert table.recall_drop.tolist() == [0, 0, 0, 1]
