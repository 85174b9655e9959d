"""
Several daemons on one store, before one backend: processes of their own, with recorders that are none of flashd's.

What leaves a daemon for the backend is noted where it is written to the socket, by a library that is compiled here and
preloaded (`send_recorder.c`), and once more at a proxy between the two, which also breaks what passes. The backend
keeps books. All of it stays in a folder.
"""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.chaos.kill_loop import Child, Proxy
from tests.chaos.ledger import Entry, read
from tests.e2e.process import Flashd, free_port
from tests.servers import Server

SOURCE = Path(__file__).with_name("send_recorder.c")
TOKEN = "till-token-of-the-fleet"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
CONFIG = """
[store]
url = "STORE"
state_dir = "STATE"
[intake]
listen = "127.0.0.1:{intake}"
[admin]
listen = "127.0.0.1:{admin}"
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.token" } }]
[backends.erp]
kind = "http"
url = "ERP"
lookup_url = "ERP?key={key}"
IDEMPOTENT
rate = "RATE"
max_in_flight = 32
settle_s = 1
timeout_s = 1.5
slow_start_s = 0.5
max_refusals = 50
[[routes]]
backend = "erp"
"""
T = TypeVar("T")


def missing() -> str:
    """Say why this machine cannot record what is sent; "" if it can."""
    return "" if shutil.which("gcc") else "no gcc to compile the send recorder with: apt-get install gcc"


@dataclass
class Sent:
    """One request, when it was written to the socket (CLOCK_MONOTONIC, s), by which process."""

    at_s: float
    process: int
    line: str


@dataclass
class Fleet:
    """Some daemons in *folder*; `orders` are queued by `sell`."""

    folder: Path
    rate: str
    names: Sequence[str] = ("one", "two", "three")
    kind: str = "valkey"
    keys: bool = False  # whether the backend heeds a key; without, what is sent twice is there twice
    fault_every_s: float = 0.0
    seed: int = 1
    package: Path | None = None  # the folder of another flashd, for a run that must fail
    sold: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        library = self.folder / "send_recorder.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        (self.folder / "till.token").touch(mode=0o600)
        (self.folder / "till.token").write_text(TOKEN)
        self.books, self.record = self.folder / "erp.jsonl", self.folder / "sent"
        self.server, erp, door = Server(self.kind), free_port(), free_port()
        self.erp = Child("erp", {"port": erp, "books": str(self.books), "keys": self.keys}, self.folder / "erp.log")
        wish = {"listen": door, "upstream": erp, "log": str(self.folder / "proxy.jsonl"), "seed": self.seed * 1000}
        self.proxy = Proxy("fault_proxy", wish | {"every_s": self.fault_every_s}, self.folder / "proxy.log")
        text = CONFIG.replace("STORE", self.server.url).replace("ERP", f"http://127.0.0.1:{door}/orders")
        text = text.replace("IDEMPOTENT", "" if self.keys else "idempotent = false")
        environ = {"LD_PRELOAD": str(library), "SEND_RECORD": str(self.record), "SEND_PORT": str(door)}
        for name in self.names:
            self._sleep_of(name).write_bytes(bytes(8))
        if self.package is not None:
            environ["PYTHONPATH"] = str(self.package)
        self.daemons = [
            Flashd(
                self.folder,
                text.replace("STATE", str(self.folder / f"state-{name}")),
                name,
                environ | {"ASLEEP": str(self._sleep_of(name))},
            )
            for name in self.names
        ]
        self._texts = [daemon.config for daemon in self.daemons]
        self.set_rate(self.rate)

    def set_rate(self, rate: str) -> None:
        """Write it into every configuration; a start or a SIGHUP reads it."""
        self.rate = rate
        for daemon, text in zip(self.daemons, self._texts, strict=True):
            daemon.config = text.replace("RATE", rate)
            daemon.write()

    @contextmanager
    def running(self) -> Iterator[Fleet]:
        """Start all; whatever happens, end all."""
        try:
            self.server.start()
            self.erp.start()
            self.proxy.start()
            for daemon in self.daemons:
                daemon.start(ready=False)
            for daemon in self.daemons:
                daemon.wait_until_ready(60)
            self.daemons[0].ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 1_000_000})
            yield self
        finally:
            for daemon in self.daemons:
                if daemon.process is not None and daemon.process.poll() is None:
                    daemon.kill()
            for thing in (self.proxy, self.erp, self.server):
                thing.kill()
            self.server.close()

    def sell(self, count: int, daemon: Flashd | None = None) -> None:
        """Queue that many orders; each is answered 2xx."""
        names = [f"o{len(self.sold) + number}" for number in range(count)]
        line = {"sku": "TEE", "quantity": 1, "unit_price": 100}
        bodies = [{"id": name, "currency": "EUR", "lines": [line], "total": 100} for name in names]
        body = "\n".join(json.dumps(one) for one in bodies).encode()
        status, said, _ = (daemon or self.daemons[0]).call("POST", "/v1/orders:batch", body, HEADERS, timeout=60)
        results = [json.loads(one) for one in said.splitlines()]
        assert status == 200, said
        assert len(results) == count, said[-500:]
        assert all(one["status"] in (200, 201) for one in results), results
        self.sold += names

    def _sleep_of(self, name: str) -> Path:
        return self.folder / f"{name}.asleep"

    def slept(self, daemon: Flashd, seconds: float) -> None:
        """Have its clock that never goes back lose so much, as that of a machine does which was paused."""
        with self._sleep_of(daemon.name).open("r+b") as file:  # in place: the process has it mapped
            lost = int.from_bytes(file.read(8), sys.byteorder) + round(seconds * 1e9)
            file.seek(0)
            file.write(lost.to_bytes(8, sys.byteorder))

    # ------------------------------------------------------------------------------------------------- what is seen

    def sent(self) -> list[Sent]:
        """Return every request that was written to a socket, in the order in which it was."""
        lines = [line.split(" ", 2) for line in self.record.read_text().splitlines()] if self.record.exists() else []
        return sorted((Sent(int(at) / 1e6, int(who), what) for at, who, what in lines), key=lambda one: one.at_s)

    def bookings(self) -> list[str]:
        """Return the ids of all orders in the backend's books, as often as they stand there."""
        return [one["order"]["order_id"] for one in self.entries("booked")]

    def entries(self, what: str) -> list[Entry]:
        return [one for one in read(self.books) if one["what"] == what]

    def leader(self, within_s: float = 20) -> Flashd:
        """Return the daemon that leads, as soon as one that answers says that it does."""
        return self.until(self._leader, "somebody leads", within_s)

    def _leader(self) -> Flashd | None:
        for daemon in self.daemons:
            with suppress(OSError, http.client.HTTPException, AssertionError):
                if (
                    daemon.call("GET", "/livez", port=daemon.admin, timeout=1)[0] == 200
                    and self.flow(daemon)["leading"]
                ):
                    return daemon
        return None

    @staticmethod
    def flow(daemon: Flashd) -> dict[str, Any]:
        """Return what a daemon says of its backend."""
        [backend] = daemon.ask_admin("GET", "/admin/v1/backends")["backends"]
        found: dict[str, Any] = backend["flow"] | {"leader": backend.get("leader", "")}
        return found

    @staticmethod
    def until(ask: Callable[[], T | None], what: str, within_s: float = 60) -> T:
        """Ask until the answer is true, and return it."""
        deadline = time.monotonic() + within_s
        while True:
            with suppress(OSError, http.client.HTTPException):
                if found := ask():
                    return found
            assert time.monotonic() < deadline, f"never: {what}"
            time.sleep(0.05)
