"""
Load on a daemon while the servers under it change, and a stranger's judgement of what became of each order.

Sellers, backend and judge are those of `tests.chaos`: processes that share no code with the daemon, with ledgers that
are on the disk before anybody is told. What a trial leaves behind stays in its folder.
"""

from __future__ import annotations

import bisect
import http.client
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.judge import Key, Told, Verdict, is_order, judge_orders, judge_stock, read_books, read_sent
from tests.chaos.kill_loop import BACKENDS, Child
from tests.chaos.ledger import Entry, read
from tests.chaos.oracle import PLENTY, RARE, STORIES
from tests.e2e.process import Flashd, free_port

CONFIG = """
[store]
url = "STORE"
state_dir = "STATE"
timeout_s = 1.5
MORE
[intake]
listen = "127.0.0.1:{intake}"
[admin]
listen = "127.0.0.1:{admin}"
CHANNELS
[backends.erp]
kind = "http"
url = "ERP"
lookup_url = "ERP?key={key}"
BACKEND
rate = "PACE/s"
max_in_flight = 32
settle_s = 2
timeout_s = 1.5
slow_start_s = 0.5
max_refusals = 50
[[routes]]
backend = "erp"
"""
TILL_AND_SHOP = """
[pools.POOL]
[channels.till-POOL]
kind = "native"
pool = "POOL"
tokens = [{ name = "POOL", secret = { file = "till-POOL.secret" } }]
[channels.shop-POOL]
kind = "shopify"
pool = "POOL"
secrets = [{ file = "shop-POOL.secret" }]
since = 2020-01-01T00:00:00Z
"""
POLLED = """
[channels.hook]
kind = "standard_webhooks"
pool = "POOL"
secrets = [{ file = "hook.secret" }]
orders_url = "http://127.0.0.1:PORT/orders"
api_token = { file = "hook.token" }
poll_s = POLL
since = 2020-01-01T00:00:00Z
"""
PLENTIFUL = 1_000_000


@dataclass(kw_only=True)
class Terms:
    """What a trial is asked to do."""

    seconds: float  # of selling
    seed: int
    rate: int = 50  # orders a second, over all pools
    pools: Sequence[str] = ("main",)
    backend: str = "lookup"  # one of BACKENDS
    pace: int = 96  # requests a second to the backend
    store: str = ""  # more lines of [store]
    poll_s: float | None = None  # a shop of one's own sells as well, and is polled so often; 0: never
    stories: Sequence[str] = tuple(STORIES)  # what the other sellers do, as far as the backend can


@dataclass
class Answer:
    """One order that was answered 2xx, and when."""

    at_s: float
    order: str


