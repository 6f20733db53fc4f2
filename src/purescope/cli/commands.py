"""The group of all commands; whatever is heavy is imported inside the command."""

import click

from purescope import __version__
from purescope.cli.cache import cache
from purescope.cli.datasets import datasets
from purescope.cli.evidence import compare, evidence
from purescope.cli.importance import importance
from purescope.cli.layers import layers
from purescope.cli.models import convert, models
from purescope.cli.neurons import purity
from purescope.cli.reproduce import reproduce
from purescope.cli.showing import plot, report
from purescope.cli.sweeps import demo, sweep
from purescope.cli.training import track


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def cli() -> None:
    """Which neurons of a CLIP-style embedding are pure, and what pruning the others costs.

    Start with `purescope demo`: the whole experiment on the bundled models and images, in one to
    two minutes.
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
