"""The bugs: what two good developers might have written, and each of which breaks a promise."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One text of one file, and what a bug has in its place."""

    path: str  # below the package
    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """
    A bug.

    Args:
        name: What was done.
        check: Which check must fail: one of `checks.CHECKS`.
        says: What that check says of it, so that a run that fails for another reason is not taken for a catch.
        edits: How it is planted.
    """

    name: str
    check: str
    says: str
    edits: tuple[Edit, ...]


_RETRIES = """for _ in range(3):
            answer = await self._send("POST", url, msgspec.json.encode(content), headers or {})
            if not isinstance(answer, Doubtful):
                break
        return answer"""
_EARLY = """from flashd.domain.order import AcceptCode, Accepted

        for wish in [wish for _, taken in group for wish in taken]:
            wish.answer([Accepted(AcceptCode.ACCEPTED, OrderState.QUEUED) for _ in wish.items])
        return self.ledger.accept(orders, backends, since_ms=since_ms).then(wake)"""
_PARSED = """early = self.channel.decode(headers, body)
        if not isinstance(early, Unreadable) and not self.channel.verify(headers, body, now_s=now_ms / 1000):"""
_SEEN = """names = {"x-wc-webhook-delivery-id", "x-shopify-event-id"}
        delivery_id = next((value for name, value in headers.items() if name.lower() in names), "")
        seen = self.__dict__.setdefault("_delivery_ids", set())
        if delivery_id in seen:
            return _at_once(Receipt(state="unrelated", reason="a duplicate"))
        seen.update({delivery_id} - {""})
        decoded = self.channel.decode(headers, body)"""
_SPARE = "level.on_hand - level.held - level.sold - level.safety - level.exposed - level.owed"
_STORED = """local function promised_of(level)
  return level.held + level.sold + level.safety + level.exposed + level.owed
end

-- What is free stands beside the counters, and moves with every hold and every sale.
local function spare_of(level)
  if not level.stored then
    return level.on_hand - promised_of(level)
  end
  return level.stored - (promised_of(level) - level.promised)
end
"""

BUGS = (
    Bug(
        "client retries on: a request to a backend is repeated",
        "in doubt",
        ", booked [(",
        (
            Edit(
                "backends/exchange.py",
                'return await self._send("POST", url, msgspec.json.encode(content), headers or {})',
                _RETRIES,
            ),
        ),
    ),
    Bug(
        "client retries on: a command to the store is repeated",
        "lost replies",
        "DID NOT RAISE TimeoutError",
        (Edit("store/connection.py", "Retry(NoBackoff(), 0)", "Retry(NoBackoff(), 10)"),),
    ),
    Bug(
        "queued again instead of in doubt",
        "in doubt",
        ", booked [(",
        (Edit("domain/verdict.py", "kind=ResultKind.DOUBT,", "kind=ResultKind.LATER,"),),
    ),
    Bug(
        "WAITAOF and everysec: answered before the fsync",
        "power cut",
        "orders answered 2xx are lost",
        (
            Edit("store/settings.py", '"everysec": "everysec"', '"everysec": "fsync"'),
            Edit("store/settings.py", '{"fsync": ("always",)', '{"fsync": ("always", "everysec")'),
            Edit(
                "store/scripts.py",
                'observe = getattr(client, "observe", None)',
                'await client.execute_command("WAITAOF", 1, 0, 1000)\n        '
                'observe = getattr(client, "observe", None)',
            ),
        ),
    ),
    Bug(
        "burst = N",
        "any window",
        " in 0.",
        (Edit("actors/tempo.py", "burst=rules.burst", "burst=max(rules.burst, self.rate.count)"),),
    ),
    Bug(
        "no fence",
        "fence",
        "booked twice",
        (
            Edit(
                "store/lua/includes/fence.lua",
                "return epoch < (integer(redis.call('GET', fence) or '0') or 0)",
                "return false",
            ),
        ),
    ),
    Bug(
        "ATP stored",
        "recount",
        "assert",
        (
            Edit(
                "store/lua/includes/stock.lua",
                f"local function spare_of(level)\n  return {_SPARE}\nend\n",
                _STORED,
            ),
            Edit(
                "store/lua/includes/stock.lua",
                "local function unpack_level(",
                "local atp\nlocal function unpack_level(",
            ),
            Edit(
                "store/lua/includes/stock.lua",
                "  level.was = spare_of(level)\n",
                "  level.stored = tonumber(redis.call('HGET', atp, field) or nil)\n"
                "  level.promised = promised_of(level)\n  level.was = spare_of(level)\n",
            ),
            Edit(
                "store/lua/includes/stock.lua",
                "local function level_of(stock, sku, location)\n",
                "local function level_of(stock, sku, location)\n  atp = stock .. ':atp'\n",
            ),
            Edit(
                "store/lua/includes/stock.lua",
                "      marks[at + 1], marks[at + 2] = now, level.sku\n",
                "      marks[at + 1], marks[at + 2] = now, level.sku\n"
                "      redis.call('HSET', stock .. ':atp', level.field, string.format('%.0f', is))\n",
            ),
        ),
    ),
    Bug(
        "TTL from the client: a hold's end is reckoned by the daemon's clock",
        "hold clock",
        "held",
        (
            Edit(
                "store/calls.py",
                "group = (request.ttl_ms, request.channel, text)",
                'group = (request.ttl_ms + int(__import__("time").time() * 1000), request.channel, text)',
            ),
            Edit("store/lua/includes/usual_hold.lua", "whole(now_ms + group.ttl)", "whole(group.ttl)"),
            Edit("store/lua/includes/hold_one.lua", "now_ms + wish.ttl", "wish.ttl"),
        ),
    ),
    Bug(
        "2xx before the store's reply",
        "kill loop",
        "lost: (",
        (
            Edit(
                "actors/convoy.py", "return self.ledger.accept(orders, backends, since_ms=since_ms).then(wake)", _EARLY
            ),
        ),
    ),
    Bug(
        "parse before verify",
        "forged",
        "assert 200 == 401",
        (
            Edit(
                "actors/intake.py",
                "if not self.channel.verify(headers, body, now_s=now_ms / 1000):",
                _PARSED,
            ),
        ),
    ),
    Bug(
        "look-up without settling",
        "settling",
        "booked twice",
        (
            Edit("domain/verdict.py", "delay_ms=max(wait_ms, rules.settle_ms),", "delay_ms=wait_ms,"),
            Edit("domain/verdict.py", "delay_ms=rules.settle_ms,", "delay_ms=0,"),
        ),
    ),
    Bug(
        "dedupe on the delivery id",
        "delivery ids",
        "a paid order was taken for a duplicate",
        (
            Edit(
                "actors/intake.py",
                "decoded = self.channel.decode(headers, body)",
                _SEEN,
            ),
        ),
    ),
    Bug(
        "unfenced finish",
        "fence",
        "booked twice",
        (Edit("store/lua/finish.lua", "local stale = is_stale(KEYS[1], epoch)", "local stale = false"),),
    ),
)
