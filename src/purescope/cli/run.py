"""The group of all commands, and what one call needs beside its command.

Errors, ours and click's, are printed in the same form and become an exit code.
"""

import ctypes
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from click.exceptions import NoArgsIsHelpError

from purescope import __version__
from purescope.cli.catalogue import cache, convert, datasets, models
from purescope.cli.choosing import choose
from purescope.cli.evidence import compare, evidence
from purescope.cli.exporting import export
from purescope.cli.indexing import index
from purescope.cli.layers import layers, track
from purescope.cli.neurons import importance, purity
from purescope.cli.output import Streams, print_error, print_line
from purescope.cli.rebasing import rebase
from purescope.cli.showing import plot, report
from purescope.cli.shrinking import shrink
from purescope.cli.sweeps import demo, reproduce, sweep
from purescope.errors import Advice, PurescopeError, near_miss


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Find the pure neurons of a CLIP-style embedding, and measure what pruning the others costs.

    Start with `purescope demo`. It runs the whole experiment on the bundled models and images in
    one to two minutes.
    """


for command in (
    demo,
    sweep,
    evidence,
    compare,
    purity,
    importance,
    layers,
    track,
    rebase,
    choose,
    export,
    reproduce,
    report,
    plot,
    models,
    datasets,
    cache,
    convert,
    shrink,
    index,
):
    cli.add_command(command)


@contextmanager
def exit_with_code(streams: Streams) -> Iterator[None]:
    """Print the error that a command ends with, and exit.

    An unexpected error passes through, with its traceback.

    Args:
        streams: standard output and error, which are closed at the end.

    Raises:
        SystemExit: at the end of the block, with 0; 1 if the results could not be printed; 2 if
            the input, a file or the machine is at fault; 130 for Ctrl-C.
    """
    code = 0
    try:
        yield
    except PurescopeError as error:
        code = 2
        print_error(error)
    except NoArgsIsHelpError as error:  # the help text of a group without a command
        code = error.exit_code
        error.show()
    except click.ClickException as error:
        code = error.exit_code
        print_error(as_purescope_error(error))
    except (click.Abort, KeyboardInterrupt):
        code = 130
        print_line("purescope: stopped", err=True)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        code = 2
        print_error(
            PurescopeError(
                f"out of memory: {error}", fix="a smaller --batch-size, or fewer models at a time"
            )
        )
    raise SystemExit(streams.close(code))


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    if isinstance(error, MemoryError):
        return True
    # torch raises a RuntimeError that only its text identifies.
    return re.search("out of memory|can't allocate memory", str(error)) is not None


def as_purescope_error(error: click.ClickException) -> PurescopeError:
    """Return an error of click in our form.

    The fix has click's suggestion, if there is one, and the help text to read.

    Examples:
        >>> print(as_purescope_error(click.NoSuchOption("--dat", possibilities=["--data"])))
        no such option '--dat'
          to fix:   did you mean '--data'? Or see `purescope COMMAND --help`
    """
    came, advice = _message_and_advice(error)
    context = getattr(error, "ctx", None)
    help_text = f"see `{context.command_path if context else 'purescope COMMAND'} --help`"
    fix = f"{advice['fix']} Or {help_text}" if advice["fix"] else help_text
    return PurescopeError(
        came[:1].lower() + came[1:].rstrip("."), expected=advice["expected"], fix=fix
    )


def _message_and_advice(error: click.ClickException) -> tuple[str, Advice]:
    suggestions = getattr(error, "possibilities", None)  # of an unknown option or command
    if suggestions:
        fix = f"did you mean {' or '.join(map(repr, suggestions))}?"
        return error.message, {"expected": "", "fix": fix}
    if (
        isinstance(error, click.BadParameter)
        and error.param
        and isinstance(error.param.type, click.Choice)
    ):
        refused = re.match(r"'(.*)' is not (?:one of )?'", error.message)
        if refused:
            advice = near_miss(refused[1], map(str, error.param.type.choices))
            return f"{error.param.opts[-1]} {refused[1]}", advice
    return error.format_message(), {"expected": "", "fix": ""}


def prepare(arguments: Sequence[str] | None) -> None:
    """Prepare this process for a command.

    If the command reads large files of features, memory that is freed goes back to the system from
    now on.

    Args:
        arguments: arguments of the command; None for those of the process.

    Raises:
        PurescopeError: the current folder does not exist, or cannot be read.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise PurescopeError(
            "the current folder was deleted, or cannot be read: change to another"
        ) from error
    words = sys.argv[1:] if arguments is None else arguments
    if any(_is_large_features_file(name) for word in words for name in str(word).split(",")):
        _return_freed_memory()


_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # numbers in glibc's malloc.h
_LARGE_ARRAY = 1 << 19  # bytes
_LARGE_FILE = 1 << 24  # bytes


def _return_freed_memory() -> None:
    """Tell glibc to return large arrays to the system as soon as they are freed.

    glibc keeps freed memory for each thread. As torch asks for aligned memory, the next array of
    the same size does not fit into it. An array that is made repeatedly then takes a new place each
    time, up to several times the size of all features. Returning memory can take half as much time
    again, which is worth it for features that fill the memory. Without glibc nothing changes.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE_ARRAY)
        library.mallopt(_ARENA_MAX, 1)


def _is_large_features_file(word: str) -> bool:
    _, prefix, path = word.partition("features:")
    try:
        return bool(prefix) and Path(path).stat().st_size > _LARGE_FILE
    except (OSError, ValueError):  # the code that opens the file reports this
        return False
