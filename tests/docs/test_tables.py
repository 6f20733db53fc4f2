"""The tables that the documentation makes from the code."""

import re

import click

from docs.extensions.tables import CommandOptions, commands, markdown, schemas
from purescope.cli.evidence import DEFAULTS
from purescope.cli.run import cli
from purescope.tables.schemas import LAYERS, PURITY, RUN_TABLES, TRACK


class _Of(CommandOptions):
    """The rows of a command's table, without a page around it."""

    def __init__(self, name: str) -> None:
        self.arguments = [name]


def test_options_in_a_text_are_code() -> None:
    assert markdown("Forget what --out holds.") == "Forget what `--out` holds."
    assert (
        markdown("as `purescope sweep --help` says; a-b, 2 * 3")
        == r"as `purescope sweep --help` says; a-b, 2 \* 3"
    )


def test_every_option_of_every_command_has_a_row_of_code_and_text() -> None:
    for name, command in commands(cli):
        rows = list(_Of(name).rows())
        assert len(rows) == sum(isinstance(option, click.Option) for option in command.params)
        for option, about, default in rows:
            assert option.startswith("``--") and option.endswith("``")
            assert default in ("", "required") or default.startswith("``")
            assert "--" not in re.sub(r"`[^`]*`", "", about)
            assert not any(word in option for word in ("TEXT", "INTEGER", "RANGE", " PATH"))


def test_the_default_is_that_of_the_command() -> None:
    defaults = {
        option.strip("`-").partition(" ")[0]: default
        for option, _, default in _Of("evidence").rows()
    }
    assert {name: defaults[name].strip("`") for name in DEFAULTS} == {
        name: str(DEFAULTS[name]) for name in DEFAULTS
    }


def test_every_table_has_columns_to_show() -> None:
    assert {schema.name for schema in (*RUN_TABLES, LAYERS, PURITY, TRACK)} <= set(schemas())
