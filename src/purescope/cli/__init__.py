"""The command line of purescope.

This file imports nothing at its top: until `main` has installed the signal handlers, Ctrl-C would
end in a traceback. Each command imports what is heavy when it runs.
"""


def main(arguments: "list[str] | None" = None) -> None:
    """Run one command, and exit.

    An error that the user can act on is printed without a traceback.

    Args:
        arguments: arguments of the command. By default those of this process, which then ends with
            the command.

    Raises:
        SystemExit: always, with the exit code: that of `purescope.cli.run.exit_with_code`, or 128
            and the number of the signal that stopped the command.
    """
    from purescope.cli.signals import Signals

    signals = Signals(ends_process=arguments is None)
    try:
        try:
            signals.install()
            from purescope.cli.output import open_missing_streams, print_warnings, safe_streams

            open_missing_streams()
            signals.watch()
            if arguments is None:
                _collect_rarely()
            from purescope.cli.run import cli, exit_with_code, prepare

            with safe_streams() as streams, print_warnings(), exit_with_code(streams):
                prepare(arguments)
                cli(arguments, prog_name="purescope", standalone_mode=False)
        finally:
            signals.restore()
    except BaseException:
        # A signal stopped the command, whatever error the interrupted code made of it.
        if not signals.received:
            raise
        raise SystemExit(signals.report()) from None


def _collect_rarely() -> None:
    """Look for garbage after 5,000 new objects, not 700: libraries make half a million that stay,
    and looking through them again and again takes 6 % of the time of a short command.
    """
    import gc

    gc.set_threshold(5_000, 10, 10)
