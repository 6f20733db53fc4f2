"""Every public name shows what it does; that the examples are right, their own runs among the tests
of `src` say.
"""

import pytest

import purescope as ps


@pytest.mark.parametrize("name", ps.__all__)
def test_a_public_name_has_an_example_of_its_own(name: str) -> None:
    known = getattr(ps, name)
    assert callable(known)
    _, section, examples = (known.__doc__ or "").partition("Examples:\n")
    assert section and ">>> " in examples
    assert f"{name}(" in examples, "an example of something else"
