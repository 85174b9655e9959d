"""The commands: they parse arguments, call the admin API of a running daemon, and print."""

from __future__ import annotations

import errno
import os
import sys

import click

from flashd import __version__
from flashd.cli.group import Group
from flashd.errors import ConfigError, Transient

_COMMANDS = {
    "run": "flashd.cli.run:run",
    "demo": "flashd.cli.demo:demo",
    "init": "flashd.cli.init:init",
    "check": "flashd.cli.run:check",
    "config": "flashd.cli.run:config_group",
    "status": "flashd.cli.watch:status",
    "stock": "flashd.cli.stock:stock",
    "sale": "flashd.cli.sale:sale",
    "orders": "flashd.cli.orders:orders",
    "dead": "flashd.cli.orders:dead",
    "quarantine": "flashd.cli.quarantine:quarantine",
    "forget": "flashd.cli.privacy:forget",
    "demands": "flashd.cli.privacy:demands",
    "channel": "flashd.cli.channel:channel",
    "backend": "flashd.cli.backend:backend",
    "alerts": "flashd.cli.alerts:alerts",
    "events": "flashd.cli.watch:events",
    "audit": "flashd.cli.audit:audit",
    "adopt": "flashd.cli.adopt:adopt",
    "send-test": "flashd.cli.send_test:send_test",
}


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})  # what writing to a full disk ends with


class _Lazy(Group):
    """A group that imports a command only when it is asked for: `flashd --help` stays quick."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = _COMMANDS.get(cmd_name)
        if target is None:
            import difflib  # noqa: PLC0415  # only for a typo

            close = difflib.get_close_matches(cmd_name, _COMMANDS, 1)
            ctx.fail(f"there is no command {cmd_name!r}" + (f"; did you mean {close[0]}?" if close else ""))
        import importlib  # noqa: PLC0415  # only for the command that runs

        module, _, name = target.partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101  # the table above
        return command


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="flashd")
def cli() -> None:
    """flashd: the flash-sale daemon that never oversells, never floods, never loses."""


def main() -> None:
    """
    Run a command.

    What is refused ends with 78 and says what to mend; what does not answer now, with 75; an output that cannot be
    written, as to a full disk, with 74.
    """
    try:
        cli(prog_name="flashd")
    except Transient as error:
        click.secho(f"flashd: {error}", fg="red", err=True)
        sys.exit(os.EX_TEMPFAIL)
    except OSError as error:
        if error.filename is not None or error.errno not in _FULL:
            raise
        click.secho(f"flashd: the output cannot be written: {error.strerror}", fg="red", err=True)
        sys.exit(os.EX_IOERR)
    except ConfigError as error:
        click.secho(f"flashd: {error}", fg="red", err=True)
        sys.exit(ConfigError.exit_code)
