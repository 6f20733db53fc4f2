"""When standard output or error fails, the work is done and messages go where they can."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from purescope.cli import main
from purescope.cli.output import SafeStream
from purescope.plots.folder import draw_folder
from purescope.report.writing import write_report
from tests.report.made import make_folder

pytestmark = pytest.mark.slow

FULL = os.strerror(errno.ENOSPC)


class Failing(io.StringIO):
    """A stream that fails at the first write or at the first flush."""

    def __init__(self, number: int = errno.ENOSPC, *, at: str = "write") -> None:
        super().__init__()
        self._number, self._at = number, at

    def write(self, text: str) -> int:
        if self._at == "write":
            raise OSError(self._number, os.strerror(self._number))
        return len(text)

    def flush(self) -> None:
        if self._at == "flush":
            raise OSError(self._number, os.strerror(self._number))


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def purescope(folder: Path, line: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a line in a shell in which ``purescope`` is this checkout, with a minimal environment."""
    script = f'purescope() {{ "{sys.executable}" -m purescope "$@"; }}; {line}'
    kept = {
        name: os.environ[name]
        for name in ("PATH", "HOME", "PYTHONPATH", "PURESCOPE_CACHE", "OMP_WAIT_POLICY")
        if name in os.environ
    }
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(
        tmp_path_factory.mktemp("output") / "run", models=["First"], datasets=["pets"]
    )


@pytest.fixture(scope="module")
def torchless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the import of torch ends a process."""
    folder = tmp_path_factory.mktemp("torchless")
    (folder / "torch.py").write_text("raise SystemExit('torch was imported')")
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, inherited)])}


@pytest.mark.parametrize(
    "stream", [None, Failing(), Failing(at="flush")], ids=["closed", "full", "full at the end"]
)
def test_output_that_fails(
    stream: io.StringIO | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    why = "it is closed" if stream is None else FULL
    monkeypatch.setattr(sys, "stdout", stream)
    assert run("purity", "bundled:clip", "--out", tmp_path) == 1
    assert (tmp_path / "purity_bundled_clip.csv").is_file() and (
        tmp_path / "purity_bundled_clip.svg"
    ).is_file()
    assert (
        capsys.readouterr().err
        == f"purescope: the results are in {tmp_path}; printing them failed: {why}\n"
    )
    assert sys.stdout is stream


def test_the_reader_of_a_pipe_has_gone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in ``purescope models | head -1``."""
    monkeypatch.setattr(sys, "stdout", Failing(errno.EPIPE))
    assert run("models") == 1
    assert capsys.readouterr().err == ""


def test_messages_go_to_standard_output_if_standard_error_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (None, Failing()):
        monkeypatch.setattr(sys, "stderr", stream)
        assert run("report", "nowhere") == 2
        assert capsys.readouterr().out.startswith("purescope: there is no folder nowhere\n")
    assert run("models") == 0
    monkeypatch.setattr(sys, "stderr", None)
    assert run("models") == 1
    assert capsys.readouterr().out.endswith("purescope: printing failed: it is closed\n")


def test_both_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Failing())
    monkeypatch.setattr(sys, "stderr", Failing())
    assert run("purity", "bundled:clip", "--out", tmp_path) == 1
    assert (tmp_path / "purity_bundled_clip.csv").is_file()


def test_a_missing_stream_does_not_become_a_file(
    results: Path, torchless: dict[str, str], tmp_path: Path
) -> None:
    """Otherwise libraries would print into the first files that a command opens. And a folder of
    results is drawn without torch, as in `test_a_report_is_drawn_without_torch`.
    """
    command = (
        f"purescope plot {results} --format svg --out o >&- 2>&- <&-; code=$?; ls o; exit $code"
    )
    done = purescope(tmp_path, command, **torchless)
    whole = draw_folder(results, tmp_path / "whole", ["svg"])
    assert done.returncode == 1
    assert done.stdout.split() == sorted(path.name for path in whole.written)
    assert all(
        (tmp_path / "o" / path.name).read_bytes() == path.read_bytes() for path in whole.written
    )


