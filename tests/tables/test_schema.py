"""Every column of every table refuses what cannot stand in it, and what a run measures stands in
all of them.
"""

import math
from collections.abc import Iterator
from fnmatch import fnmatch

import numpy as np
import pandas as pd
import pytest

from purescope.errors import InputError
from purescope.tables import schemas
from purescope.tables.files import check_table
from purescope.tables.retrieval import IMAGE_TABLES, RETRIEVAL_TABLES
from purescope.tables.schema import Column, Schema, stack_tables
from purescope.tables.schemas import PURITY, RESULTS, RUN_TABLES, TRACK

KNOWN = (
    *(one for one in vars(schemas).values() if isinstance(one, Schema)),
    *RETRIEVAL_TABLES,
    *IMAGE_TABLES,
)


def sample(column: Column) -> object:
    """One that can stand in a column."""
    if column.choices:
        # Of metrics the silhouette, which can be missing.
        return "silhouette" if "silhouette" in column.choices else column.choices[-1]
    match column.dtype:
        case "string":
            return "a"
        case "bool":
            return True
        case "object":
            return b"a"
    inside = [end for end in (column.low, column.high) if math.isfinite(end)]
    middle = sum(inside) / len(inside) if inside else 0
    return int(middle) if column.dtype == "int64" else float(middle)


# The range of each number by what it is, as a name in a table; the first that fits counts.
RANGES: tuple[tuple[float, float, str], ...] = (
    (-1, 1, "retrieval_comparisons.difference image_comparisons.difference"),
    (1, math.inf, "retrieval_curves.needed* image_curves.needed*"),
    (0, 1, "retrieval_curves.area retrieval_curves.area_first retrieval_curves.area_second"),
    (0, 1, "image_curves.area image_curves.area_first image_curves.area_second"),
    (-math.inf, math.inf, "retrieval_curves.kept_* retrieval_curves.area_*"),
    (-math.inf, math.inf, "image_curves.kept_* image_curves.area_*"),
    (0, math.inf, "choices.random"),  # a share
    (0, math.inf, "standings.place"),  # 0 is the full embedding
    (-math.inf, math.inf, "*.seed layers.depth track.step examples.place"),
    (2, math.inf, "results.classes searches.n"),
    (0, 1, "searches.recall* searches.task*"),
    (1, math.inf, "searches.bytes searches.candidates searches.vectors"),
    (
        1,
        math.inf,
        "*.k *.rank *.place *.neurons *.width confusions.count nulls.draws results.n shares.n",
    ),
    (
        1,
        math.inf,
        "*.image_purity *.text_purity curves.needed* standings.needed",
    ),  # 1 / a mean of cosines; a number of neurons
    (0, 100, "*.percentile"),
    (0, 1, "*.p *_p *.p_* *_holm *_bh"),
    (
        0,
        1,
        "results.binomial_* *.chance curves.area standings.area variants.high variants.low "
        "*.random track.random_*",
    ),
    (0, 1, "shares.value shares.full"),
    (-1, 1, "shares.over_random shares.over_first_k choices.over_random choices.over_first_k"),
    (-math.inf, math.inf, "shares.over_* choices.over_* choices.chosen_*"),
    (0, 1, "choices.target"),
    (1, math.inf, "choices.sets"),
    (
        0,
        1,
        "curves.area_first curves.area_second track.accuracy track.high_purity track.low_purity",
    ),
    (0, 1, "*.image_overlap *.text_overlap *.image_random *.text_random"),  # a mean of |cosine|
    (-math.inf, math.inf, "rivals.difference"),  # also of relative overlaps
    (-2, 2, "reproduction.*_difference"),  # also of silhouettes
    (
        -1,
        1,
        "comparisons.difference *.accuracy_drop *.recall_drop importance.low importance.high "
        "track.gap*",
    ),
    (
        -1,
        1,
        "attributions.difference verdicts.over_random verdicts.over_low verdicts.low_over_random "
        "verdicts.*_mean",
    ),
    (
        -math.inf,
        math.inf,
        "verdicts.*_low verdicts.*_high curves.kept_* standings.kept_* standings.over_random_*",
    ),
    (-1, math.inf, "rivals.*_value"),  # also of relative overlaps
    (-1, 1, "results.value reproduction.* track.silhouette *_points.value"),
    (-1, 1, "*_points.least *_points.greatest standings.over_random standings.elsewhere"),
    (-1, 1, "correlations.* track.rank_*"),
    (
        -math.inf,
        math.inf,
        "*.low *.high curves.area_* nulls.value nulls.z nulls.null_mean nulls.null_low",
    ),
    (
        -math.inf,
        math.inf,
        "nulls.null_high *.loss_change *.margin_change examples.activation words.score",
    ),
    (0, math.inf, "*"),
)
KNOWN_THROUGHOUT = {
    f"importance.{name}"
    for name in ("accuracy_drop", "low", "high", "loss_change", "margin_change", "variance")
} | {
    "attributions.difference",
    "examples.activation",
    *(
        f"{what}_comparisons.{name}"
        for what in ("retrieval", "image")
        for name in ("difference", "paired_p", "paired_holm", "paired_bh")
    ),
    *(
        f"{what}_curves.{name}"
        for what in ("retrieval", "image")
        for name in ("area", "area_first", "area_second")
    ),
    "choices.target",
    "shares.full",
    "shares.value",
    "words.score",
    *(f"searches.{name}" for name in ("recall", "recall_low", "recall_high")),
    *(f"searches.{name}" for name in ("build_seconds", "query_ms")),
}


