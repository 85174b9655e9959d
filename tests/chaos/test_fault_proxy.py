"""Each fault is what it is called: what the server sees of a request, and what its caller sees of the answer."""

from __future__ import annotations

import asyncio
import io
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.fault_proxy import FAULTS, FaultProxy, connect, dealt_in

ASKED, ANSWERED = b"ASK" * 10, b"ANSWER"


@dataclass
class Seen:
    server: bytes
    caller: bytes
    log: list[dict[str, object]]


class OneFault(FaultProxy):
    """The first bytes of a caller meet one fault."""

    fault = ""

    def next_fault(self, data: bytes) -> str:
        fault, self.fault = self.fault, ""
        return fault


async def ask_through(fault: str) -> Seen:
    """Ask a server that answers what it understood, through a proxy with that fault."""
    seen, log, over = bytearray(), io.StringIO(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            seen.extend(data)
            if bytes(seen) == ASKED:
                writer.write(ANSWERED)
        writer.close()
        over.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        proxy = OneFault(server.sockets[0].getsockname()[1], log, random.Random(1), 0)
        proxy.fault, proxy.hole_s, proxy.delay_s = fault, 0.05, 0.05
        async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as door:
            reader, writer = await connect(door.sockets[0].getsockname()[1])
            writer.write(ASKED)
            try:
                got = await asyncio.wait_for(reader.readexactly(len(ANSWERED)), 5)
            except (OSError, asyncio.IncompleteReadError) as error:
                got = getattr(error, "partial", b"")
            writer.close()
            await asyncio.wait_for(over.wait(), 5)  # what was written before a cut may still be on its way
    return Seen(bytes(seen), got, [json.loads(line) for line in log.getvalue().splitlines()])


HALF = ASKED[: len(ASKED) // 2]
EFFECTS = {
    "": (ASKED, ANSWERED),
    "cut_before": (b"", b""),
    "cut_during": (HALF, b""),
    "cut_after": (ASKED, b""),
    "delay": (ASKED, ANSWERED),
    "black_hole": (b"", b""),
    "drop_reply": (ASKED, b""),
}


def test_every_fault_has_its_effect() -> None:
    assert set(EFFECTS) == {"", *FAULTS}


@pytest.mark.parametrize("fault", EFFECTS)
async def test_a_fault_is_what_it_is_called_and_is_written_down(fault: str) -> None:
    seen = await ask_through(fault)
    assert (seen.server, seen.caller) == EFFECTS[fault]
    assert [entry["fault"] for entry in seen.log if entry["what"] == "fault"] == ([fault] if fault else [])
    assert sum(entry["what"] == "request" for entry in seen.log) == 1


def test_a_shuffled_deck_deals_every_fault_and_calm_deals_none(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = FaultProxy("nowhere", io.StringIO(), random.Random(3), 1.0)
    now = [proxy._next_s]
    monkeypatch.setattr("tests.chaos.fault_proxy.time.monotonic", lambda: now[0])
    dealt = []
    for _ in FAULTS:
        dealt.append(proxy.next_fault(b""))
        assert proxy.next_fault(b"") == ""  # not at once again
        now[0] = proxy._next_s
    assert sorted(dealt) == sorted(FAULTS)
    proxy.calm = True
    assert proxy.next_fault(b"") == ""


def test_a_proxy_that_is_killed_after_every_other_fault_deals_each_kind_as_often(tmp_path: Path) -> None:
    log = tmp_path / "proxy.jsonl"
    for life in range(3 * len(FAULTS)):
        with log.open("a") as lines:
            proxy = FaultProxy("nowhere", lines, random.Random(life), 1e-9, dealt_in(log))
            for _ in range(2):
                proxy.note(what="fault", fault=proxy.next_fault(b"x"))
    assert Counter(dealt_in(log)) == dict.fromkeys(FAULTS, 6)
