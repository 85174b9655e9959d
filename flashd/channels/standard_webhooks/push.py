"""
What flashd tells, and asks, a shop of one's own: signed figures by POST, its figures and its orders by GET.

The formats stand in docs/channels/standard_webhooks.md. A figure is absolute. A message that is repeated under the same
``webhook-id`` changes nothing a second time: Standard Webhooks make that the receiver's duty, so a write whose answer
was lost may be repeated as it was.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

import msgspec
from yarl import URL

from flashd.channels.exchange import (
    FIGURE_PATIENCE_S,
    Answer,
    Link,
    Lost,
    Pace,
    checked_address,
    heard,
    plain,
    told,
    write_code,
)
from flashd.channels.standard_webhooks.config import Config
from flashd.channels.standard_webhooks.orders import StandardWebhooks, connect, decode_order
from flashd.config import Secret, SecretText
from flashd.domain.catalogue import Entry, Product
from flashd.domain.listing import WriteMode
from flashd.domain.rate import Rate
from flashd.errors import ChannelUnavailable, ConfigError
from flashd.ports import (
    ApiTraits,
    Figure,
    FigureWrite,
    FigureWritten,
    OrderPage,
    Polled,
    Price,
    PriceWrite,
    Subscription,
    WriteCode,
)

T = TypeVar("T")

TYPE = "stock.published"
BATCH = 500
ASKED = 50  # SKUs in one address
_NO_PRICES = "a channel of Standard Webhooks has no prices to read or write"
_HINTS = {401: "the login was refused", 403: "the login may not do this", 404: "nothing answers at this address"}


class _Shown(msgspec.Struct):
    sku: str
    units: int | None = None
    location: str = ""
    title: str = ""
    oversells: bool = False


class _Figures(msgspec.Struct):
    figures: list[_Shown]
    cursor: str = ""


class _Refused(msgspec.Struct):
    sku: str
    error: str


class _Taken(msgspec.Struct):
    figures: list[_Refused] = []


class _Orders(msgspec.Struct):
    orders: list[msgspec.Raw]
    cursor: str = ""


def encode_figures(writes: Sequence[FigureWrite], message_id: str, now_ms: int) -> bytes:
    """Return the body of a message."""
    figures = [
        {"sku": name_of(write.entry), "location": write.entry.ids.get("location", ""), "units": write.units}
        for write in writes
    ]
    return msgspec.json.encode(
        {"type": TYPE, "id": message_id, "timestamp": written(now_ms), "data": {"figures": figures}}
    )


def name_of(entry: Entry) -> str:
    """Return the SKU as the other side spells it: the map may name another one."""
    return entry.ids.get("sku", "") or entry.sku


def written(at_ms: int) -> str:
    """Write ms since 1970 as RFC 3339 with milliseconds."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decode_taken(answer: Answer | Lost, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
    """Conclude what became of a message: 2xx takes all of it, but what the body names with an error."""
    code = write_code(answer)
    if isinstance(answer, Lost) or code is not WriteCode.APPLIED:
        reason = answer.reason if isinstance(answer, Lost) else trouble(answer)
        return [FigureWritten(sku=write.entry.sku, code=code, reason=reason) for write in writes]
    at_ms = answer.latest_ms
    if at_ms is None:
        reason = "the answer has no Date, so nothing says since when"
        return [FigureWritten(sku=write.entry.sku, code=WriteCode.UNKNOWN, reason=reason) for write in writes]
    errors = _errors(answer)
    return [
        FigureWritten(sku=write.entry.sku, code=WriteCode.REFUSED, reason=errors[name])
        if (name := name_of(write.entry)) in errors
        else FigureWritten(sku=write.entry.sku, code=WriteCode.APPLIED, at_ms=at_ms)
        for write in writes
    ]


def _errors(answer: Answer) -> dict[str, str]:
    try:
        taken = msgspec.json.decode(answer.body, type=_Taken)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}  # 2xx is what the specification asks for; a body is not
    return {figure.sku: plain(figure.error) or "refused without a word" for figure in taken.figures}


