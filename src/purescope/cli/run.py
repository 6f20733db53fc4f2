"""One call of the command line, from its arguments to its exit code.

Errors look alike on a terminal, ours and click's. Memory that is freed goes back to the system, in
a process of the command line's own that reads many features.
"""

import ctypes
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from purescope.cli.outlets import outlets
from purescope.cli.printing import complain, noted, say
from purescope.errors import Advice, PurescopeError, near_miss


def told(error: PurescopeError) -> None:
    """Print what came, and below what was expected and what to do."""
    came, *advice = f"purescope: {error}".split("\n  ")
    complain(came, advice=advice)


def usage(error: click.ClickException) -> None:
    """Print an error of click's; one that is a help text, of a group without a command, as it
    is.
    """
    if type(error).__name__ == "NoArgsIsHelpError":  # which click has from 8.2 on
        error.show()
    else:
        told(in_our_words(error))


def in_our_words(error: click.ClickException) -> PurescopeError:
    """What click says of a command line; what it takes for meant, and where to read on, as the fix.

    Examples:
        >>> print(in_our_words(click.NoSuchOption("--dat", possibilities=["--data"])))
        no such option '--dat'
          to fix:   did you mean '--data'? Or see `purescope COMMAND --help`
    """
    came, advice = _said(error)
    context = getattr(error, "ctx", None)
    read_on = f"see `{context.command_path if context else 'purescope COMMAND'} --help`"
    fix = f"{advice['fix']} Or {read_on}" if advice["fix"] else read_on
    return PurescopeError(
        came[:1].lower() + came[1:].rstrip("."), expected=advice["expected"], fix=fix
    )


def _said(error: click.ClickException) -> tuple[str, Advice]:
    meant = getattr(error, "possibilities", None)  # of options, and from click 8.4 on of commands
    if meant:
        return error.message, {
            "expected": "",
            "fix": f"did you mean {' or '.join(map(repr, meant))}?",
        }
    if (
        isinstance(error, click.BadParameter)
        and error.param
        and isinstance(error.param.type, click.Choice)
    ):
        refused = re.match(r"'(.*)' is not (?:one of )?'", error.message)
        if refused:
            return f"{error.param.opts[-1]} {refused[1]}", near_miss(
                refused[1], map(str, error.param.type.choices)
            )
    return error.format_message(), {"expected": "", "fix": ""}


_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # as glibc's malloc.h numbers them
_LARGE = 1 << 19  # bytes
_MANY = 1 << 24  # bytes of a file of features


def return_freed_memory(arguments: Sequence[str] | None) -> None:
    """Have the system take large arrays back as soon as they are freed, from now on, where a large
    file is named.

    glibc keeps what was freed, for each thread apart. As torch asks for aligned memory, the next
    array of the same size does not fit into it: an array that is made in turns takes a new place
    each time, up to several times all features. To give it back takes up to half as much time
    again, which is well spent on features that fill the memory. Where there is no glibc nothing
    changes.

    Args:
        arguments: of the command; None for those of the process.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if any(_is_large(name) for word in words for name in str(word).split(",")):
        with suppress(OSError, AttributeError, TypeError):
            library = ctypes.CDLL(None)
            library.mallopt(_MMAP_THRESHOLD, _LARGE)
            library.mallopt(_ARENA_MAX, 1)


def _is_large(word: str) -> bool:
    _, named, path = word.partition("features:")
    try:
        return bool(named) and Path(path).stat().st_size > _MANY
    except (OSError, ValueError):  # told by those who open it
        return False


def run(arguments: Sequence[str] | None) -> int:
    """Run a command; what a user can act on is told without a traceback.

    Returns:
        The exit code: 0; 1 where what was measured could not be printed; 2 where input, files or
        the machine are at fault.
    """
    with outlets() as both, noted():
        return both.close(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        if not _has_current_folder():
            complain(
                "purescope: the current folder was deleted, or cannot be read: change to another"
            )
            return 2
        from purescope.cli.commands import cli

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
        if not isinstance(error, MemoryError) and not re.search(
            "out of memory|can't allocate memory", str(error)
        ):
            raise
        told(
            PurescopeError(
                f"out of memory: {error}", fix="a smaller --batch-size, or fewer models at a time"
            )
        )
        return 2


def _has_current_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True
