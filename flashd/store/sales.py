"""Sales of one pool in Redis: versioned documents, and the rules that the scripts decide by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis

from flashd.domain.instant import to_ms
from flashd.domain.sale import Sale, SaleRecord, SaleState
from flashd.errors import Conflict, NotFound
from flashd.store.faults import store_faults
from flashd.store.keys import pool_key
from flashd.store.packing import clean
from flashd.store.scripts import load

_KEYS = ("sale", "rule", "dirty", "j")
_SALE = msgspec.json.Decoder(Sale)
_PART, _VERSION = b"\x1d", "\x1f"


class RedisSales:
    """The port Sales; see `flashd.ports`."""

    def __init__(self, client: Redis, pool: str) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for

    async def _call(self, name: str, args: Sequence[str | bytes | int]) -> Any:
        with store_faults(name):
            return await load(name).call(self._client, [pool_key(self.pool, key) for key in _KEYS], args)

    async def put(self, sale: Sale, *, by: str, version: int = 0) -> SaleRecord:
        """Write a sale, and the rules that the scripts decide by, in one step."""
        args: list[str | bytes | int] = [
            sale.name,
            version,
            clean(by),
            msgspec.json.encode(sale, order="deterministic"),
            to_ms(sale.start),
            to_ms(sale.end),
            sale.limit,
            " ".join(sale.channels),
            int(sale.outside == "closed"),
        ]
        for product in sale.products:
            args += [product.sku, product.quota, product.limit]
        reply = await self._call("put_sale", args)
        if reply[0] == b"overlap":
            sku, other = reply[1].decode(), reply[2].decode()
            raise Conflict(f"{sku} is in sale {other} at the same time: change one of the windows", sale=other, sku=sku)
        record = _record(sale.name, reply[1:])
        if reply[0] == b"conflict":
            raise Conflict(
                f"sale {sale.name} is at version {record.version} by now, not {version}: read it, and change that",
                version=record.version,
            )
        return _unless_over(reply[0], record)

    async def set_state(self, name: str, state: SaleState, *, by: str) -> SaleRecord:
        """Stop, resume or end a sale."""
        reply = await self._call("sale_state", [name, state, clean(by)])
        if reply[0] == b"unknown_sale":
            raise NotFound(f"there is no sale {name}")
        return _unless_over(reply[0], _record(name, reply[1:]))

    async def get(self, name: str, *, version: int = 0) -> SaleRecord | None:
        """Return a sale: its newest version, or that one."""
        field = f"{name}{_VERSION}{version}" if version else name
        with store_faults("sale"):
            packed = await self._client.hget(pool_key(self.pool, "sale"), field)
        return _unpacked(name, packed) if packed else None

    async def all(self) -> list[SaleRecord]:
        """Return the newest version of every sale, by start. Former versions are not fetched: there may be many."""
        key = pool_key(self.pool, "sale")
        with store_faults("sales"):
            names = [field for field in await self._client.hkeys(key) if _VERSION.encode() not in field]
            found = await self._client.hmget(key, names) if names else ()
        records = [_unpacked(name.decode(), packed) for name, packed in zip(names, found, strict=True) if packed]
        return sorted(records, key=lambda record: (record.sale.start, record.sale.name))

    async def used(self, name: str, skus: Sequence[str] = ()) -> dict[str, int]:
        """Return how many units of each SKU were held or sold under the sale's quota."""
        if not skus:
            record = await self.get(name)
            skus = [product.sku for product in record.sale.products] if record is not None else ()
        if not skus:
            return {}
        with store_faults("used"):
            counts = await self._client.hmget(pool_key(self.pool, "use"), [f"q\x1f{name}\x1f{sku}" for sku in skus])
        return {sku: int(count or 0) for sku, count in zip(skus, counts, strict=True)}

    async def history(self, name: str, *, limit: int = 50) -> list[SaleRecord]:
        """Return the versions of a sale, newest first."""
        newest = await self.get(name)
        if newest is None:
            return []
        numbers = range(newest.version, max(0, newest.version - limit), -1)
        with store_faults("history"):
            found = await self._client.hmget(
                pool_key(self.pool, "sale"), [f"{name}{_VERSION}{number}" for number in numbers]
            )
        return [_unpacked(name, packed) for packed in found if packed]

    async def clock_ms(self) -> int:
        """Return the clock that decides whether a window is open: the server's."""
        with store_faults("time"):
            seconds, microseconds = await self._client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def boundary(self, record: SaleRecord, kind: Literal["opened", "over"]) -> bool:
        """Say that a window opened or is over, once over all processes; its SKUs are dirty on every channel then."""
        keys = [pool_key(self.pool, key) for key in ("sale", "sale:told", "dirty", "j")]
        sale = record.sale
        args: list[str | bytes | int] = [sale.name, record.version, kind, to_ms(sale.start), to_ms(sale.end)]
        with store_faults("sale_boundary"):
            code = await load("sale_boundary").call(self._client, keys, args)
        return bool(code == b"told")


def _unless_over(code: bytes, record: SaleRecord) -> SaleRecord:
    if code == b"over":
        raise Conflict(f"sale {record.sale.name} has ended: write a new one under another name", state=record.state)
    return record


def _record(name: str, parts: Sequence[bytes]) -> SaleRecord:
    version, state, by, changed_ms, document = parts
    sale = _SALE.decode(document)
    assert sale.name == name  # noqa: S101  # the script files it under its own name
    return SaleRecord(
        sale=sale, version=int(version), state=SaleState(state.decode()), by=by.decode(), changed_ms=int(changed_ms)
    )


def _unpacked(name: str, packed: bytes) -> SaleRecord:
    version, state, by, changed_ms, _skus, document = packed.split(_PART, 5)
    return _record(name, (version, state, by, changed_ms, document))
