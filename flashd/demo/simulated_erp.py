"""Start, stop, kill and read the simulated ERP from Python: for the demo and for the tests."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flashd.demo.child import Child
from flashd.demo.faults import Fault
from flashd.demo.ledger import Entry, read


class SimulatedErp:
    """
    One simulated ERP process over a ledger in *folder*.

    Started again after :meth:`stop` or :meth:`kill` it listens on the same port and goes on with the same books.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limit: int = 50,
        faults: Mapping[Fault, int] | None = None,
        deck: int = 100,
        seed: int = 0,
        switches: tuple[str, ...] = (),
    ) -> None:
        """
        Describe it; nothing runs before :meth:`start`.

        Args:
            folder: Where its ledger and its log lie.
            limit: Requests in any one second.
            faults: Cards of each fault in one deck.
            deck: Cards in one deck.
            seed: Shuffles the decks.
            switches: Further arguments of ``python -m flashd.demo.erp``, such as ``--no-lookup``.
        """
        self.folder = folder
        self.ledger = folder / "erp.ledger"
        self.port = 0
        self._arguments = ["-m", "flashd.demo.erp", "--ledger", str(self.ledger), "--limit", f"{limit}/s"]
        self._arguments += ["--deck", str(deck), "--seed", str(seed), *switches]
        for fault, count in (faults or {}).items():
            self._arguments += ["--fault", f"{fault}={count}"]
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The address of its order book."""
        return f"http://127.0.0.1:{self.port}/orders"

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.is_alive

    def start(self, timeout_s: float = 20.0) -> SimulatedErp:
        """Start it and return after it listens."""
        self.close()
        arguments = [*self._arguments, "--port", str(self.port)]
        self._child = Child("the simulated ERP", arguments, log=self.folder / "erp.log")
        self._child.start(pipe=True)
        self.port = msgspec.json.decode(self._child.first_line(timeout_s), type=dict[str, Any])["port"]
        return self

    def stop(self) -> None:
        """End it with SIGTERM."""
        if self._child is not None:
            self._child.stop(10.0)

    def kill(self) -> None:
        """SIGKILL it."""
        if self._child is not None:
            self._child.kill()

    def outage(self) -> None:
        """Let it cut its connections and refuse new ones for ``--outage-s`` seconds."""
        if self._child is not None:
            self._child.send(signal.SIGUSR1)

    def close(self) -> None:
        """End the process; fine to call twice. The ledger stays."""
        if self._child is not None:
            self._child.close()

    def entries(self, kind: str = "") -> list[Entry]:
        """Return the ledger's entries, or those of one kind: started, request, booked, cancelled, refused, outage."""
        return [entry for entry in read(self.ledger) if not kind or entry["kind"] == kind]

    def bookings(self) -> dict[str, list[Entry]]:
        """Return what the books hold, by idempotency key: more than one entry under a key is a duplicate."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries("booked"):
            found.setdefault(entry["key"], []).append(entry)
        return found

    def faults(self) -> Counter[str]:
        """Return how often each fault happened."""
        return Counter(entry["fault"] for entry in self.entries("request") if entry["fault"])
