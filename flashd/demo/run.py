"""
One demo from the first secret to the verdict: the real daemon between simulated shops and a simulated ERP.

Everything listens on loopback and lies in one temporary folder; every process that was started, or left behind by one
that was killed, is ended by its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from flashd.demo.admin_api import AdminApi, Away
from flashd.demo.chaos import DECKS, Chaos, Havoc, Progress, deck_size, wait_until_ready
from flashd.demo.ledger import SECOND_US, Ledger, Tail, now_us
from flashd.demo.oracle import UNSETTLED, Verdict
from flashd.demo.purchase import BLOCKED, CATALOGUE, plan
from flashd.demo.screen import Screen, View
from flashd.demo.shops import Shops
from flashd.demo.simulated_erp import SimulatedErp
from flashd.demo.site import Site, paced

REFRESH_S = 0.25
DRAIN_S = 60.0  # beside three requests for each customer; what is left of the backlog then is judged as it is
STOP_S = 15.0
BLOCKED_UNITS = 10
EARLY = 10
ENOUGH = 60  # orders, for every fault to happen; a smaller run only says which did not


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What `flashd demo` was asked for."""

    stock: int = 200  # units of each article
    orders: int = 600  # customers
    buyers: int = 60  # of them at a time
    erp_rate: int = 40  # requests that the ERP takes in any second
    chaos: Chaos = Chaos.REPLIES
    seed: int | None = None  # None: a new one, which is printed
    keep: bool = False  # leave the folder behind
    as_json: bool = False


