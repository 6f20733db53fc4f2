"""Errors that come from another process."""

import pickle

import pytest

from purescope.errors import MissingExtraError, OutputError, PurescopeError


@pytest.mark.parametrize(
    "error",
    [
        OutputError("came\n", expected="this", fix="that"),
        MissingExtraError("lightning", "lightning"),
    ],
    ids=repr,
)
def test_an_error_of_another_process_has_the_same_lines(error: PurescopeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and str(error).count("\n") == 2
    assert vars(again) == vars(error)