def test_a_number_has_the_range_of_what_it_is() -> None:
    """The other tests take the range of a column from the column itself."""
    for schema in KNOWN:
        for column_name, column in schema.described.items():
            if column.dtype in ("string", "bool", "object"):
                continue
            name = f"{schema.name}.{column_name}"
            low, high = next(
                range_
                for *range_, names in RANGES
                if any(fnmatch(name, one) for one in names.split())
            )
            assert (column.low, column.high) == (low, high), name
            # Only what is one over an overlap or over chance, or a number of neurons that no k
            # reaches, has no end.
            endless = any(
                fnmatch(name, one)
                for one in (
                    "*.image_purity",
                    "*.text_purity",
                    "curves.needed*",
                    "retrieval_curves.needed*",
                    "image_curves.needed*",
                    "standings.needed",
                    "layers.rel*",
                )
            )
            assert column.infinite == endless, name
            assert column.missing == (column.dtype == "float64" and name not in KNOWN_THROUGHOUT), (
                name
            )


def table_of(schema: Schema) -> pd.DataFrame:
    row = {name: sample(column) for name, column in schema.described.items()}
    return pd.DataFrame([row]).astype(schema.columns)


def faults() -> Iterator[tuple[Schema, str, object]]:
    """A value just outside of each end of each column, and whatever else cannot stand there."""
    for schema in KNOWN:
        for name, column in schema.described.items():
            if column.choices:
                yield schema, name, "something else"
            if column.dtype in ("float64", "int64"):
                step = 1 if column.dtype == "int64" else 0.001
                yield from ((schema, name, column.low - step),) if column.low > -math.inf else ()
                yield from ((schema, name, column.high + step),) if column.high < math.inf else ()
            if column.dtype == "float64":
                yield from ((schema, name, math.nan),) if not column.missing else ()
                yield from (
                    (schema, name, end) for end in (math.inf, -math.inf) if not column.infinite
                )


@pytest.mark.parametrize("schema", KNOWN, ids=lambda schema: schema.name)
def test_what_can_stand_in_a_table_is_taken(schema: Schema) -> None:
    assert len(check_table(table_of(schema), schema)) == 1
    for name, column in schema.described.items():
        if column.missing:
            assert (
                check_table(table_of(schema).assign(**{name: math.nan}), schema)[name].isna().all()
            )


@pytest.mark.parametrize("schema", KNOWN, ids=lambda schema: schema.name)
def test_the_ends_of_a_range_are_in_it(schema: Schema) -> None:
    """Also what single precision makes of an end: a cosine of 1.0000002 is one."""
    for name, column in schema.described.items():
        for end, outwards in ((column.low, -1e-7), (column.high, 1e-7)):
            for value in (end, end + outwards) if column.dtype == "float64" else (end,):
                if column.dtype in ("float64", "int64") and math.isfinite(end):
                    assert not column.wrong(pd.Series([value], dtype=column.dtype)).any(), (
                        name,
                        value,
                    )


@pytest.mark.slow
def test_what_cannot_stand_in_a_column_is_refused() -> None:
    count, right = 0, {schema.name: table_of(schema) for schema in KNOWN}
    for schema, name, wrong in faults():
        cell = pd.Series([wrong]).astype(schema.columns[name])
        table = right[schema.name].assign(**{name: cell})
        with pytest.raises(InputError) as caught:
            check_table(table, schema)
        assert f"column {name} of a table of {schema.name}" in caught.value.came, (
            schema.name,
            name,
            wrong,
        )
        assert caught.value.expected, (schema.name, name, wrong)
        count += 1
    assert count > 300


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"metric": "accuracy", "value": -0.5}, "an accuracy is a number from 0 to 1"),
        ({"metric": "top5_accuracy", "value": math.nan}, "an accuracy is a number from 0 to 1"),
        ({"k": 9, "neurons": 8}, "k <= neurons"),
        ({"low": 0.5, "high": 0.4}, "low <= high"),
        ({"binomial_low": 0.5, "binomial_high": 0.4}, "binomial_low <= binomial_high"),
    ],
)
def test_a_row_that_contradicts_itself_is_refused(change: dict[str, object], says: str) -> None:
    fine = table_of(RESULTS)
    both = pd.concat([fine.assign(model="b"), fine.assign(**change)], ignore_index=True)
    with pytest.raises(InputError, match=rf"a contradictory row: model 'a'.*\s+expected: {says}"):
        check_table(both, RESULTS)


@pytest.mark.parametrize(
    ("schema", "name", "wrong"),
    [(TRACK, "high_purity_3", 7.5), (TRACK, "random_3", "high"), (PURITY, "image_linf", "1e999x")],
)
def test_further_columns_are_held_to_what_they_hold(
    schema: Schema, name: str, wrong: object
) -> None:
    fine = table_of(schema).assign(**{name: np.float64(0.5)})
    assert name in check_table(fine, schema)
    with pytest.raises(InputError, match=f"column {name}"):
        check_table(fine.assign(**{name: wrong}), schema)


def test_every_table_of_a_run_is_listed() -> None:
    others = {"track", "purity", "layers"}
    assert {schema.name for schema in KNOWN} == {schema.name for schema in RUN_TABLES} | others


def test_stacked_tables_are_numbered_anew_and_empty_ones_have_no_types() -> None:
    one = pd.DataFrame({"a": [1, 2]})
    stacked = stack_tables([one[:0].astype(object), one, one])
    assert stacked.index.tolist() == [0, 1, 2, 3] and stacked.a.tolist() == [1, 2, 1, 2]
    assert stacked.a.dtype == one.a.dtype
    assert list(stack_tables([one[:0], one[:0]])) == ["a"]


def test_a_further_measure_may_be_missing_or_infinite() -> None:
    for value in (math.nan, math.inf, -math.inf):
        check_table(table_of(PURITY).assign(image_other=value), PURITY)
