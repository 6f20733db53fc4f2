"""Every `$ purescope` of the documentation, run in this process; and every option of every command
stands in one.
"""

import doctest
import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import click
import pytest

from purescope.cli import main
from purescope.cli.run import cli
from purescope.runs.inputs import Settings
from purescope.tables.results import Results
from tests import undrawn
from tests.docs.pages import ROOT, examples
from tests.kept import keeping
from tests.sandbox import sandbox

pytestmark = pytest.mark.slow

_FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
_EXAMPLES = examples()
_RESULTS = ("sweep", "cc3m_laclip.pt", "--data", "folder:my_images", "--out", "results")
_QUICK = {
    "--draws": ["5"],
    "--resamples": ["50"],
    "--rotations": ["2"],
    "--no-figures": [],
    "--no-report": [],
    "--format": ["svg"],
}


@pytest.fixture(scope="module", autouse=True)
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with (
        keeping(),
        sandbox(tmp_path_factory.mktemp("docs")),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("purescope.runs.run.run_sweep", _run_sweep)
        yield


def _run_sweep(*given: Any, settings: Settings, **options: Any) -> Results:
    """Run the demo as lightly as `_QUICK` makes commands with options."""
    few = replace(settings, draws=5, resamples=50)
    return undrawn.run_sweep(*given, settings=few, **options)


@functools.cache
def run(words: tuple[str, ...]) -> int:
    """The exit code of a command; the same one is run once, and lightly where no page shows what it
    prints.
    """
    try:
        main([*words, *_light(words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _light(words: tuple[str, ...]) -> list[str]:
    """Options that make a command quick, of those that it has and was not given; none where a page
    shows what it prints, and not only that it prints something.
    """
    shown = {example.shown for example in _EXAMPLES if tuple(example.words) == words}
    if shown - {"", "..."}:
        return []
    command = cli.commands.get(words[0] if words else "")
    known = {option for one in command.params for option in one.opts} if command else set()
    return [
        word
        for option, value in _QUICK.items()
        if option in known - set(words)
        for word in (option, *value)
    ]


@pytest.mark.parametrize("page", sorted({example.page for example in _EXAMPLES}))
def test_examples(
    page: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(_RESULTS)  # several pages begin where this one ended
    capsys.readouterr()
    wrong = []
    for example in _EXAMPLES:
        if example.page == page:
            # Where a page does not say offline, neither does the environment; and the network is
            # refused all the same.
            monkeypatch.setattr(
                "huggingface_hub.constants.HF_HUB_OFFLINE", "--download" not in example.words
            )
            code = run(tuple(example.words))
            said = capsys.readouterr()
            # A page shows a terminal, where what is being done passes before the error.
            got = said.err[said.err.find("purescope: ") :] if example.fails else said.out
            assert "no report: " not in said.err, said.err
            if code != (2 if example.fails else 0):
                wrong.append(
                    f"line {example.line}: {example.command}\nends with {code}:\n{said.err}"
                )
            elif example.shown and not doctest.OutputChecker().check_output(
                f"{example.shown}\n", got, _FLAGS
            ):
                wrong.append(f"line {example.line}: {example.command}\nsays:\n{got}")
    assert not wrong, "\n".join(wrong)


def commands(group: click.Group, *before: str) -> list[tuple[tuple[str, ...], click.Command]]:
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += commands(command, *before, name)
        else:
            found.append(((*before, name), command))
    return found


@pytest.mark.parametrize(
    ("words", "command"),
    commands(cli),
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_every_option_stands_in_an_example(words: tuple[str, ...], command: click.Command) -> None:
    own = [example.words for example in _EXAMPLES if tuple(example.words[: len(words)]) == words]
    assert own, "no example of this command"
    given = {word for example in own for word in example}
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [
        option.opts for option in options if not given & {*option.opts, *option.secondary_opts}
    ] == []


def test_the_page_of_commands_has_a_table_of_each() -> None:
    page = (ROOT / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    with_options = {
        " ".join(words)
        for words, command in commands(cli)
        if len(command.params) > len(_arguments(command))
    }
    assert {
        name for name in with_options if f"```{{command-options}} {name}\n" not in page
    } == set()


def _arguments(command: click.Command) -> list[click.Parameter]:
    return [one for one in command.params if isinstance(one, click.Argument)]
