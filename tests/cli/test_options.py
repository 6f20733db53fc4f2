"""Every option is used, and its help names the allowed values."""

import re

import click
import pytest

from purescope.cli import options
from purescope.cli.run import cli
from purescope.maths.cells import ABLATIONS
from purescope.maths.measures import MEASURES
from purescope.maths.scores import TOWERS
from purescope.studies.settings import SPACES, all_strategies
from tests.cli.calls import run

pytestmark = pytest.mark.slow


def test_every_option_is_taken_by_a_command_and_used(capsys) -> None:
    """The groups, such as `SOURCES`, name options as text: no row of the table is unused."""
    taken = {
        option.opts[-1].lstrip("-")
        for command in cli.commands.values()
        for option in command.params
    }
    assert set(options._OPTIONS) <= taken
    layers = {option.opts[-1] for option in cli.commands["layers"].params}
    assert "--batch-size" in layers and not {"--cache", "--no-cache", "--precision"} & layers


def test_the_value_of_an_option_has_a_name_of_ours() -> None:
    """Otherwise click prints its own, such as INTEGER RANGE."""
    for name, command in cli.commands.items():
        for option in command.params if not isinstance(command, click.Group) else ():
            if (
                isinstance(option, click.Option)
                and not option.is_flag
                and not isinstance(option.type, click.Choice)
            ):
                assert option.metavar, f"{name} {option.opts}"


def test_every_name_in_the_help_can_be_given(capsys) -> None:
    """The help lists strategies and measures without importing them."""
    assert run("sweep", "--help") == 0
    words = set(re.findall(r"\w+", capsys.readouterr().out))
    assert {*all_strategies(), *MEASURES, *TOWERS, *ABLATIONS, *SPACES} <= words
