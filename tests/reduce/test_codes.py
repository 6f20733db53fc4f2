"""Names of codes, and into what product quantization cuts vectors."""

import pytest

from purescope.errors import InputError
from purescope.reduce.codes import DEFAULT, clusters_of, parse_codes, parts_of


def test_codes_are_read_from_texts_and_lists() -> None:
    assert parse_codes(DEFAULT) == ("f32", "f16", "int8", "binary", "pq64")
    assert parse_codes(["pq8", " f16", "pq8"]) == ("pq8", "f16")
    assert parse_codes("pq1,pq1024") == ("pq1", "pq1024")


@pytest.mark.parametrize(
    "codes", ["", " ", "f8", "pq0", "pq2000", "pq1025", "pq-1", "pq٣", "f32,,f16", []]
)
def test_other_codes_are_refused(codes: str) -> None:
    with pytest.raises(InputError, match="code"):
        parse_codes(codes)


@pytest.mark.parametrize(
    ("code", "rows", "clusters"),
    [
        ("pq4", 6_143, 1),
        ("pq4", 6_144, 256),
        ("pq4", 12_287, 256),
        ("pq4", 12_288, 512),
        ("pq3", 10**6, 1),
        ("pq64", 98_303, 2048),
        ("pq64", 98_304, 4096),
        ("pq1024", 10**9, 4096),
    ],
)
def test_clusters_are_a_power_of_two_with_enough_rows(code: str, rows: int, clusters: int) -> None:
    assert clusters_of(code, rows) == clusters


def test_a_cluster_takes_two_bytes_and_a_dimension_one_part_at_most() -> None:
    assert [parts_of("pq4", 9, rows) for rows in (6_143, 6_144)] == [4, 2]
    assert [parts_of("pq64", k, 10**5) for k in (1, 61, 62, 63, 512)] == [1, 61, 62, 62, 62]
    assert [parts_of("pq64", k, 100) for k in (63, 64, 65)] == [63, 64, 64]
