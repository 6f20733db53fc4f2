"""Names from outside are printed as one line each, without control characters or markup."""

import ast
import json
import logging
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import purescope.cli as package
from purescope.cli import main, output, terminal
from purescope.cli.output import print_line, print_warnings, to_line
from purescope.cli.paths import FILE, FOLDER, OUTPUT, RESULTS
from purescope.cli.run import cli
from purescope.plots.folder import Drawn
from tests.words import few_words

FORGED = "purescope: all fine"
# Erases the line, overwrites it, rings the bell, turns the text, ends the line and sets the title;
# also has markup and emoji of rich.
HOSTILE = f"cat\x1b[2K\r{FORGED}\x07\x9b1m\u202e\u2028\n{FORGED}\n\x1b]0;t\x07[bold]b[/]:cat:"
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return a function that reads what was printed so far, and checks that it is harmless."""

    def read() -> str:
        whole = "".join(capsys.readouterr())
        assert not [
            one
            for one in whole
            if (unicodedata.category(one) in ("Cc", "Zl", "Zp") and one != "\n") or one in TURNING
        ]
        assert not [one for one in whole.splitlines() if one.startswith(FORGED)]
        assert max(map(len, whole.splitlines()), default=0) < 2000
        return whole

    return read


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Write a folder with a hostile name, and in it two classes of two small images each.

    Their names are hostile too, and the second class has a broken image.
    """
    rng = np.random.default_rng(0)
    for place, name in enumerate((HOSTILE, f"dog {HOSTILE}")):
        of_class = tmp_path / HOSTILE.replace("/", "") / "images" / name.replace("/", "")
        of_class.mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(of_class / f"{i}{HOSTILE.replace('/', '')}.png")
        if place:
            (of_class / f"torn{HOSTILE.replace('/', '')}.png").write_bytes(b"no picture")
    return tmp_path / HOSTILE.replace("/", "")


@pytest.mark.slow
def test_a_run_on_hostile_names(
    hostile: Path, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few_words(monkeypatch)
    out = hostile / "out"
    command = ["sweep", "a\x9b\u202e[red]=bundled:clip", "--data", f"folder:{hostile / 'images'}"]
    options = ["--keep", "256", "--draws", "1", "--resamples", "5", "--no-cache", "--out", out]
    assert run(*command, *options) == 2
    assert "torn" in said()
    assert run(*command, *options, "--on-bad-image", "skip") == 0
    printed = said()
    assert "a\\x9b\\u202e[red]" in printed and "\\x1b[2K" in printed
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps(manifest | {"notes": [HOSTILE, "a" * 50_000]}))
    assert run(*command, *options, "--on-bad-image", "skip", "--no-figures", "--no-report") == 0
    assert said()
    assert run("report", out) == 0
    assert "\\x1b[2K" in said()


