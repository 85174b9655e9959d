"""What goes to a terminal: others wrote much of it, and no byte of theirs may steer it."""

from __future__ import annotations

import re
from typing import Any

import click

# Controls but for line break and tab (ESC and its one-byte forms from 0x80 on among them), and marks of direction.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """Return *text* with what steers a terminal written out, as JSON writes it; JSON remains the same JSON."""
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str = "", **style: Any) -> None:
    """Print a line, or to stderr with ``err=True``, in the style of `click.secho`."""
    click.secho(shown(text), **style)