def run_demo(options: DemoOptions) -> int:
    """
    Run a demo and print its verdict; return 0 for PASS, 1 for a broken promise, 130 for Ctrl-C.

    With ``as_json`` stdout gets one JSON object and stderr the progress.
    """
    if options.seed is None:
        options = msgspec.structs.replace(options, seed=time.time_ns() % 1_000_000)
    console = Console(stderr=options.as_json)
    folder = Path(tempfile.mkdtemp(prefix="flashd-demo-"))
    is_kept = options.keep
    try:
        report = asyncio.run(_Demo(options, folder, console).run())
        is_kept = is_kept or not report["passed"]
        if options.as_json:
            sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
        return 0 if report["passed"] else 1
    except ChildProcessError as error:
        console.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
        is_kept = True
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    finally:
        if is_kept:
            console.print(f"ledgers, logs and configuration: {folder}", highlight=False, markup=False, soft_wrap=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


class _Demo:
    """One run."""

    def __init__(self, options: DemoOptions, folder: Path, console: Console) -> None:
        self.options = options
        self.seed = options.seed or 0
        self.folder = folder
        self.stock = {article.sku: options.stock for article in CATALOGUE}
        if options.chaos is not Chaos.NONE:
            self.stock[BLOCKED] = BLOCKED_UNITS
        self.screen = Screen(console, orders=options.orders, limit=options.erp_rate)
        self.progress = Progress(options.orders)
        self.durations: dict[str, float] = {}

    async def run(self) -> dict[str, Any]:
        """Do it all, end every process whatever happens, and return the report."""
        task = asyncio.current_task()
        if task is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        began = time.monotonic()
        options = self.options
        erp = SimulatedErp(
            self.folder,
            limit=options.erp_rate,
            faults=DECKS[options.chaos],
            deck=deck_size(options.chaos, options.orders),
            seed=self.seed,
            switches=("--poison", BLOCKED, "--not-idempotent"),  # what is not there twice is flashd's merit
        )
        with contextlib.ExitStack() as stack:
            stack.callback(erp.close)
            stack.enter_context(self.screen)
            self.screen.say(f"seed {self.seed}, chaos {options.chaos}: {options.orders} customers")
            await asyncio.to_thread(erp.start)
            site = Site(self.folder, erp, limit=options.erp_rate)
            stack.callback(site.close)
            verdict, counts, not_caused = await self._play(site)
            code = await asyncio.to_thread(site.daemon.stop, STOP_S)
            if code != 0:
                verdict.wrong += 1
                verdict.problems.append(f"wrong: flashd ended with {code} within {STOP_S:.0f} s of SIGTERM")
            with self._timed("audit"):
                await self._audit(site, verdict)
        self.durations["whole"] = time.monotonic() - began
        if not_caused:
            hint = "; give it more --orders" if options.orders < ENOUGH else ""
            self.screen.say(f"this run was to cause {', '.join(not_caused)}, and did not{hint}")
        self.screen.close(verdict, counts["faults"])
        return self._report(verdict, counts, not_caused)

    async def _play(self, site: Site) -> tuple[Verdict, dict[str, dict[str, int]], list[str]]:
        """Start flashd, sell, break, drain, judge."""
        api = AdminApi(site.admin, site.admin_token)
        ledger = Ledger(self.folder / "shops.ledger")
        shops = Shops(site.intake, site.secrets, ledger, seed=self.seed, early=EARLY)
        try:
            with self._timed("start"):
                site.daemon.start()
                await wait_until_ready(site, api)
                for sku, units in self.stock.items():
                    await api.set_stock(sku, units)
            self.screen.say(f"flashd is ready: {site.admin}/  the ERP takes {self.options.erp_rate}/s")
            havoc = Havoc(self.options.chaos, site, api, self.progress, say=self.screen.say)
            async with self._watch(site, api, shops):
                await self._sell(shops, havoc)
                with self._timed("drain"):
                    if await self._drain(api):
                        self.screen.say("the backlog is gone")
            with self._timed("judge"):
                verdict = await self._judge(site, api)
        finally:
            await api.close()
            ledger.close()
        caused = dict(verdict.faults) | dict(havoc.counts)
        claimed = [*DECKS[self.options.chaos], *havoc.claimed]
        counts = {"shops": dict(shops.counts), "faults": caused}
        return verdict, counts, [name for name in claimed if not caused.get(name)]

    async def _sell(self, shops: Shops, havoc: Havoc) -> None:
        crowd = plan(self.seed, self.options.orders, with_blocked=self.options.chaos is not Chaos.NONE)
        with self._timed("sell"):
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(havoc.run())
                    await shops.run(crowd, buyers=self.options.buyers)
                    self.progress.sold()
                    self.screen.say("the shops are through")
            except ExceptionGroup as group_of_one:
                raise group_of_one.exceptions[0] from None

    async def _drain(self, api: AdminApi) -> bool:
        """Return when nothing is on its way any more, or False when that did not happen in time."""
        empty = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S + 3 * self.options.orders / self.options.erp_rate):
                while empty < 2:  # twice in a row: a newer version may follow the outcome of an older one
                    try:
                        empty = 0 if await api.has_backlog() else empty + 1
                    except Away:
                        empty = 0
                    await asyncio.sleep(REFRESH_S)
                return True
        return False

    async def _judge(self, site: Site, api: AdminApi) -> Verdict:
        """Hand the evidence to the oracle, which is a process of its own."""
        try:
            shown, books = await self._standstill(site, api)
        except Away as error:
            raise ChildProcessError(f"flashd does not answer ({error}): {site.daemon.tail()}") from None
        evidence = shown | {
            "stock": self.stock,
            "limit": self.options.erp_rate,
            "shops": str(self.folder / "shops.ledger"),
            "erp": str(books),
            "log": str(self.folder / "flashd.log"),
        }
        path = self.folder / "evidence.json"
        path.write_bytes(msgspec.json.encode(evidence))
        oracle = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "flashd.demo.oracle",
            "--json",
            str(path),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await oracle.communicate()
        if not said:
            raise ChildProcessError(f"the oracle ended with {oracle.returncode} and said nothing")
        return msgspec.json.decode(said, type=Verdict)

    async def _standstill(self, site: Site, api: AdminApi) -> tuple[dict[str, Any], Path]:
        """
        Return what flashd shows, and a copy of the ERP's ledger, of one moment.

        The backlog may be gone, and an order that fell short is filled all the same, by what another gave back.
        """
        books = self.folder / "erp.judged"
        while True:
            orders, counters = await api.orders(), await api.stock()
            await asyncio.to_thread(shutil.copyfile, site.erp.ledger, books)
            is_still = (orders, counters) == (await api.orders(), await api.stock())
            is_settled = is_still and not any(order.state in UNSETTLED for order in orders)
            if is_settled or not await self._drain(api):
                return {"orders": orders, "counters": counters}, books

    async def _audit(self, site: Site, verdict: Verdict) -> None:
        """Let flashd fold its own journal, too: what it finds against itself counts."""
        command = [sys.executable, "-P", "-m", "flashd", "audit", "--json", "-c", str(site.config)]
        pipe = asyncio.subprocess.PIPE
        audit = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=site.environ)
        said, complaint = await audit.communicate()
        if audit.returncode != 0:
            verdict.wrong += 1
            found = (said or complaint).decode(errors="replace")[-1000:]
            verdict.problems.append(f"wrong: flashd's own audit ended with {audit.returncode}: {found}")
        else:
            self.screen.say("flashd's own audit is clean")

    @contextlib.asynccontextmanager
    async def _watch(self, site: Site, api: AdminApi, shops: Shops) -> AsyncIterator[None]:
        watching = asyncio.create_task(self._refresh(site, api, shops))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _refresh(self, site: Site, api: AdminApi, shops: Shops) -> None:
        """Follow the ERP's ledger and flashd's own figures, for the view and for whoever waits for a moment."""
        tail, recent, view = Tail(site.erp.ledger), deque[int](), View()
        while True:
            for entry in tail.new():
                if entry["kind"] == "request":
                    recent.append(entry["at_us"])
                view.booked += entry["kind"] == "booked"
            while recent and now_us() - recent[0] > SECOND_US:
                recent.popleft()
            view.sends_per_s = len(recent)
            view.purchases, view.acknowledged = shops.counts["purchases"], shops.counts["acknowledged"]
            self.progress.move(purchases=view.purchases, booked=view.booked)
            try:
                view.flow = await api.flow()
                view.stock = {
                    level.sku: (level.on_hand - level.held - level.sold, level.on_hand) for level in await api.stock()
                }
            except Away:
                view.flow = None
            self.screen.show(view)
            await asyncio.sleep(REFRESH_S)

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.durations[name] = time.monotonic() - began

    def _report(self, verdict: Verdict, counts: dict[str, dict[str, int]], not_caused: list[str]) -> dict[str, Any]:
        options = self.options
        found = msgspec.to_builtins(verdict)
        found.pop("faults")
        passed = verdict.passed and not (not_caused and options.orders >= ENOUGH)
        return {
            "seed": self.seed,
            "passed": passed,
            "verdict": verdict.line,
            "options": {
                "stock": options.stock,
                "orders": options.orders,
                "buyers": options.buyers,
                "erp_rate": options.erp_rate,
                "paced_at": paced(options.erp_rate),
                "chaos": str(options.chaos),
            },
            **found,
            **counts,
            "not_caused": not_caused,
            "durations_s": {name: round(seconds, 2) for name, seconds in self.durations.items()},
        }