@dataclass
class Trial:
    """One run in *folder* against the store at *url*; close it, or leave it as a context."""

    folder: Path
    url: str
    terms: Terms
    sellers: dict[str, Child] = field(default_factory=dict)  # by pool; "hook" is the polled shop
    states: dict[Key, Entry] = field(default_factory=dict)  # what the daemon shows of each order at the end
    levels: dict[str, list[Entry]] = field(default_factory=dict)  # and of the stock of each pool

    def __post_init__(self) -> None:
        port, shop = free_port(), free_port()
        keys = self.terms.backend == "keys"
        books = {"port": port, "books": str(self.folder / "erp.jsonl"), "keys": keys}
        self.erp = Child("erp", books, self.folder / "erp.log")
        self._secrets: dict[str, str] = {}
        text = CONFIG.replace("STORE", self.url).replace("MORE", self.terms.store)
        text = text.replace("STATE", str(self.folder / "state")).replace("CHANNELS", self._channels(shop))
        text = text.replace("BACKEND", BACKENDS[self.terms.backend]).replace("PACE", str(self.terms.pace))
        self.daemon = Flashd(self.folder, text.replace("ERP", f"http://127.0.0.1:{port}/orders"))
        for number, pool in enumerate(self.terms.pools):
            self.sellers[pool] = self._oracle(pool, number)
        if self.terms.poll_s is not None:
            self.sellers["hook"] = self._shop(shop)
        rare = max(2, round(self.terms.rate * self.terms.seconds) // 25 // len(self.terms.pools))
        self.stock = dict.fromkeys(PLENTY, PLENTIFUL) | {RARE: rare}

    def _channels(self, shop: int) -> str:
        text = "".join(TILL_AND_SHOP.replace("POOL", pool) for pool in self.terms.pools)
        for pool in self.terms.pools:
            self._secrets |= {f"{kind}-{pool}.secret": f"{kind}-{pool}-of-the-trial-" * 2 for kind in ("till", "shop")}
        if self.terms.poll_s is None:
            return text
        self._secrets |= {"hook.secret": "hook-secret-of-the-trial", "hook.token": "hook-token-of-the-trial"}
        polled = POLLED.replace("POLL", str(self.terms.poll_s)).replace("PORT", str(shop))
        return text + polled.replace("POOL", self.terms.pools[0])

    @property
    def _rate(self) -> float:
        return self.terms.rate / (len(self.terms.pools) + (self.terms.poll_s is not None))

    def _wish(self, name: str) -> dict[str, Any]:
        wish = {"ledger": str(self.folder / f"{name}.jsonl"), "intake": self.daemon.intake}
        return wish | {"rate": self._rate, "seconds": self.terms.seconds, "seed": self.terms.seed}

    def _oracle(self, pool: str, number: int) -> Child:
        wish = self._wish(pool) | {"prefix": str(number + 1), "till": f"till-{pool}", "shop": f"shop-{pool}"}
        wish |= {"token": self._secrets[f"till-{pool}.secret"], "secret": self._secrets[f"shop-{pool}.secret"]}
        wish["seed"] += number
        without = [story for story in STORIES if story not in self.terms.stories]
        without += [] if self.terms.backend == "keys" else ["call_off"]
        wish["slower"] = 4  # who is refused for long asks less: a thousand who do not would starve a small machine
        return Child("oracle", wish | {"without": without}, self.folder / f"oracle-{pool}.log")

    def _shop(self, port: int) -> Child:
        wish = self._wish("hook") | {"port": port, "channel": "hook", "secret": self._secrets["hook.secret"]}
        return Child("shop", wish, self.folder / "shop.log")

    # --------------------------------------------------------------------------------------------------------- its life

    def __enter__(self) -> Self:
        try:
            for name, secret in self._secrets.items():
                (self.folder / name).touch(mode=0o600)
                (self.folder / name).write_text(secret)
            self.erp.start()
            self.daemon.start()
            for pool in self.terms.pools:
                for sku, units in self.stock.items():
                    self.ask("PUT", f"stock/{sku}?pool={pool}", {"on_hand": units})
            self._began_s = time.time()
            for seller in self.sellers.values():
                seller.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for seller in self.sellers.values():
            seller.kill()
        self.daemon.close()
        self.erp.kill()

    def ask(self, method: str, what: str, body: object = None, *, within_s: float = 20) -> Any:
        """Ask the daemon until it answers well."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                return self.daemon.ask_admin(method, f"/admin/v1/{what}", body)
            except (AssertionError, OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    # ---------------------------------------------------------------------------------------------------- what it shows

    def answers(self, name: str) -> list[Answer]:
        """Return the orders that one seller was promised, by the time of the answer."""
        return [
            Answer(entry["at_s"], entry["order"])
            for entry in read(self.folder / f"{name}.jsonl")
            if entry["what"] == "answered" and entry["that"] == "order" and entry["status"] < 300
        ]

    def promises(self) -> dict[Key, float]:
        """Return when each order was first answered 2xx."""
        first: dict[Key, float] = {}
        for name in self.sellers:
            entries = read(self.folder / f"{name}.jsonl")
            channels = {one["order"]: one["channel"] for one in entries if one["what"] == "sent" and "channel" in one}
            for answer in self.answers(name):
                first.setdefault((channels[answer.order], answer.order), answer.at_s)
        return first

    @property
    def successions(self) -> int:
        """How often the daemon saw that another server answers: more than were killed are the machine's doing."""
        return self.daemon.log.read_text().count('"store.changed"')

    @property
    def forgotten(self) -> set[Key]:
        """The orders of which the daemon said in its log that the store had forgotten them."""
        lines = [line for line in self.daemon.log.read_text().splitlines() if '"order.forgotten"' in line]
        return {(told["channel"], told["order"]) for told in map(json.loads, lines)}

    @property
    def is_selling(self) -> bool:
        """Whether the sellers still begin new orders."""
        return time.time() < self._began_s + self.terms.seconds

    def delivered(self, since_s: float, until_s: float) -> Counter[str]:
        """Return how many orders of each pool first reached the backend in that time."""
        books = read(self.folder / "erp.jsonl")
        channels = {one["key"]: one["order"]["channel"] for one in books if one["what"] == "booked"}
        first = {one["key"]: one["at_s"] for one in reversed(books) if one["what"] == "request"}
        found = [key for key, at_s in first.items() if key in channels and since_s <= at_s < until_s]
        return Counter(channels[key].partition("-")[2] for key in found)

    def refused(self, name: str, since_s: float, until_s: float) -> list[Entry]:
        """Return what one seller asked in vain in that time."""
        entries = read(self.folder / f"{name}.jsonl")
        return [one for one in entries if one["what"] == "unanswered" and since_s <= one["at_s"] < until_s]

    def silence(self, name: str, around_s: float, within_s: float = 20) -> float:
        """Return the longest time without a promise to one seller that began soon after *around_s*."""
        times = [answer.at_s for answer in self.answers(name)]
        near = times[max(0, bisect.bisect(times, around_s) - 1) : bisect.bisect(times, around_s + within_s)]
        return max((later - earlier for earlier, later in itertools.pairwise(near)), default=0.0)

    # ------------------------------------------------------------------------------------------------------ the verdict

    def end(self, within_s: float = 150) -> Verdict:
        """Wait until all is sold and delivered, and judge it."""
        self._wait(self._all_sold, "everything is sold", within_s)
        self._wait(lambda: not any(self._backlog()), "the backlog is gone", 90)
        orders = [one for pool in self.terms.pools for one in self._exported(pool)]
        self.levels = {pool: self.ask("GET", f"stock?pool={pool}")["levels"] for pool in self.terms.pools}
        self.daemon.terminate()
        said = self.daemon.run("audit")
        verdict = self._judged(orders)
        if said.returncode != 0:
            verdict.breaches.append(f"the audit: {said.stdout}{said.stderr}"[:2000])
        return verdict

    def _all_sold(self) -> bool:
        done = [seller.process is not None and seller.process.poll() == 0 for seller in self.sellers.values()]
        if "hook" in self.sellers:  # it stays to be polled
            done[-1] = any(entry["what"] == "done" for entry in read(self.folder / "hook.jsonl"))
        return all(done)

    def _backlog(self) -> list[int]:
        pools = self.ask("GET", "status")["pools"].values()
        return [count for one in pools for count in (one["orders"]["queued"], one["orders"]["in_flight"], one["held"])]

    @staticmethod
    def _wait(asked: Callable[[], bool], what: str, within_s: float) -> None:
        deadline = time.monotonic() + within_s
        while not asked():
            assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
            time.sleep(0.3)

    def _exported(self, pool: str) -> list[Entry]:
        target = f"/admin/v1/orders/export?pool={pool}"
        status, lines, _ = self.daemon.call("GET", target, port=self.daemon.admin, timeout=120)
        assert status == 200, lines
        return [json.loads(line) for line in lines.splitlines()]

    def _judged(self, exported: list[Entry]) -> Verdict:
        verdict = Verdict()
        self.states = {(one["ref"]["channel"], one["ref"]["id"]): one for one in exported if is_order(one)}
        booked, undone = read_books(read(self.folder / "erp.jsonl"))
        sent: dict[Key, Told] = {}
        for name in self.sellers:
            orders, odd = read_sent([one for one in read(self.folder / f"{name}.jsonl") if one["what"] != "done"])
            sent |= orders
            verdict.breaches += odd
        judge_orders(verdict, sent, booked, undone, self.states)
        for pool in self.terms.pools:
            channels = {f"till-{pool}", f"shop-{pool}"} | ({"hook"} if pool == self.terms.pools[0] else set())
            mine = {key: bookings for key, bookings in booked.items() if key[0] in channels}
            judge_stock(verdict, mine, undone, {"stock": self.levels[pool], "terms": {"stock": self.stock}})
        verdict.figures |= {
            "orders": len(sent),
            "answered 2xx": sum(told.promised for told in sent.values()),
            "delivered": sum(one["state"] == "delivered" for one in self.states.values()),
        }
        return verdict