def trouble(answer: Answer) -> str:
    """Say in one line what is wrong with an answer."""
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}: a redirect, and none is followed"
    hint = _HINTS.get(answer.status, "")
    return f"HTTP {answer.status}: {hint}" if hint else f"HTTP {answer.status} with {len(answer.body)} bytes"


class StandardWebhooksApi:
    """The other side of one channel: where it takes figures, and what it can be asked."""

    def __init__(self, name: str, config: Config, hooks: StandardWebhooks, token: str) -> None:
        self.name = name
        self.traits = ApiTraits(
            mode=WriteMode.ABSOLUTE,
            batch=BATCH,
            idempotent=True,
            lists_webhooks=False,
            polls=bool(config.orders_url),
            reads=bool(config.figures_url),
            lag_ms=2000,
        )
        self._hooks = hooks
        self._publish, self._figures, self._orders = (
            checked_address(f"channels.{name}.{key}", text, query=True) if text else None
            for key, text in (
                ("publish_url", config.publish_url),
                ("figures_url", config.figures_url),
                ("orders_url", config.orders_url),
            )
        )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._link = Link(headers=headers, timeout_s=config.timeout_s, pace=Pace(Rate.parse(config.publish.rate)))

    @property
    def calls(self) -> int:
        """Requests sent since the start."""
        return self._link.calls

    async def read(self, entries: Sequence[Entry]) -> list[Figure]:
        """Return what the other side shows, if it can be asked."""
        if self._figures is None:
            return [Figure(sku=entry.sku, reason="it cannot be asked: figures_url is empty") for entry in entries]
        found: list[Figure] = []
        for begin in range(0, len(entries), ASKED):
            part = entries[begin : begin + ASKED]
            answer = await self._get(self._figures, [("sku", name_of(entry)) for entry in part])
            shown = {(one.sku, one.location): one.units for one in self._read(answer, _Figures).figures}
            at_ms = told(self.name, answer.latest_ms)
            found += [_figure(entry, shown, at_ms) for entry in part]
        return found

    async def write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        """Send one signed message, under the key that all *writes* share."""
        if self._publish is None:
            reason = "publish_url is empty"
            return [FigureWritten(sku=write.entry.sku, code=WriteCode.REFUSED, reason=reason) for write in writes]
        if not writes:
            return []
        return decode_taken(await self._post(self._publish, writes, writes[0].key), writes)

    async def orders(self, changed_since_ms: int, *, cursor: str = "", limit: int = 100) -> OrderPage:
        """Return a page of orders changed at or after that instant of the other side's clock."""
        if self._orders is None:
            raise ChannelUnavailable(f"channel {self.name}: it cannot be polled: orders_url is empty")
        query = [("updated_after", written(changed_since_ms)), ("limit", str(limit))]
        answer = await self._get(self._orders, query + ([("cursor", cursor)] if cursor else []))
        page = self._read(answer, _Orders)
        bodies = [bytes(raw) for raw in page.orders]
        return OrderPage(
            orders=tuple(Polled(found=decode_order(body, self.name), raw=body) for body in bodies),
            cursor=page.cursor,
            upto_ms=told(self.name, answer.earliest_ms),
        )

    async def products(self) -> AsyncIterator[Product]:
        """Hand out what the other side shows; nothing where it cannot be asked."""
        cursor = ""
        while self._figures is not None:
            answer = await self._get(self._figures, [("cursor", cursor)] if cursor else [])
            page = self._read(answer, _Figures)
            for one in page.figures:
                yield _product(one)
            if not page.cursor or page.cursor == cursor:
                return
            cursor = page.cursor

    async def subscriptions(self) -> list[Subscription]:
        """Return none: who sends is nobody's register."""
        return []

    async def read_prices(self, entries: Sequence[Entry]) -> list[Price]:
        """Say that there are none."""
        return [Price(sku=entry.sku, price="", reason=_NO_PRICES) for entry in entries]

    async def write_prices(self, writes: Sequence[PriceWrite]) -> list[Price]:
        """Say that there are none."""
        return [Price(sku=write.entry.sku, price="", reason=_NO_PRICES) for write in writes]

    async def now_ms(self) -> int:
        """Return the other side's clock, to half a second."""
        return told(self.name, (await self._greet()).date_ms) + 500

    async def check(self) -> str:
        """
        Send a message without figures, or ask for nothing, and say who answered.

        Raises:
            ChannelUnavailable: It did not answer, or refused; the message says what to mend.
        """
        told(self.name, (await self._greet()).date_ms)
        hosts = dict.fromkeys(url.host or "" for url in (self._publish, self._figures, self._orders) if url)
        return f"a shop of its own at {', '.join(hosts)}"

    async def close(self) -> None:
        """Close connections; fine to call twice."""
        await self._link.close()

    # --------------------------------------------------------------------------------------------------------- calls

    async def _greet(self) -> Answer:
        """Call every address without asking for anything; return what the first answered."""
        answers = []
        if self._publish is not None:
            answers.append(heard(self.name, await self._post(self._publish, (), f"check_{uuid4().hex}")))
            if not 200 <= answers[0].status < 300:
                raise ChannelUnavailable(f"channel {self.name}: a message without figures: {trouble(answers[0])}")
        if self._figures is not None:
            answers.append(await self._get(self._figures, [("sku", "")]))
            self._read(answers[-1], _Figures)
        if self._orders is not None:
            now = written(int(time.time() * 1000))
            answers.append(await self._get(self._orders, [("updated_after", now), ("limit", "1")]))
            self._read(answers[-1], _Orders)
        return answers[0]

    async def _post(self, url: URL, writes: Sequence[FigureWrite], message_id: str) -> Answer | Lost:
        now_s = time.time()
        body = encode_figures(writes, message_id, int(now_s * 1000))
        headers = self._hooks.sign(body, now_s=now_s, delivery_id=message_id)
        return await self._link.ask("POST", url, body, headers=headers, patience_s=FIGURE_PATIENCE_S)

    async def _get(self, url: URL, query: Sequence[tuple[str, str]]) -> Answer:
        asked = url.with_query([*url.query.items(), *query]) if query else url
        answer = heard(self.name, await self._link.ask("GET", asked))
        if answer.status != 200:
            raise ChannelUnavailable(f"channel {self.name}: {trouble(answer)}")
        return answer

    def _read(self, answer: Answer, shape: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=shape)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ChannelUnavailable(
                f"channel {self.name}: {trouble(answer)}: not as docs/channels/standard_webhooks.md has it"
            ) from None


