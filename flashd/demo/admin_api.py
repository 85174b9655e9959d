"""flashd as an operator's script sees it: its admin API over HTTP, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import aiohttp
import msgspec

from flashd.demo.evidence import FlashdOrder, FlashdStock


class Away(Exception):  # noqa: N818  # a finding: the daemon was killed, and will be back
    """The daemon does not answer."""


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """What waits for the ERP, and how fast it leaves."""

    queued: int = 0
    in_flight: int = 0
    in_doubt: int = 0
    eta_s: float | None = None


class AdminApi:
    """One session with the admin listener. Everything raises Away while the daemon does not answer."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._http = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=10.0)
        )

    async def close(self) -> None:
        """End the session."""
        await self._http.close()

    async def is_ready(self) -> bool:
        """Ask whether orders would be accepted now."""
        try:
            async with self._http.get(f"{self._address}/readyz") as reply:
                return reply.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def set_stock(self, sku: str, units: int) -> None:
        """Count *units* of an article."""
        await self._call("PUT", f"/admin/v1/stock/{sku}", json={"on_hand": units})

    async def stock(self) -> list[FlashdStock]:
        """Return the counters of every article."""
        found = msgspec.json.decode(await self._call("GET", "/admin/v1/stock"))
        return [msgspec.convert(level, FlashdStock) for level in found["levels"]]

    async def orders(self) -> list[FlashdOrder]:
        """Return every record that flashd shows."""
        lines = (await self._call("GET", "/admin/v1/orders/export")).splitlines()
        return [_shown(msgspec.json.decode(line)) for line in lines if line]

    async def has_backlog(self) -> bool:
        """Ask whether any order is neither delivered nor visibly stopped."""
        query = "state=queued&state=sending&state=in_doubt&limit=1"
        return bool(msgspec.json.decode(await self._call("GET", f"/admin/v1/orders?{query}"))["orders"])

    async def flow(self) -> Flow:
        """Return what waits for the ERP."""
        found = msgspec.json.decode(await self._call("GET", "/admin/v1/backends/erp"))
        return msgspec.convert(found["flow"] | {"eta_s": found["drain_eta_s"]}, Flow)

    async def _call(self, method: str, path: str, **more: Any) -> bytes:
        try:
            async with self._http.request(method, self._address + path, **more) as reply:
                body = await reply.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Away(str(error)) from error
        if reply.status >= 500:
            raise Away(f"{method} {path}: HTTP {reply.status}")
        if reply.status >= 400:
            raise ChildProcessError(f"flashd refused {method} {path}: HTTP {reply.status} {body[:500]!r}")
        return body


def _shown(record: dict[str, Any]) -> FlashdOrder:
    taken: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    for item in record["items"]:
        taken[item["sku"]] += item["taken"]
        wanted[item["sku"]] += item["quantity"]
    ref = record["ref"]
    return FlashdOrder(
        channel=ref["channel"],
        id=ref["id"],
        kind=ref["kind"],
        state=record["state"],
        sends=record["sends"],
        taken=dict(taken),
        wanted=dict(wanted),
    )
