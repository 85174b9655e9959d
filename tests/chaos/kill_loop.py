"""
The kill loop: traffic, faults on both sides of the daemon, and SIGKILL for daemon, Redis, backend and both proxies.

Then the faults stop, the backlog must go, and the oracle judges. What a run leaves behind stays in its folder.
"""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.ledger import Entry, read
from tests.chaos.oracle import PLENTY, RARE
from tests.e2e.process import Flashd, free_port
from tests.servers import Server

RATE, LIMIT, SETTLE_S = 96, 100, 2.0  # requests a second: paced at 0.96 of what the backend allows
FAULT_EVERY_S = {"store_proxy": 3.0, "backend_proxy": 1.0}
TOKEN, SECRET = "till-token-of-the-chaos", "shop-secret-of-the-chaos"
CONFIG = """
[store]
url = "STORE"
state_dir = "STATE"
timeout_s = 1.5
[intake]
listen = "127.0.0.1:{intake}"
[admin]
listen = "127.0.0.1:{admin}"
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.token" } }]
[channels.shop]
kind = "shopify"
secrets = [{ file = "shop.secret" }]
since = 2020-01-01T00:00:00Z
[backends.erp]
kind = "http"
url = "ERP"
lookup_url = "ERP?key={key}"
BACKEND
rate = "PACE/s"
max_in_flight = 32
settle_s = SETTLE
timeout_s = 1.5
slow_start_s = 0.5
max_refusals = 50
[[routes]]
backend = "erp"
"""

# What the backend can: heed a key, and cancel; or only be looked at, so that whatever is sent twice is there twice.
BACKENDS = {"keys": 'cancel_url = "ERP/{id}/cancel"', "lookup": "idempotent = false"}


@dataclass
class Child:
    """A process of the harness; `kill` is SIGKILL."""

    module: str
    wish: dict[str, Any]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Child:
        with self.log.open("ab") as out:
            arguments = [sys.executable, "-m", f"tests.chaos.{self.module}", json.dumps(self.wish)]
            self.process = subprocess.Popen(arguments, stdout=out, stderr=out, cwd=Path(__file__).parents[2])
        return self

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Proxy(Child):
    """A fault proxy; each life has dice of its own, or it would begin with the same fault each time."""

    def start(self) -> Child:
        self.wish["seed"] += 1
        return super().start()

    def calm(self) -> None:
        """Let no more faults happen, in this life and the next ones."""
        self.kill()
        self.wish["every_s"] = 0
        self.start()


@dataclass
class Terms:
    """What a run is asked to do."""

    seconds: float
    seed: int
    kind: str = "valkey"
    backend: str = "keys"  # one of BACKENDS
    rate: int = 50  # orders a second


