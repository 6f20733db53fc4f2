"""One call of the command line, from its arguments to its exit code."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from purescope.cli.errors import told, usage
from purescope.cli.outlets import outlets
from purescope.cli.printing import complain, noted, say
from purescope.errors import PurescopeError


def run(arguments: Sequence[str] | None) -> int:
    """Run a command; what a user can act on is told without a traceback.

    Returns:
        The exit code: 0; 1 where what was measured could not be printed; 2 where input, files or the machine are at
        fault.
    """
    with outlets() as both, noted():
        return both.close(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        if not _has_current_folder():
            complain("purescope: the current folder was deleted, or cannot be read: change to another")
            return 2
        from purescope.cli.commands import cli
        from purescope.cli.freed import return_freed_memory

        return_freed_memory(arguments)
        return int(cli(arguments, prog_name="purescope", standalone_mode=False) or 0)
    except PurescopeError as error:
        told(error)
        return 2
    except click.ClickException as error:
        usage(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        say("purescope: stopped", err=True)
        return 130
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not re.search("out of memory|can't allocate memory", str(error)):
            raise
        told(PurescopeError(f"out of memory: {error}", fix="a smaller --batch-size, or fewer models at a time"))
        return 2


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True
