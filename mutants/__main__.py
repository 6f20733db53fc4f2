"""``python -m mutants``: make small changes to the package, one at a time, and see whether a test
notices.

Prints how many changes were caught and how many survived, by module, and each survivor. Ends with 0
where at least 95 % were caught. A survivor is a test that is missing, or a change that changes
nothing: those stand in ``mutants/equivalent.toml`` with their reasons, and are counted apart.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from mutants.changes import Change, changes_of
from mutants.equivalents import key_of, read_equivalents, stale
from mutants.sample import choose
from mutants.trial import Outcome, Trial, import_libraries, run_trials
from mutants.watchers import TESTS, module_of

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "purescope"
ENOUGH = 0.95
COUNT = 300
_FIRST_LIMIT = 600  # seconds of the processor for the tests of a row, unchanged
_SLOWER, _AT_LEAST = (
    4,
    30,
)  # how much longer they may take with a change, and seconds that they may in any case


def main() -> int:
    """Try the changes that were asked for."""
    options = _parser().parse_args()
    changes: dict[str, list[Change]] = {module: [] for module in TESTS} | _all_changes()
    known = read_equivalents(ROOT / "mutants" / "equivalent.toml")
    wanted = {
        module: of_one
        for module, of_one in changes.items()
        if module.startswith(tuple(options.module or [""]))
    }
    chosen = choose(wanted, options.count, options.seed)
    if options.only:
        chosen = [
            change
            for of_one in changes.values()
            for change in of_one
            if change.name in options.only
        ]
    for key in stale(known, [change for of_one in changes.values() for change in of_one]):
        print(
            "No change any more, but in equivalent.toml:",
            *key[:2],
            key[2],
            "->",
            key[3],
            file=sys.stderr,
        )
    if options.list:
        for change in chosen:
            print(_line(change) + " (equivalent)" * (key_of(change) in known))
        return 0
    tried = [change for change in chosen if key_of(change) not in known]
    if not tried:
        print("no change to try", file=sys.stderr)
        return 2
    import_libraries(ROOT)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        unchanged = {} if options.trust else _run_unchanged(tried, Path(folder), options.processes)
        if unchanged is None:
            return 1
        outcomes = _run_changed(tried, unchanged, Path(folder), options)
    return report(chosen, outcomes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument(
        "--count", type=int, default=COUNT, help=f"changes to choose (default {COUNT})"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice")
    parser.add_argument(
        "--module",
        action="append",
        metavar="PREFIX",
        help="rows of mutants/watchers.py that begin so; repeatable",
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="the changes of this name in --list; repeatable",
    )
    parser.add_argument("--list", action="store_true", help="print the changes, and try none")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="at a time (default: one a core)"
    )
    parser.add_argument("--trust", action="store_true", help="do not run the tests unchanged first")
    parser.add_argument(
        "--verbose", action="store_true", help="say of each change which test noticed it"
    )
    return parser


def _all_changes() -> dict[str, list[Change]]:
    """All changes of the package, by the row of the table that their file belongs to."""
    changes: dict[str, list[Change]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(PACKAGE).as_posix()
        module = module_of(file)
        if module is not None:
            changes[module] += changes_of(path.read_text(encoding="utf-8"), file)
    return changes


def _tests_of(module: str) -> tuple[str, ...]:
    """The files of tests of a row; one that this tree lacks is left out."""
    return tuple(name for name in TESTS[module] if (ROOT / name).exists())


def _run_unchanged(
    tried: Sequence[Change], folder: Path, processes: int
) -> dict[str, Outcome] | None:
    """Run the tests that are needed, unchanged.

    Returns:
        What came of it, by the row of the table; None where one does not pass.
    """
    modules: dict[tuple[str, ...], set[str]] = defaultdict(
        set
    )  # rows with the same tests, which are run once
    examples: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for change in tried:
        tests = _tests_of(str(module_of(change.file)))
        modules[tests].add(str(module_of(change.file)))
        examples[tests].add(f"src/purescope/{change.file}")
    trials = [
        Trial(
            ", ".join(sorted(modules[tests])),
            (*tests, *sorted(examples[tests])),
            PACKAGE,
            None,
            _FIRST_LIMIT,
        )
        for tests in modules
    ]
    unchanged: dict[str, Outcome] = {}
    passed = True
    (folder / "unchanged").mkdir()
    with tqdm(total=len(trials), desc="unchanged", disable=None) as bar:

        def done(trial: Trial, outcome: Outcome) -> None:
            nonlocal passed
            bar.update()
            unchanged.update(dict.fromkeys(trial.name.split(", "), outcome))
            if not outcome.passed:
                passed = False
                bar.write(
                    f"{trial.name}: the tests do not pass unchanged: "
                    f"{outcome.why}\n{outcome.output[-3000:]}"
                )

        run_trials(trials, processes=processes, folder=folder / "unchanged", done=done)
    return unchanged if passed else None


def _run_changed(
    tried: Sequence[Change],
    unchanged: Mapping[str, Outcome],
    folder: Path,
    options: argparse.Namespace,
) -> dict[Change, Outcome]:
    """Run the tests of each change, the examples in its file first and then the quickest file."""
    by_name: dict[str, Change] = {}
    trials = []
    for number, change in enumerate(tried):
        module, path = str(module_of(change.file)), PACKAGE / change.file
        outcome = unchanged.get(module, Outcome(True, "", {}, _FIRST_LIMIT, ""))
        seconds = outcome.seconds
        tests = sorted(_tests_of(module), key=lambda name: seconds.get(name, 0.0))
        limit = max(_AT_LEAST, round(_SLOWER * outcome.processor))
        by_name[str(number)] = change
        text = change.of(path.read_text(encoding="utf-8"))
        trials.append(
            Trial(str(number), (*tests, f"src/purescope/{change.file}"), path, text, limit)
        )
    outcomes: dict[Change, Outcome] = {}
    (folder / "changed").mkdir()
    with tqdm(total=len(trials), desc="changed", disable=None) as bar:

        def done(trial: Trial, outcome: Outcome) -> None:
            bar.update()
            change = by_name[trial.name]
            outcomes[change] = outcome
            if outcome.passed:
                bar.write(f"survived  {_line(change)}")
            elif options.verbose:
                bar.write(
                    f"caught    {_line(change)}\n          by {outcome.why} "
                    f"({outcome.processor:.0f} s)"
                )

        run_trials(trials, processes=options.processes, folder=folder / "changed", done=done)
    return outcomes


def _line(change: Change) -> str:
    function = f" {change.function}" if change.function else ""
    return f"{change.name}{function}: {change.before} -> {change.after}"


def report(chosen: Sequence[Change], outcomes: Mapping[Change, Outcome]) -> int:
    """Print the table and the survivors; return the status to end with."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for change in chosen:
        outcome = outcomes.get(change)
        what = "equivalent" if outcome is None else "survived" if outcome.passed else "caught"
        for module in (str(module_of(change.file)), "all"):
            counts[module][what] += 1
    table = Table("module", "changes", "caught", "survived", "equivalent", "score")
    rows = [*(module for module in TESTS if module in counts), "all"]
    for module in rows:
        count = counts[module]
        tried = count["caught"] + count["survived"]
        numbers = (count.total(), count["caught"], count["survived"], count["equivalent"])
        table.add_row(
            module, *map(str, numbers), f"{count['caught'] / tried:.1%}" if tried else "-"
        )
    Console(width=100, highlight=False).print(table)
    for change in chosen:
        if change in outcomes and outcomes[change].passed:
            print(_line(change))
    return (
        0
        if counts["all"]["caught"] >= ENOUGH * (counts["all"].total() - counts["all"]["equivalent"])
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
