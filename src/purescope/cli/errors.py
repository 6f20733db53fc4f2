"""How errors look on a terminal: ours and click's in one shape."""

import re

import click

from purescope.cli.printing import complain
from purescope.errors import Advice, PurescopeError, near_miss


def told(error: PurescopeError) -> None:
    """Print what came, and below what was expected and what to do."""
    came, *advice = f"purescope: {error}".split("\n  ")
    complain(came, advice=advice)


def usage(error: click.ClickException) -> None:
    """Print an error of click's; one that is a help text, of a group without a command, as it is."""
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
    return PurescopeError(came[:1].lower() + came[1:].rstrip("."), expected=advice["expected"], fix=fix)


def _said(error: click.ClickException) -> tuple[str, Advice]:
    meant = getattr(error, "possibilities", None)  # of options, and from click 8.4 on of commands
    if meant:
        return error.message, {"expected": "", "fix": f"did you mean {' or '.join(map(repr, meant))}?"}
    if isinstance(error, click.BadParameter) and error.param and isinstance(error.param.type, click.Choice):
        refused = re.match(r"'(.*)' is not (?:one of )?'", error.message)
        if refused:
            return f"{error.param.opts[-1]} {refused[1]}", near_miss(refused[1], map(str, error.param.type.choices))
    return error.format_message(), {"expected": "", "fix": ""}