def test_a_full_device_at_the_end_of_a_process(tmp_path: Path) -> None:
    """Python prints no further error when it ends."""
    done = purescope(tmp_path, "purescope --help >/dev/full")
    assert (done.returncode, done.stderr) == (1, f"purescope: printing failed: {FULL}\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_characters_that_an_encoding_lacks(encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    safe = SafeStream(stream)
    safe.write("▁▄█ ≤ 5 × ─ café Ж\ud800\n")
    safe.flush()
    written = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert (
        written
        == {
            "ascii": "148 <= 5 x - caf\\xe9 \\u0416\\ud800\n",
            "latin-1": "148 <= 5 × - café \\u0416\\ud800\n",
            "cp1252": "148 <= 5 × - café \\u0416\\ud800\n",
            "utf-8": "▁▄█ ≤ 5 × ─ café Ж\\ud800\n",
        }[encoding]
    )


def test_sequences_that_move_the_cursor_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    stream = io.StringIO()
    SafeStream(stream).write("a\x1b[31mb\r\x07\u202e\nc\t")
    assert stream.getvalue() == "a\\x1b[31mb\\r\\x07\\u202e\nc\\t"
    monkeypatch.setenv("FORCE_COLOR", "1")
    SafeStream(stream).write("\x1b[31m\x1b[2K")
    assert stream.getvalue().endswith("c\\t\x1b[31m\\x1b[2K")


def test_colours_can_be_turned_off(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("purescope.cli.output.SafeStream.isatty", lambda self: True)
    for name, value, coloured in (
        ("TERM", "xterm", True),
        ("NO_COLOR", "1", False),
        ("TERM", "dumb", False),
    ):
        monkeypatch.setenv(name, value)
        assert run("nothing") == 2
        assert ("\x1b[31m" in capsys.readouterr().err) is coloured
        monkeypatch.delenv("NO_COLOR", raising=False)


def test_a_module_of_the_current_folder_is_not_run(tmp_path: Path) -> None:
    for name in ("click", "lazy_loader", "rich", "json", "signal", "torch", "pandas"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run from the current folder')")
    done = purescope(tmp_path, "purescope --help")
    assert (done.returncode, done.stderr) == (0, "") and "Usage: purescope" in done.stdout
    done = purescope(tmp_path, "purescope models")
    assert (done.returncode, done.stderr) == (0, "") and "bundled:laclip" in done.stdout


def test_a_report_is_drawn_without_torch(
    results: Path, torchless: dict[str, str], tmp_path: Path
) -> None:
    """It starts at once, while other commands wait for the import of torch. Nor does it need
    docstrings, without which altair cannot be imported: under ``PYTHONOPTIMIZE=2`` another process
    writes the page, without torch as well.
    """
    expected = write_report(results).read_bytes()
    (results / "report.html").unlink()
    done = purescope(tmp_path, f"purescope report {results}", **torchless, PYTHONOPTIMIZE="2")
    told = (done.returncode, done.stdout, done.stderr)
    assert told == (0, f"{results / 'report.html'}\n", "")
    assert (results / "report.html").read_bytes() == expected
    done = purescope(tmp_path, "purescope purity bundled:clip", **torchless)
    assert done.stderr.strip() == "torch was imported"


def test_a_current_folder_that_is_gone(tmp_path: Path) -> None:
    done = purescope(tmp_path, "mkdir gone; cd gone; rmdir ../gone; purescope models")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "purescope: the current folder was deleted, or cannot be read: change to another\n"
    )


def test_out_of_memory_is_an_error_in_our_form(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from purescope.cli.run import cli

    for error in (
        MemoryError("14 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ):

        def fail(error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(cli.commands["models"], "callback", fail)
        assert run("models") == 2
        assert capsys.readouterr().err.startswith(f"purescope: out of memory: {error}\n")


@pytest.mark.filterwarnings("default:this user has no home:UserWarning")
def test_a_user_without_a_home_has_no_cache_and_a_note_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object, **__: object) -> str:
        raise RuntimeError("could not determine the home directory")

    monkeypatch.delenv("PURESCOPE_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", nobody)
    assert run("purity", "bundled:clip") == 0
    assert capsys.readouterr().err.startswith(
        "note: this user has no home folder for a cache: features are not kept"
    )
    assert run("cache", "ls") == 2
    assert "--cache DIR" in capsys.readouterr().err


def test_a_renderer_that_dies_is_an_error_in_our_form(
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """V8 dies in this way if address space or threads are limited."""
    dying = tmp_path / "dying.py"
    dying.write_text(
        "import os, sys; sys.stderr.write('# Fatal error: no room\\n#\\n'); sys.stderr.flush(); "
        "os.abort()"
    )
    monkeypatch.setattr("purescope.report.writing._SCRIPT", dying)
    (results / "report.html").write_text("the one before")
    assert run("report", results) == 2
    message = capsys.readouterr().err
    assert (
        "the report's figures was ended by SIGABRT: Fatal error: no room\n" in message
        and "ulimit -v" in message
    )
    assert (results / "report.html").read_text() == "the one before"
    dying.write_text("import nothing_of_this_name")
    assert run("report", results) == 2
    assert "ended with code 1: ModuleNotFoundError" in capsys.readouterr().err
    dying.write_text("""print('{"pictures": {"curves": "<svg', end="")""")
    assert run("report", results) == 2
    assert "ended with code 0: its answer is not whole" in capsys.readouterr().err
    assert (results / "report.html").read_text() == "the one before"
