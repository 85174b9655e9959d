"""Whatever a message of flashd tells a person to type is a command that there is; pages are held by test_docs.py."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from flashd.cli import cli

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "flashd").rglob("*.py"))
GROUPS = ("stock", "sale", "orders", "dead", "quarantine", "channel", "backend", "alerts", "config", "demands")
MENTIONS = sorted(
    {found for path in FILES for found in re.findall(rf"flashd ({'|'.join(GROUPS)}) ([a-z-]+)\b", path.read_text())}
)


@pytest.mark.parametrize(("group", "verb"), MENTIONS, ids=" ".join)
def test_a_command_that_is_mentioned_exists(group: str, verb: str) -> None:
    context = click.Context(cli)
    found = cli.get_command(context, group)
    assert isinstance(found, click.Group)
    assert verb in found.list_commands(context), f"flashd {group} {verb}"


def test_the_mentions_were_found() -> None:
    assert len(MENTIONS) > 4
