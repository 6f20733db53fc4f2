"""Tables made from the code they describe: options of commands, columns of files, public names.

As directives: ``command-options`` with a command's name, ``columns`` with a table's name,
``public-names``; and ``oddities``, the list of what in the published numbers does not fit together.
"""

import importlib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from purescope.tables.schema import Schema


class _Table(SphinxDirective):
    """A table whose cells are Markdown."""

    header: tuple[str, ...] = ()
    widths: tuple[int, ...] = ()

    def rows(self) -> Iterable[tuple[str, ...]]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        group = nodes.tgroup(cols=len(self.header))
        group += [nodes.colspec(colwidth=width) for width in self.widths]
        group += nodes.thead("", self._row(self.header))
        group += nodes.tbody("", *map(self._row, self.rows()))
        return [nodes.table("", group, classes=["generated"])]

    def _row(self, cells: Iterable[str]) -> nodes.row:
        row = nodes.row()
        for cell in cells:
            row += (entry := nodes.entry())
            self.state.nested_parse(StringList([cell], source="generated"), 0, entry)
        return row


class CommandOptions(_Table):
    """Every option of a command: its names, what it takes, what it does, its default."""

    required_arguments, final_argument_whitespace = 1, True
    header, widths = ("option", "what it does", "default"), (26, 60, 14)

    def rows(self) -> Iterator[tuple[str, ...]]:
        command = command_named(self.arguments[0])
        own = command.context_settings.get(
            "default_map", {}
        )  # where a command's default is not the option's
        for option in options_of(command):
            takes = (
                ""
                if option.is_flag
                else f" {option.make_metavar(click.Context(click.Command('')))}"
            )
            default = "" if option.is_flag else _default(own.get(option.name, option.default))
            name, about = f"``{', '.join(option.opts)}{takes}``", markdown(option.help or "")
            yield name, about, "required" if option.required else default


class Columns(_Table):
    """Every column of a table: name, type, what it holds."""

    required_arguments = 1
    header, widths = ("column", "type", "what it holds"), (22, 12, 66)

    def rows(self) -> Iterator[tuple[str, ...]]:
        described = schemas()[self.arguments[0]].described
        for name, column in described.items():
            yield f"``{name}``", column.dtype, column.about.replace("*", r"\*")


class PublicNames(_Table):
    """Every name of ``import purescope as ps``, linked to where it is documented, with its first
    sentence.
    """

    header, widths = ("name", "what it is"), (30, 70)

    def rows(self) -> Iterator[tuple[str, ...]]:
        import purescope

        for name in sorted(purescope.__all__):
            known = getattr(purescope, name)
            summary = " ".join((known.__doc__ or "").split("\n\n")[0].split())
            role = "class" if isinstance(known, type) else "func"
            yield f"{{py:{role}}}`ps.{name} <{public_module(name, known)}.{name}>`", summary


class Oddities(SphinxDirective):
    """What in the published numbers does not fit together, an item each."""

    def run(self) -> list[nodes.Node]:
        from purescope.tables.published import oddities

        return [
            nodes.bullet_list(
                "", *(nodes.list_item("", nodes.paragraph(text=said)) for said in oddities())
            )
        ]


def public_module(name: str, known: object) -> str:
    """The module that a name is documented in: the outermost one below ``purescope`` that has
    it.
    """
    parts = str(known.__module__).split(".")
    outer = (".".join(parts[:end]) for end in range(2, len(parts) + 1))
    return next(
        module for module in outer if getattr(importlib.import_module(module), name, None) is known
    )


def schemas() -> dict[str, "Schema"]:
    """Every tidy table there is, by the name of its files."""
    from purescope.tables import schemas as module
    from purescope.tables.schema import Schema

    named = [found for found in vars(module).values() if isinstance(found, Schema)]
    return {found.name: found for found in (*named, *module.RUN_TABLES)}


def command_named(name: str) -> click.Command:
    """A command by the words it is called with, such as ``cache ls``."""
    from purescope.cli.run import cli

    command: click.Command = cli
    for word in name.split():
        if not isinstance(command, click.Group) or word not in command.commands:
            raise ValueError(f"no command {name!r}")
        command = command.commands[word]
    return command


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, click.Command]]:
    """Each command that does something, and the words it is called with."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield " ".join((*before, name)), command


def options_of(command: click.Command) -> list[click.Option]:
    """The options that a command declares."""
    return [option for option in command.params if isinstance(option, click.Option)]


def markdown(text: str) -> str:
    """A help text as Markdown: names of options are code, as is what stands in backticks."""
    return re.sub(
        r"`[^`]*`|(?<!\S)--[a-z][a-z-]*",
        lambda found: f"`{found[0].strip('`')}`",
        text.replace("*", r"\*"),
    )


def _default(default: object) -> str:
    return (
        f"``{default}``"
        if isinstance(default, str | int | float) or hasattr(default, "__fspath__")
        else ""
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    tables: dict[str, type[Directive]] = {
        "command-options": CommandOptions,
        "columns": Columns,
        "public-names": PublicNames,
        "oddities": Oddities,
    }
    for name, directive in tables.items():
        app.add_directive(name, directive)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
