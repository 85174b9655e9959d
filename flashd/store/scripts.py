"""Load the Lua files: their headers are parsed, so the names of keys, arguments and codes exist once."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import re
import time
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from flashd.store.client import Client, ask
from flashd.store.wire import Wire

_INCLUDE = re.compile(r"^-- @include (\w+)$", re.MULTILINE)


class Header(msgspec.Struct, frozen=True):
    """What a Lua file says of itself above its first line of code."""

    name: str
    sentence: str
    keys: tuple[tuple[str, str, str, str], ...]  # (index such as "1" or "9..", name, type, meaning)
    args: tuple[tuple[str, str, str], ...]  # (index, name, meaning)
    returns: str
    keeps: str
    clock: str
    codes: frozenset[str]  # code names that RETURNS lists in `backquotes`


class Script(msgspec.Struct, frozen=True):
    """One verb of the store, ready to be called."""

    header: Header
    source: str
    sha: str

    async def call(self, client: Redis, keys: Sequence[str | bytes], args: Sequence[str | bytes | int]) -> Any:
        """
        Run the script; send its text where the server does not know it (a restart, SCRIPT FLUSH).

        Asking again is safe: NOSCRIPT means that nothing ran. EVAL keeps the text and runs it in one step, so that
        nobody can make the server forget it in between.
        """
        began_s = time.perf_counter()
        try:
            answer = await ask(client, ("EVALSHA", self.sha, len(keys), *keys, *args))
        except NoScriptError:
            answer = await ask(client, ("EVAL", self.source, len(keys), *keys, *args))
        observe = getattr(client, "observe", None)
        if observe is not None:
            observe(self.header.name, time.perf_counter() - began_s)
        return answer

    def begin(
        self, wire: Wire, client: Client, keys: Sequence[str | bytes], args: Sequence[str | bytes | int]
    ) -> asyncio.Future[Any]:
        """
        Write the call now to the free *wire* of *client*, and return the future of its reply.

        Where the server does not know the script, or serves its keys no more, that raises NoScriptError or Moved:
        nothing ran.
        """
        reply = wire.begin("EVALSHA", self.sha, len(keys), *keys, *args)
        if client.observe is not None:
            reply.add_done_callback(functools.partial(self._observe, client.observe, time.perf_counter()))
        return reply

    def _observe(self, observe: Callable[[str, float], None], began_s: float, reply: asyncio.Future[Any]) -> None:
        if not reply.cancelled() and reply.exception() is None:
            observe(self.header.name, time.perf_counter() - began_s)


def read_source(name: str) -> str:
    """Return the text of a Lua file as it lies on disk, ``includes/<name>`` for a fragment."""
    return resources.files("flashd.store").joinpath(f"lua/{name}.lua").read_text(encoding="utf-8")


def script_names() -> list[str]:
    """Return the names of all scripts, sorted."""
    folder = resources.files("flashd.store").joinpath("lua")
    return sorted(entry.name.removesuffix(".lua") for entry in folder.iterdir() if entry.name.endswith(".lua"))


@functools.cache
def load(name: str) -> Script:
    """
    Return the script of that name, its fragments put in where ``-- @include <fragment>`` stands.

    Raises:
        ValueError: The header is not of the form that the house demands, or fragments include each other in a ring.
    """
    text = read_source(name)
    source = expand(text)
    return Script(parse_header(name, text), source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def expand(
    text: str,
    *,
    read: Callable[[str], str] = lambda name: read_source(f"includes/{name}"),
    within: tuple[str, ...] = (),
) -> str:
    """
    Put fragments in where they are asked for, and theirs within them.

    One that is asked for twice stands there twice: within a function it is that function's own.

    Args:
        read: Returns the text of a fragment.
        within: The fragments that led to this one.

    Raises:
        ValueError: A fragment includes itself, by way of others or at once; the message names the way.
    """

    def put_in(match: re.Match[str]) -> str:
        way = (*within, match[1])
        if match[1] in within:
            raise ValueError("fragments include each other in a ring: " + " -> ".join(way))
        return expand(read(match[1]), read=read, within=way).rstrip("\n")

    return _INCLUDE.sub(put_in, text)


_LINE = {
    "keys": re.compile(r"^-- KEYS\[(\d+(?:\.\.)?)\] (\S+) +([A-Z]+) +(.+)$"),
    "args": re.compile(r"^-- ARGV\[(\d+(?:\.\.)?)\] (\S+) +(.+)$"),
}


def parse_header(name: str, text: str) -> Header:
    """
    Read the header: name and sentence, KEYS, ARGV, RETURNS, KEEPS and CLOCK, in this order.

    A line that begins with ``--   `` goes on with what the line above said.

    Raises:
        ValueError: A part is missing, out of order or misspelt; the message names the line.
    """
    lines = text.splitlines()
    if lines and lines[0].startswith("#!lua"):
        lines = lines[1:]
    head: list[str] = []
    for line in lines:
        if not line.startswith("--"):
            break
        if line.startswith("--   ") and head:
            head[-1] += " " + line[5:].strip()
        else:
            head.append(line)
    first = re.match(r"^-- (\w+) -- (.+)$", head[0]) if head else None
    if first is None or first[1] != name:
        raise ValueError(f"{name}.lua: the first line must read `-- {name} -- <sentence>`")
    keys = [match.groups() for line in head if (match := _LINE["keys"].match(line))]
    args = [match.groups() for line in head if (match := _LINE["args"].match(line))]
    words: dict[str, str] = {}
    order: list[str] = []
    for line in head[1:]:
        word = line[3:].partition(" ")[0].partition("[")[0]
        if word not in {"KEYS", "ARGV", "RETURNS", "KEEPS", "CLOCK"}:
            raise ValueError(f"{name}.lua: {line!r} is none of KEYS, ARGV, RETURNS, KEEPS, CLOCK")
        order.append(word)
        words[word] = line[3:].partition(" ")[2]
    wanted = sorted(order, key=["KEYS", "ARGV", "RETURNS", "KEEPS", "CLOCK"].index)
    if order != wanted or not {"KEYS", "RETURNS", "KEEPS", "CLOCK"} <= set(order):
        raise ValueError(f"{name}.lua: the header wants KEYS, ARGV, RETURNS, KEEPS, CLOCK, in this order")
    if len(keys) != order.count("KEYS") or len(args) != order.count("ARGV"):
        raise ValueError(
            f"{name}.lua: a KEYS line is `-- KEYS[n] name TYPE meaning`, an ARGV line `-- ARGV[n] name meaning`"
        )
    return Header(
        name=name,
        sentence=first[2],
        keys=tuple((g[0], g[1], g[2], g[3]) for g in keys),
        args=tuple((g[0], g[1], g[2]) for g in args),
        returns=words["RETURNS"],
        keeps=words["KEEPS"],
        clock=words["CLOCK"],
        codes=frozenset(re.findall(r"`(\w+)`", words["RETURNS"])),
    )
