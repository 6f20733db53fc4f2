"""Names of codes, and the bytes of a vector in each."""

import pytest

from purescope.errors import InputError
from purescope.reduce.codes import DEFAULT, bytes_of, parse_codes


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


def test_bytes_are_those_of_the_definition() -> None:
    for k in (1, 7, 8, 9, 64, 512):
        assert bytes_of("f32", k) == 4 * k and bytes_of("f16", k) == 2 * k
        assert bytes_of("int8", k) == k
        assert bytes_of("binary", k) == len(range(0, k, 8))
        assert bytes_of("pq16", k) == min(16, k)
