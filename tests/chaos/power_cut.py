"""
A power cut: SIGKILL of Redis, and its log cut back to what was fsynced.

`kill -9` alone keeps the page cache and proves nothing. The recorder, a library that is compiled here and preloaded
into the server, notes how long the log was when each fsync of it began; nothing behind the last one is sure to be on
the disk, so nothing behind it is left.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.process import Flashd
from tests.servers import Server

SOURCE = Path(__file__).with_name("fsync_recorder.c")
WRITERS = 4
TOKEN = "till-token-of-the-power-cut"
CONFIG = """
[store]
url = "STORE"
state_dir = "STATE"
durability = "DURABILITY"
[intake]
listen = "127.0.0.1:{intake}"
[admin]
listen = "127.0.0.1:{admin}"
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.token" } }]
[backends.erp]
kind = "http"
url = "http://127.0.0.1:9/orders"
[[routes]]
backend = "erp"
"""


def missing() -> str:
    """Say why this machine cannot have a power cut; "" if it can."""
    return "" if shutil.which("gcc") else "no gcc to compile the fsync recorder with: apt-get install gcc"


def compile_recorder(folder: Path) -> Path:
    library = folder / "fsync_recorder.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@dataclass
class Cut:
    """What one power cut took."""

    written: int  # bytes of the log when the power went
    kept: int
    acknowledged: int
    lost: list[str]  # orders that were answered 2xx, and are not there any more


class PoweredServer(Server):
    """A server whose power can be cut."""

    def __init__(self, kind: str, library: Path, fsync: str) -> None:
        super().__init__(kind, {"appendfsync": fsync, "auto-aof-rewrite-percentage": "0"})
        self.record = self.folder / "record"
        self.environ = {"LD_PRELOAD": str(library), "FSYNC_RECORD": str(self.record)}

    def state(self) -> tuple[Path, int, int]:
        """Return its log, how much of it was written, and how much was fsynced."""
        [log] = (self.folder / "appendonlydir").glob("*.incr.aof")
        lines = [line.split(" ", 2) for line in self.record.read_text().splitlines()]
        synced = [int(size) for what, size, path in lines if what == "F" and path == str(log)]
        return log, log.stat().st_size, synced[-1] if synced else 0

    def wait_until_synced(self, within_s: float = 10) -> None:
        """Return when all of its log is on the disk, as it is at rest also with everysec."""
        deadline = time.monotonic() + within_s
        while (state := self.state())[1] > state[2]:
            assert time.monotonic() < deadline, f"not fsynced: {state}"
            time.sleep(0.05)

    def cut_power(self) -> tuple[int, int]:
        """Kill it, and leave of its log what was fsynced; return the bytes that were written and are kept."""
        self.kill()
        log, written, kept = self.state()
        os.truncate(log, kept)
        with self.record.open("a") as record:
            record.write(f"F {kept} {log}\n")  # what is left is on the disk
        return written, kept


@dataclass
class Writers:
    """Clients of the daemon's own intake, each sending one order after the other."""

    daemon: Flashd
    acknowledged: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @contextmanager
    def at_work(self, round_: int) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._write, args=(f"{round_}-{n}", stop)) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _write(self, prefix: str, stop: threading.Event) -> None:
        serial, connection = 0, http.client.HTTPConnection("127.0.0.1", self.daemon.intake, timeout=5)
        while not stop.is_set():
            serial += 1
            order = f"{prefix}-{serial}"
            line = {"sku": "TEE", "quantity": 1, "unit_price": 100}
            body = json.dumps({"id": order, "currency": "EUR", "lines": [line], "total": 100})
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            with suppress(OSError, http.client.HTTPException):
                connection.request("POST", "/v1/orders", body, headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1
                if answer.status < 300:
                    self.acknowledged.append(order)
                    stop.wait(0.004)  # others want the processor too
                else:
                    stop.wait(0.05)
        connection.close()


def cut_again_and_again(
    folder: Path, kind: str, *, fsync: str, cuts: int, work_s: float, durability: str = ""
) -> list[Cut]:
    """
    Write through the daemon, cut the power, start again, and see what is left of all that was ever acknowledged.

    Args:
        durability: What the daemon is told to promise; as much as *fsync* keeps where nothing is said.
    """
    server = PoweredServer(kind, compile_recorder(folder), fsync)
    server.start()
    (folder / "till.token").touch(mode=0o600)
    (folder / "till.token").write_text(TOKEN)
    text = CONFIG.replace("STORE", server.url).replace("STATE", str(folder / "state"))
    daemon = Flashd(folder, text.replace("DURABILITY", durability or ("fsync" if fsync == "always" else fsync)))
    writers, found = Writers(daemon), []
    gone: set[str] = set()
    try:
        daemon.start().ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 1_000_000})
        server.wait_until_synced()  # or the first cut leaves nothing to sell
        for round_ in range(cuts):
            before = len(writers.acknowledged)
            with writers.at_work(round_):
                time.sleep(work_s * (0.7 + 0.6 * (round_ * 0.618 % 1)))  # another moment of the second each time
                written, kept = server.cut_power()
            server.start()
            daemon.wait_until_ready()
            lost = missing_at(daemon, set(writers.acknowledged) - gone)
            gone |= lost
            found.append(Cut(written, kept, len(writers.acknowledged) - before, sorted(lost)))
    finally:
        daemon.close()
        server.close()
    return found


def missing_at(daemon: Flashd, orders: Iterable[str]) -> set[str]:
    """Return those of *orders* that the daemon does not know; a list of all may miss one that moves meanwhile."""
    status, lines, _ = daemon.call("GET", "/admin/v1/orders/export", port=daemon.admin)
    assert status == 200, lines
    unseen = set(orders) - {json.loads(line)["ref"]["id"] for line in lines.splitlines()}
    return {one for one in unseen if daemon.call("GET", f"/admin/v1/orders/till/{one}", port=daemon.admin)[0] == 404}