@dataclass
class Run:
    """One run in *folder*."""

    folder: Path
    terms: Terms
    kills: Counter[str] = field(default_factory=Counter)
    left_out: int = 0  # orders that the export did not show

    def __post_init__(self) -> None:
        erp, erp_door, keys = free_port(), free_port(), self.terms.backend == "keys"
        self.dice = random.Random(self.terms.seed)
        most_s = min(8.5, self.terms.seconds / 8)  # a short run kills each of them, too
        self.gap_s = (0.4 * most_s, most_s)
        self.server = Server(self.terms.kind)
        self.store_door = str(self.server.folder / "door")
        self.erp = self._child("erp", {"port": erp, "books": str(self.folder / "erp.jsonl"), "keys": keys})
        self.proxies = {
            "store_proxy": self._proxy("store_proxy", self.store_door, self.server.socket_path),
            "backend_proxy": self._proxy("backend_proxy", erp_door, erp),
        }
        text = CONFIG.replace("STORE", f"unix://{self.store_door}").replace("STATE", str(self.folder / "state"))
        text = text.replace("BACKEND", BACKENDS[self.terms.backend])
        text = text.replace("ERP", f"http://127.0.0.1:{erp_door}/orders").replace("PACE", str(RATE))
        self.daemon = Flashd(self.folder, text.replace("SETTLE", str(SETTLE_S)))
        sold = round(self.terms.seconds * self.terms.rate)
        self.stock = dict.fromkeys(PLENTY, 10 * sold) | {RARE: max(2, sold // 25)}

    def _child(self, module: str, wish: dict[str, Any]) -> Child:
        return Child(module, wish, self.folder / f"{module}.log")

    def _proxy(self, name: str, listen: int | str, upstream: int | str) -> Proxy:
        log, seed = self.folder / f"{name}.jsonl", self.terms.seed * 1000
        wish = {"listen": listen, "upstream": upstream, "log": str(log), "seed": seed, "every_s": FAULT_EVERY_S[name]}
        return Proxy("fault_proxy", wish, self.folder / f"{name}.log")

    def play(self) -> dict[str, Any]:
        """Play it to the end and return the oracle's verdict."""
        for name, secret in (("till.token", TOKEN), ("shop.secret", SECRET)):
            (self.folder / name).touch(mode=0o600)
            (self.folder / name).write_text(secret)
        seller = self._child("oracle", self._wish())
        try:
            self.server.start()
            self.erp.start()
            for proxy in self.proxies.values():
                proxy.start()
            self.daemon.start(ready=False).wait_until_ready(60)  # a busy machine imports for long
            for sku, units in self.stock.items():
                self._patiently(partial(self._ask, "PUT", f"stock/{sku}", {"on_hand": units}))
            seller.start()
            self._havoc(time.monotonic() + self.terms.seconds)
            end = self._end(seller)
        finally:
            seller.kill()
            self.daemon.close()
            things: list[Any] = [*self.proxies.values(), self.erp, self.server]
            for thing in things:
                thing.kill()
        (self.folder / "end.json").write_text(json.dumps(end))
        self.server.close()
        judged = [sys.executable, "-m", "tests.chaos.judge", str(self.folder)]
        said = subprocess.run(judged, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        assert said.stdout, said.stderr
        verdict: dict[str, Any] = json.loads(said.stdout)
        return verdict

    def _wish(self) -> dict[str, Any]:
        wish = {"ledger": str(self.folder / "sent.jsonl"), "intake": self.daemon.intake, "token": TOKEN}
        terms = {"rate": self.terms.rate, "seconds": self.terms.seconds, "seed": self.terms.seed}
        without = [] if self.terms.backend == "keys" else ["call_off"]  # what it does not take is left to a human
        return wish | terms | {"secret": SECRET, "prefix": "1", "without": without}

    # -------------------------------------------------------------------------------------------------------- the havoc

    def _havoc(self, until_s: float) -> None:
        """Kill, wait a moment, start again; each target comes once in a shuffled deck."""
        deck: list[str] = []
        while time.monotonic() < until_s:
            self._live(min(until_s, time.monotonic() + self.dice.uniform(*self.gap_s)))
            deck = deck or self.dice.sample(("daemon", "redis", "backend", *self.proxies), 5)
            self._kill(deck.pop())
            if deck and self.dice.random() < 0.15:  # two at once
                self._kill(deck.pop())
            time.sleep(self.dice.uniform(0.0, 1.5))
            self._revive()

    def _live(self, until_s: float) -> None:
        """Let time pass; a daemon that ended by itself is started again, as systemd does."""
        while (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(0.5, left_s))
            assert self.daemon.process is not None
            if self.daemon.process.poll() is not None:
                self.kills["ended by itself"] += 1
                self._revive()

    def _kill(self, target: str) -> None:
        things: dict[str, Any] = {"daemon": self.daemon, "redis": self.server, "backend": self.erp, **self.proxies}
        things[target].kill()
        self.kills[target] += 1

    def _revive(self) -> None:
        things: list[Any] = [self.server, self.erp, *self.proxies.values()]
        for thing in things:
            if thing.process.poll() is not None:
                thing.start()
        if self.daemon.process is not None and self.daemon.process.poll() is not None:
            self.daemon.start(ready=False)

    # ---------------------------------------------------------------------------------------------------------- the end

    def _end(self, seller: Child) -> dict[str, Any]:
        """Stop all faults, wait until the backlog is gone, and write down what the daemon shows."""
        self._revive()
        for proxy in self.proxies.values():
            proxy.calm()
        assert seller.process is not None
        self.daemon.wait_until_ready(60)
        backlog = self._patiently(self._backlog)
        began = time.monotonic()
        assert seller.process is not None
        assert seller.process.wait(150) == 0, "the seller ended: see oracle.log"
        in_sum = backlog["queued"] + backlog["in_flight"]
        bound_s = (in_sum + 3 * backlog["in_flight"]) / RATE + 2 * SETTLE_S + 30
        while sum(self._patiently(self._backlog).values()) and time.monotonic() < began + 3 * bound_s:
            time.sleep(0.5)
        drain = {"took_s": time.monotonic() - began, "bound_s": bound_s, "backlog": in_sum}
        orders = self._orders()
        stock = self._ask("GET", "stock")["levels"]
        self.daemon.terminate()
        said = self.daemon.run("audit", timeout=900)
        return {
            "orders": orders,
            "stock": stock,
            "audit": "clean" if said.returncode == 0 else said.stdout + said.stderr,
            "kills": dict(self.kills),
            "drain": drain | {"left out of the export": self.left_out},
            "terms": {"limit": LIMIT, "stock": self.stock, "backend": self.terms.backend},
        }

    def _orders(self) -> list[Entry]:
        """Return what the daemon shows of each order; those that its export leaves out are asked for one by one."""
        status, lines, _ = self.daemon.call("GET", "/admin/v1/orders/export", port=self.daemon.admin, timeout=900)
        assert status == 200, lines
        found: list[Entry] = [json.loads(line) for line in lines.splitlines()]
        shown = {(one["ref"]["channel"], one["ref"]["id"]) for one in found}
        sent = {(one["channel"], one["order"]) for one in read(self.folder / "sent.jsonl") if "channel" in one}
        for channel, name in sorted(sent - shown):
            self.left_out += 1
            status, said, _ = self.daemon.call("GET", f"/admin/v1/orders/{channel}/{name}", port=self.daemon.admin)
            if status == 200:
                found.append({"ref": {"channel": channel, "id": name}, "state": json.loads(said)["summary"]["state"]})
        return found

    def _backlog(self) -> dict[str, int]:
        pool = self._ask("GET", "status")["pools"]["main"]
        return {"queued": pool["orders"]["queued"], "in_flight": pool["orders"]["in_flight"], "held": pool["held"]}

    def _ask(self, method: str, what: str, body: object = None) -> Any:
        return self.daemon.ask_admin(method, f"/admin/v1/{what}", body)

    def _patiently(self, ask: Callable[[], Any], within_s: float = 30) -> Any:
        """Ask until it is answered: a fault may have hit the last question."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                return ask()
            except (AssertionError, OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