def _figure(entry: Entry, shown: dict[tuple[str, str], int | None], at_ms: int) -> Figure:
    key = (name_of(entry), entry.ids.get("location", ""))
    if key not in shown:
        return Figure(sku=entry.sku, at_ms=at_ms, reason="there is no such SKU")
    units = shown[key]
    if units is None:
        return Figure(sku=entry.sku, at_ms=at_ms, reason="its stock is not counted there")
    return Figure(sku=entry.sku, units=max(0, units), at_ms=at_ms)


def _product(shown: _Shown) -> Product:
    return Product(
        sku=shown.sku,
        ids={"sku": shown.sku} | ({"location": shown.location} if shown.location else {}),
        title=plain(shown.title),
        units=None if shown.units is None else max(0, shown.units),
        tracked=shown.units is not None,
        oversells=shown.oversells,
    )


def connect_api(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> StandardWebhooksApi | None:
    """
    Return the other side, or None where no address is given.

    Raises:
        ConfigError: Stock is to be published and an address is missing that it needs.
    """
    needed = {"none": (), "mirror": ("publish_url",), "escrow": ("publish_url", "figures_url", "orders_url")}[
        config.publish.mode
    ]
    for key in needed:
        if not getattr(config, key):
            raise ConfigError(
                f'[channels.{name}] {key}: is empty, and publish.mode = "{config.publish.mode}" needs it; write the'
                " address (docs/channels/standard_webhooks.md)"
            )
    if not (config.publish_url or config.figures_url or config.orders_url):
        return None
    token = "" if config.api_token is None else str(reveal(config.api_token)).strip()
    if config.api_token is not None and not token:
        raise ConfigError(f"[channels.{name}] api_token: is empty; put the token that the other side gave you there")
    return StandardWebhooksApi(name, config, connect(name, config, reveal), token)
