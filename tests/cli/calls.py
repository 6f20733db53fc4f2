"""Call a command as a user types it, in this process."""

import pytest

from purescope.cli import main

QUICK = ("--resamples", 100, "--no-figures", "--no-report")


def run(*arguments: object) -> int:
    """Run a command, and return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def fails(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return what a command that must fail prints: one screen, no traceback, code 2."""
    assert run(*arguments) == 2
    message = capsys.readouterr().err
    assert message.strip() and "Traceback" not in message and len(message.splitlines()) < 25
    return message
