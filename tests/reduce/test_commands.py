"""The command of a choice makes what was chosen, or there is none."""

import pandas as pd
import pytest

from purescope.reduce.commands import Named, export_command, named_in

NAMES = Named({"m": "mine=my models/a.pt"}, {"flags": "F=bundled:flags", "said": "captions:x"}, 3)


def rows(*datasets: str, **changes: str) -> pd.DataFrame:
    ranked = {"space": "weights", "measure": "l1", "towers": "both"}
    return pd.DataFrame({"dataset": [*datasets] or ["flags"], **ranked, **changes})


@pytest.mark.parametrize(
    ("strategy", "measured", "options"),
    [
        ("svd", rows("flags", "said"), "--axes svd"),
        ("cross@2", rows(), "--axes cross@2"),
        ("random_rotation", rows(), "--axes random_rotation --seed 3"),
        ("pca", rows(), "--axes pca --data F=bundled:flags"),
        ("high_purity", rows(), "--order high_purity"),
        ("first_k", rows(space="activations", measure="l2"), "--order first_k"),
        # Axes of each dataset, of captions, or of activations; neurons in an order of their own.
        ("pca@1", rows("flags", "said"), None),
        ("pca", rows("said"), None),
        ("pca", rows("elsewhere"), None),
        ("svd", rows(space="centred"), None),
        ("high_purity", rows(measure="l2"), None),
        ("low_purity", rows(towers="image"), None),
        ("pivoted_qr", rows(space="activations"), None),
        ("importance", rows(), None),
        ("ape", rows(), None),
        ("my_order", rows(), None),
    ],
)
def test_a_command_makes_what_was_chosen(
    strategy: str, measured: pd.DataFrame, options: str | None
) -> None:
    command = export_command(NAMES, "m", strategy, 8, measured)
    start = "purescope export 'mine=my models/a.pt' --keep 8 "
    assert command == ("" if options is None else f"{start}{options} --out smaller")


def test_a_model_without_a_name_has_no_command() -> None:
    for spec in ("", "features"):
        assert export_command(Named({"m": spec}, {}), "m", "svd", 8, rows()) == ""
    assert export_command(NAMES, "another", "svd", 8, rows()) == ""


def test_names_stand_in_the_manifest() -> None:
    manifest = {
        "models": [{"label": "m", "spec": "x.pt"}, {"label": "n"}],
        "datasets": [{"name": "d", "spec": "folder:d"}],
        "settings": {"seed": 5},
    }
    assert named_in(manifest) == Named({"m": "x.pt", "n": ""}, {"d": "folder:d"}, 5)
    assert named_in({}) == Named({}, {}, 0)
