"""A group of commands whose help can be read: what each of them does stands there whole."""

from __future__ import annotations

import sys

import click


class Group(click.Group):
    """Lists its commands with their whole first sentence, wrapped where it is long; click would cut it off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(sys.maxsize))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)
