"""Which changes are made, in which order they are tried, and which of them are known to change
nothing.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from mutants.__main__ import ENOUGH, PACKAGE, ROOT, report
from mutants.changes import Change, changes_of
from mutants.equivalents import key_of, read_equivalents, stale
from mutants.kinds import KINDS
from mutants.sample import choose
from mutants.trial import Outcome
from mutants.watchers import TESTS, module_of

# A line, and all that its kind makes of it.
CASES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("comparison", "y = a < b", ("y = a <= b",)),
    ("comparison", "y = a >= (b)", ("y = a > (b)",)),
    ("comparison", "y = a == b", ("y = a != b",)),
    ("comparison", "y = a is not b", ("y = a is b",)),
    ("comparison", "y = a not in b", ("y = a in b",)),
    ("comparison", "y = 0 < a <= b", ("y = 0 <= a <= b", "y = 0 < a < b")),
    ("arithmetic", "y = (a + b) - c", ("y = (a - b) - c", "y = (a + b) + c")),
    ("arithmetic", "y = a * b / c", ("y = a / b / c", "y = a * b * c")),
    ("arithmetic", "y = 'a' + b", ()),
    ("sign", "y = f(-a)", ("y = f(a)",)),
    ("constant", "y = a[1]", ("y = a[2]",)),
    ("constant", "y = 0.5 * a", ("y = 1.0 * a",)),
    ("constant", "y = a < 1e-9", ()),
    ("constant", "_BLOCK = 1 << 13", ()),
    ("constant", "y = x.split(per_turn(_BLOCK, 8 * rows), dim=a)", ()),
    ("axis", "y = a.sum(dim=1)", ("y = a.sum(dim=0)",)),
    ("axis", "y = a.mean(-1)", ("y = a.mean(0)",)),
    ("axis", "y = torch.cat(a, dim=0)", ("y = torch.cat(a, dim=1)",)),
    ("dtype", "y = a.double()", ("y = a.float()",)),
    ("dtype", "y = f(torch.float64)", ("y = f(torch.float32)",)),
    ("dropped", "y = (a - b) / a.norm() * c", ("y = (a - b) * c",)),
    ("dropped", "y = unit_rows(a - b) @ c", ("y = (a - b) @ c",)),
    ("dropped", "y = (a - b).abs().max()", ("y = (a - b).max()",)),
    ("dropped", "y = a.T @ b", ("y = a @ b",)),
    ("extreme", "y = min(a)", ("y = max(a)",)),
    ("extreme", "y = a.argmax()", ("y = a.argmin()",)),
    ("flag", "y = a.sort(descending=True)", ("y = a.sort(descending=False)",)),
    ("flag", "y = zip(a, b, strict=True)", ()),
    ("logic", "y = a and b and c", ("y = a or b and c", "y = a and b or c")),
    ("logic", "y = (a < b) | c", ("y = (a < b) & c",)),
    ("not", "y = not a", ("y = a",)),
    ("not", "y = a[~b]", ("y = a[b]",)),
    ("clamp", "y = a.clamp(-1, 1)", ("y = a.clamp(None, 1)", "y = a.clamp(-1, None)")),
    ("clamp", "y = a.clamp(min=0) + 1", ("y = a + 1",)),
    ("clamp", "y = max(a, 1)", ("y = (1)", "y = a")),
    ("guard", "if a < b: raise ValueError", ("if False: raise ValueError",)),
    ("guard", "if a < b: c = 1", ()),
)

PLAIN = '''"""A module about 1 < 2."""
import os
from typing import Literal, TypeAlias

Word: TypeAlias = Literal["a", "b"] | None
__all__ = ["f"]

@cache(size=True)
def f(a: "int | None", *, b: tuple[int, ...]) -> "Float[Tensor, '1 + 2']":
    """Return 1 if not 0."""
    raise ValueError(f"{a + 1} < {b[0]}", 1 - 2)

def reason(error: Exception) -> str:
    return str(error)[:100].strip()
'''


@pytest.mark.parametrize(("kind", "line", "expected"), CASES)
def test_a_kind_of_change_makes_what_it_says(
    kind: str, line: str, expected: tuple[str, ...]
) -> None:
    text = f"first = 'é–×'\n{line}\nlast = first\n"
    made = [change for change in changes_of(text, "a.py") if change.kind == kind]
    assert tuple(change.after for change in made) == expected
    for change in made:
        assert change.before == line
        assert change.of(text).splitlines() == [text.splitlines()[0], change.after, "last = first"]
        assert (change.file, change.line) == ("a.py", 2)


def test_every_kind_has_a_case() -> None:
    assert {kind for kind, _, expected in CASES if expected} == KINDS.keys()


def test_what_is_for_readers_stays() -> None:
    assert changes_of(PLAIN, "a.py") == []


def test_a_change_over_lines_is_told_in_one_and_says_where_it_is() -> None:
    text = "class A:\n    def f(self, a, b):\n        return (\n            a\n            + b  # a + sign\n        )\n"
    (change,) = changes_of(text, "a.py")
    assert (change.function, change.line, change.column, change.name) == (
        "A.f",
        5,
        12,
        "a.py:5:12:arithmetic",
    )
    assert (change.before, change.after) == ("+ b # a + sign", "- b # a + sign")


def test_what_is_made_of_the_package_can_be_run() -> None:
    text = (PACKAGE / "maths/overlaps.py").read_text(encoding="utf-8")
    made = changes_of(text, "maths/overlaps.py")
    assert {change.kind for change in made} >= KINDS.keys() - {"flag"}
    for change in made:
        compile(change.of(text), change.name, "exec")


def changes(count: int, file: str, *, below: str = "") -> list[Change]:
    return changes_of(below + "".join(f"a{i} = b{i} < c{i} + d{i}\n" for i in range(count)), file)


def test_the_same_changes_are_chosen_wherever_their_lines_stand() -> None:
    chosen = choose({"a.py": changes(50, "a.py")}, 10, seed=0)
    moved = choose({"a.py": changes(50, "a.py", below="# another line\n")}, 10, seed=0)
    assert [change.after for change in chosen] == [change.after for change in moved]
    assert len(set(chosen)) == 10
    assert {change.kind for change in chosen[:2]} == {"comparison", "arithmetic"}  # in turns
    assert chosen != choose({"a.py": changes(50, "a.py")}, 10, seed=1)


def test_every_module_has_its_share() -> None:
    by_module = {
        "long.py": changes(200, "long.py"),
        "short.py": changes(2, "short.py"),
        "empty.py": [],
    }
    chosen = choose(by_module, 44, seed=0)
    files = [change.file for change in chosen]
    assert (files.count("long.py"), files.count("short.py")) == (
        40,
        4,
    )  # as 20 : 2, the roots of 400 and 4
    assert len(choose(by_module, 10**6, seed=0)) == 404


def test_a_change_that_changes_nothing_is_known_by_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "equivalent.toml"
    path.write_text(
        "[[equivalent]]\nfile = 'a.py'\nfunction = ''\nbefore = 'a1 = b1 < c1 + d1'\nafter = 'a1 = "
        "b1 <= c1 + d1'\n"
        "reason = 'they are never equal'\n"
    )
    known = read_equivalents(path)
    made = changes(3, "a.py", below="# another line\n")
    assert [change.after for change in made if key_of(change) in known] == ["a1 = b1 <= c1 + d1"]
    assert stale(known, made) == []
    assert stale(known, changes(1, "a.py")) == [*known]


def test_the_list_of_equivalents_gives_reasons() -> None:
    assert all(
        len(reason) > 10
        for reason in read_equivalents(ROOT / "mutants" / "equivalent.toml").values()
    )


@pytest.mark.parametrize("row", TESTS)
def test_the_tests_that_could_notice_are_there(row: str) -> None:
    assert (PACKAGE / row).exists()
    assert TESTS[row] and all((ROOT / name).is_file() for name in TESTS[row])


_WATCHED = ("maths", "studies", "tables", "files", "features", "datasets", "models", "reduce")


def test_what_is_measured_kept_or_read_is_watched() -> None:
    files = [path for folder in _WATCHED for path in (PACKAGE / folder).rglob("*.py")]
    names = [path.relative_to(PACKAGE).as_posix() for path in files]
    assert len(names) > 100
    assert [name for name in names if module_of(name) is None] == []


def test_the_longest_row_is_a_files() -> None:
    assert module_of("maths/cells.py") == "maths/"
    assert module_of("features/cache.py") == "features/cache.py"
    assert module_of("cli/sweeps.py") is None


@pytest.mark.parametrize("survivors", [1, 2])
def test_the_status_says_whether_enough_was_caught(
    survivors: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = changes(15, "maths/overlaps.py")
    assert len(chosen) == 30
    outcomes: Mapping[Change, Outcome] = {
        change: Outcome(number < survivors, "", {}, 0, "")
        for number, change in enumerate(chosen[:-10])
    }
    assert report(chosen, outcomes) == (0 if 1 - survivors / 20 >= ENOUGH else 1)
    printed = capsys.readouterr().out
    total = next(line for line in printed.splitlines() if "all" in line)
    assert total.replace("│", " ").split() == [
        "all", "30", str(20 - survivors), str(survivors), "10", f"{1 - survivors / 20:.1%}"
    ]  # fmt: skip
    assert printed.count(" -> ") == survivors
