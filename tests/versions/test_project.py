"""What pyproject.toml claims holds together, and the lock satisfies it."""

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from versions import project, pythons
from versions.environment import ROOT
from versions.pythons import Outcome

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "requirement", project.requirements(), ids=lambda requirement: requirement.name
)
def test_the_lock_satisfies_a_requirement(requirement: Requirement) -> None:
    """So that raising a floor past the lock is noticed before an installation fails."""
    name = re.escape(canonicalize_name(requirement.name))
    locked = re.findall(rf"^{name}==([^ ;\\]+)", LOCK, flags=re.MULTILINE)
    assert locked and all(
        requirement.specifier.contains(version, prereleases=True) for version in locked
    )


def test_every_requirement_has_one_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert project.floors().keys() == {requirement.name for requirement in project.requirements()}
    monkeypatch.setattr(project, "requirements", lambda: [Requirement("torch<3")])
    with pytest.raises(ValueError, match="torch<3: expected one >="):
        project.floors()


def test_claimed_pythons_are_allowed_and_tried() -> None:
    claimed = project.claimed()
    assert min(map(Version, claimed)) == Version(project.lowest_python())
    assert set(claimed) <= set(pythons.PYTHONS)


def test_the_tests_that_each_python_runs_are_there() -> None:
    assert [name for name in pythons.TESTS if not (ROOT / name).is_file()] == []


def test_what_was_tried_is_held_against_the_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "claimed", lambda: ["3.11", "3.12", "3.13"])
    good = Outcome("3.11", "torch 2", "ok", "9 passed")
    assert not pythons.problems(
        [good, Outcome("3.12", "not at hand"), Outcome("3.14", "not at hand")]
    )
    for wrong, told in {
        Outcome("3.12", "torch 2", "sweep failed", "-", "a traceback"): "3.12 is claimed",
        Outcome("3.13", "torch 2", "ok", "failed", "a traceback"): "3.13 is claimed",
        Outcome("3.13", "no", problem="no wheel"): "3.13 does not work:\nno wheel",
        Outcome("3.14", "torch 2", "ok", "9 passed"): "3.14 works and is not claimed",
    }.items():
        assert any(told in problem for problem in pythons.problems([good, wrong]))