@pytest.mark.slow
def test_paths_of_results(
    hostile: Path, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn(
        folder: Path, out: Path, *_: object, tell: Callable[[Path], None], **__: object
    ) -> Drawn:
        tell(out / HOSTILE)
        return Drawn((out / HOSTILE,), (f"{HOSTILE}: no {HOSTILE} in {folder}",))

    monkeypatch.setattr("purescope.plots.folder.draw_folder", drawn)
    assert run("plot", hostile) == 0
    assert "Not drawn: cat\\x1b[2K" in said()
    monkeypatch.setattr("purescope.models.convert.convert", lambda *_, **__: "open_clip")
    assert run("convert", HOSTILE, hostile / "new") == 0
    assert "open_clip loads it as local-dir:" in said()
    assert run("purity", "bundled:clip", "--out", hostile / "neurons") == 0
    assert f"All neurons, ranked: {to_line(hostile / 'neurons')}" in said()


@pytest.mark.parametrize(
    "command",
    [
        [HOSTILE],
        ["sweep", f"--{HOSTILE}"],
        ["sweep", HOSTILE, "--data", "bundled:flags", "--out", "out"],
        ["sweep", "bundled:clip", "--data", HOSTILE, "--out", "out"],
        ["sweep", "bundled:clip", "--data", f"features:{HOSTILE}.npz", "--out", "out"],
        ["sweep", "bundled:clip", "--data", "bundled:flags", "--protocol", HOSTILE, "--out", "out"],
        ["sweep", "bundled:clip", "--data", "bundled:flags", "--draws", HOSTILE, "--out", "out"],
        ["sweep", "bundled:clip", "--data", "bundled:flags", "--keep", HOSTILE, "--out", "out"],
        ["sweep", f"{HOSTILE}=bundled:clip", "--data", "bundled:flags", "--out", "out"],
        [
            "sweep",
            "bundled:clip",
            "--data",
            "bundled:flags",
            "--classnames",
            HOSTILE,
            "--out",
            "out",
        ],
        ["sweep", "bundled:clip", "--data", "bundled:flags", "--out", f"{HOSTILE}\0"],
        ["purity", "bundled:clip", "--measure", HOSTILE],
        ["track", HOSTILE, "--out", "out"],
        ["report", HOSTILE],
        ["plot", HOSTILE],
        ["plot", "x", "--format", HOSTILE],
        ["convert", HOSTILE, "out"],
        ["cache", "rm", HOSTILE, "--cache", HOSTILE],
        ["cache", HOSTILE],
        ["x" * 100_000],
        ["report", *map(str, range(3000))],
    ],
    ids=lambda command: " ".join(command)[:20].encode("unicode_escape").decode(),
)
def test_bad_input_of_hostile_names(
    command: list[str], tmp_path: Path, said: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*command) == 2
    assert "\npurescope: " in f"\n{said()}"


@pytest.mark.parametrize(
    "command",
    [
        ["datasets", "--data-root"],
        ["datasets", "--check"],
        ["cache", "ls", "--cache"],
        ["cache", "verify", "--cache"],
    ],
    ids=" ".join,
)
def test_lists_of_hostile_folders(
    command: list[str], hostile: Path, said: Callable[[], str]
) -> None:
    assert run(*command, hostile) == 0
    assert said()


def test_notes_steps_and_messages_of_libraries(said: Callable[[], str]) -> None:
    with print_warnings(), output.show_messages():
        warnings.warn(HOSTILE, UserWarning, stacklevel=1)
        logging.getLogger("purescope.runs").info("%s", HOSTILE)
        warnings.warn("b" * 50_000, UserWarning, stacklevel=1)
    assert said().count("\n") == 3


def test_an_error_of_ours_in_a_note_is_one_line(said: Callable[[], str]) -> None:
    with output.show_messages():
        warnings.warn(
            "no report: gone\n  expected: a folder\n  to fix:   name one; `x` draws it",
            stacklevel=1,
        )
    assert said() == "note: no report: gone; expected: a folder; to fix: name one; `x` draws it\n"


def test_a_cell_and_a_heading_are_one_line(said: Callable[[], str]) -> None:
    table = terminal.make_table(HOSTILE, "name", "value")
    terminal.add_row(table, output.escape(HOSTILE), "1")
    terminal.add_row(table, HOSTILE.replace("[bold]b[/]", ""), "2")
    console = terminal.make_console()
    console.print(table)
    print_line(HOSTILE)
    terminal.print_next_steps(console, {"Look": HOSTILE})
    printed = said()
    assert printed.count("[bold]b[/]:cat:") == 4 and "\N{CAT FACE}" not in printed


@pytest.mark.parametrize(
    "module", sorted(Path(str(package.__file__)).parent.glob("*.py")), ids=lambda path: path.stem
)
def test_only_the_printing_modules_print(module: Path) -> None:
    """Formatted texts go through `print_line` or `escape`, rows of tables through `add_row`.

    Paths are read by the types of `purescope.cli.paths` only.
    """
    if module.stem in ("output", "signals"):
        return
    for call in (
        node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call)
    ):
        name = ast.unparse(call.func)
        assert name not in (
            "print",
            "click.echo",
            "click.secho",
            "click.Path",
            "sys.stdout.write",
        ), name
        assert not name.endswith("table.add_row") or module.stem == "terminal", name
        if name.endswith("console.print"):
            texts = [one for one in call.args if isinstance(one, ast.JoinedStr)]
            for part in (
                part for one in texts for part in one.values if isinstance(part, ast.FormattedValue)
            ):
                shown = ast.unparse(part.value)
                ours = (
                    shown.startswith(("escape(", "_PROTOCOLS[", "_purity("))
                    or shown == "table.row_count"
                )
                assert ours or part.format_spec is not None, f"{module.name}: {ast.unparse(call)}"


def test_every_path_is_read_in_the_same_way() -> None:
    taken = []
    for command in (*cli.commands.values(), *cli.commands["cache"].commands.values()):  # type: ignore[attr-defined]
        for option in command.params:
            assert not isinstance(option.type, click.Path)
            if option.name in (
                "out",
                "folder",
                "cache",
                "data_root",
                "classnames",
                "templates",
                "check",
            ):
                assert option.type in (FILE, FOLDER, OUTPUT, RESULTS), option.name
                taken.append(option.name)
    assert len(taken) > 20


@pytest.mark.parametrize("kind", [FILE, FOLDER, RESULTS], ids=["file", "folder", "results"])
def test_a_path_is_read_as_it_was_typed(
    kind: click.ParamType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for path in (tmp_path / "home" / "z", tmp_path / "~" / "z") if kind is FILE else ():
        path.parent.mkdir()
        path.touch()  # a file to read must exist
    assert kind.convert("~/z", None, None) == tmp_path / "home" / "z"
    assert kind.convert("./~/z", None, None) == tmp_path / "~" / "z"
    for refused in ("", " ", "a\0b"):
        with pytest.raises(Exception, match=r"a file called|a folder"):
            kind.convert(refused, None, None)


def test_a_folder_to_write_into_is_one(tmp_path: Path, said: Callable[[], str]) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "file").write_text("")
    for out, says in (
        ("loop", "leads back to itself"),
        ("loop/x", "leads back to itself"),
        ("file", "is a file"),
    ):
        assert run("sweep", "bundled:clip", "--data", "bundled:flags", "--out", tmp_path / out) == 2
        assert says in said()
    for out in ("", "a\udcff"):
        assert run("sweep", "bundled:clip", "--data", "bundled:flags", f"--out={out}") == 2
        assert "--out: a folder" in said()
