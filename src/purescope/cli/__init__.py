"""The command line: one file for each subcommand; whatever is heavy is imported inside the command.

Here nothing is imported before `main` has taken the signals over: until then, Ctrl-C would end in a
traceback.
"""

TYPE_CHECKING = False  # as typing's, which takes its time
if TYPE_CHECKING:
    from purescope.cli.commands import cli as cli


def main(arguments: "list[str] | None" = None) -> None:
    """Run the command line; an error that the user can act on is printed without a traceback, with
    exit code 2.

    Args:
        arguments: those of this process by default, which then ends with the command.

    Raises:
        SystemExit: always, with the exit code.
    """
    from purescope.cli.signals import Signals

    signals = Signals(for_good=arguments is None)
    try:
        try:
            signals.take()
            from purescope.cli.outlets import open_missing

            open_missing()
            signals.watch()
            from purescope.cli.run import run

            code = run(arguments)
        finally:
            signals.leave()
    except BaseException:
        if not signals.came:
            raise
        code = signals.stopped()  # whatever the interrupted work made of it
    raise SystemExit(code)


def __getattr__(name: str) -> object:
    if name != "cli":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from purescope.cli.commands import cli

    return cli
