"""Every command has a help text, errors in one form, and exit codes."""

import inspect
import io
from pathlib import Path

import click
import pytest
import torch
from torch import Tensor

from purescope.cli.run import cli
from purescope.features.files import save_features
from purescope.studies.synthetic import plant
from tests.cli.calls import fails, run

pytestmark = pytest.mark.slow


def test_help_of_every_command(capsys) -> None:
    for command in ((), ("sweep",), ("purity",), ("models",), ("datasets",), ("demo",)):
        assert run(*command, "--help") == 0
        assert "Usage: purescope" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "came", "fix"),
    [
        (["sweeep"], "no such command 'sweeep'", "did you mean 'sweep'"),
        (
            ["sweep", "bundled:clip", "--dat", "x"],
            "no such option '--dat'",
            "did you mean '--data'",
        ),
        (["sweep", "bundled:clip"], "missing option '--data'", "see `purescope sweep --help`"),
        (["purity"], "missing argument 'MODEL...'", "see `purescope purity --help`"),
        (
            ["purity", "bundled:clip", "--top", "0"],
            "invalid value for '--top': 0",
            "see `purescope purity --help`",
        ),
        (
            ["purity", "bundled:clip", "--top"],
            "option '--top' requires an argument",
            "see `purescope COMMAND --help`",
        ),
        (
            ["purity", "bundled:clip", "--space", "weight"],
            "--space weight\n  expected: one of",
            "did you mean 'weights'",
        ),
        (
            ["cache", "rm"],
            "name the keys to remove, or give --all",
            "see `purescope cache rm --help`",
        ),
    ],
)
def test_a_wrong_command_line_is_an_error_in_our_form(arguments, came, fix, capsys) -> None:
    message = fails(capsys, *arguments)
    assert message.startswith(f"purescope: {came}"), message
    assert f"\n  to fix:   {fix}" in message and "Usage" not in message and "Error" not in message


def test_without_a_command_there_is_help(capsys) -> None:
    run()
    printed = capsys.readouterr()
    assert "Usage: purescope" in printed.out + printed.err
    assert run("--version") == 0 and "purescope" in capsys.readouterr().out


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, click.Abort])
def test_ctrl_c_ends_without_a_traceback(interrupt, monkeypatch, capsys) -> None:
    def stopped() -> None:
        raise interrupt

    monkeypatch.setattr(cli.commands["models"], "callback", stopped)
    assert run("models") == 130
    message = capsys.readouterr().err
    assert message.strip() == "purescope: stopped"


@pytest.mark.parametrize(("environment", "red"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_an_error_is_red_on_a_terminal_unless_colours_are_off(
    environment, red, monkeypatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    assert run("sweeep") == 2
    came, *advice = screen.getvalue().splitlines()
    assert ("\x1b[31m" in came) == red and not any("\x1b" in line for line in advice)


def test_only_main_stands_between_the_process_and_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames: list[str] = []
    monkeypatch.setattr(cli.commands["models"], "callback", lambda: frames.extend(own_frames()))
    assert run("models") == 0
    assert frames == ["main"]


def own_frames() -> list[str]:
    """The functions of ours that are running, the first first; others are click's and checks."""
    packages = [
        (frame.frame.f_globals["__name__"], frame.function) for frame in inspect.stack(context=0)
    ]
    return [name for package, name in packages[::-1] if package.startswith("purescope.")]


def test_a_short_spine_leads_from_the_command_to_the_products(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight functions one within the other, and the next one multiplies."""
    made = plant(1.0, neurons=16, images=60, classes=3).features
    file = save_features(made, tmp_path / "planted.npz")
    frames: list[list[str]] = []

    def multiply(weights: Tensor, features: Tensor, ks: list[int]) -> Tensor:
        if not frames:
            frames.append(own_frames())
        return torch.stack([weights[:, :k] @ features[:k] for k in ks])

    monkeypatch.setattr("purescope.maths.accuracy._prefix_products", multiply)
    few = ["--space", "activations", "--keep", "4,8", "--draws", "2", "--resamples", "20"]
    drawn = ["--no-figures", "--no-report", "--out", tmp_path / "out"]
    assert run("sweep", "--data", f"features:{file}", *few, *drawn) == 0
    assert frames[0] == [
        "main",
        "sweep",
        "run",
        "measure_pair",
        "measure_strategies",
        "by_image",
        "ranks_by_k",
        "logits_by_k",
    ]
