"""The command line: one file for each subcommand; whatever is heavy is imported inside the command."""

import os
import sys
from collections.abc import Sequence

import click

from purescope.cli.cache import cache
from purescope.cli.compare import compare
from purescope.cli.convert import convert
from purescope.cli.datasets import datasets
from purescope.cli.demo import demo
from purescope.cli.errors import told, usage
from purescope.cli.evidence import evidence
from purescope.cli.importance import importance
from purescope.cli.layers import layers
from purescope.cli.models import models
from purescope.cli.plot import plot
from purescope.cli.purity import purity
from purescope.cli.report import report
from purescope.cli.reproduce import reproduce
from purescope.cli.sweep import sweep
from purescope.cli.track import track
from purescope.errors import PurescopeError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="purescope")
def cli() -> None:
    """Which neurons of a CLIP-style embedding are pure, and what pruning the others costs.

    Start with `purescope demo`: the whole experiment on the bundled models and images, in about a minute.
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
    reproduce,
    report,
    plot,
    models,
    datasets,
    cache,
    convert,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error that the user can act on is printed without a traceback, with exit code 2."""
    try:
        sys.exit(cli(arguments, prog_name="purescope", standalone_mode=False))
    except PurescopeError as error:
        told(error)
        sys.exit(2)
    except click.ClickException as error:
        usage(error)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("purescope: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe has gone (`purescope models | head`); nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
