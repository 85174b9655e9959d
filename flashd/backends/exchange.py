"""
One HTTP request of a backend adapter, and what may be concluded from how it ended. Not an adapter itself.

The law (docs/lifecycle.md, "Delivering"): only where no connection was ready has nothing reached the wire. Whatever
goes wrong after that leaves the outcome open, and 2xx alone proves nothing.
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from yarl import URL

from flashd import __version__
from flashd.backends.connections import Connections, CutError, Origin, UnreachedError
from flashd.domain.delivery import Away, Declined, Doubtful, Later, Throttled, Unknown
from flashd.domain.instant import parse_http_ms
from flashd.domain.order import Order
from flashd.domain.text import plain as plain  # noqa: PLC0414  # adapters find it here, beside the rest
from flashd.errors import ConfigError

_CONNECT_S = 10.0
_SECONDS = re.compile(r"^\d{1,9}(\.\d{1,6})?$")
_EMAIL = re.compile(r"[^\s@\"'<>]+@[^\s@\"'<>]+")
_UNFIT = re.compile(r"[\r\n\0]")  # it would end a header
_UNFIT_TARGET = re.compile(r"[\0- \x7f]")

Trouble = Later | Throttled | Away | Doubtful


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer, whatever it says."""

    status: int
    body: bytes = b""
    content_type: str = ""
    retry_after_s: float | None = None

    @property
    def json(self) -> Any:
        """The body as JSON, or None where it is of another type, broken or too deep."""
        if self.content_type != "application/json" and not self.content_type.endswith("+json"):
            return None
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return None


class EndedError(Exception):
    """
    Reading for an order ended early, with nothing of it written, so that doubt there is only `Later`.

    For the inside of an adapter with several steps; it never leaves it.
    """

    def __init__(self, outcome: Trouble | Declined) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome

    @property
    def nothing_written(self) -> Later | Throttled | Away | Declined:
        """What it means for a delivery."""
        return Later(reason=self.outcome.reason) if isinstance(self.outcome, Doubtful) else self.outcome

    @property
    def nothing_known(self) -> Unknown:
        """What it means for a look-up."""
        wait_s = self.outcome.retry_after_s if isinstance(self.outcome, Throttled) else None
        return Unknown(reason=self.outcome.reason, retry_after_s=wait_s)


class Link:
    """
    Requests to one backend; connections are opened at the first.

    It follows no redirect, keeps no cookie, reads no proxy from the environment, and never sends a request twice by
    itself.
    """

    def __init__(self, *, headers: Mapping[str, str], max_in_flight: int, timeout_s: float) -> None:
        every = {
            "User-Agent": f"flashd/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **headers,
        }
        try:
            self._headers = {name.lower(): _header(name, value) for name, value in every.items()}
        except ValueError as error:
            raise ConfigError("the login of a backend has a line break in it") from error
        self._usual = b"".join(self._headers.values())
        # A backend that repeats what it was sent would bring the login into reasons, and so into logs and events.
        self._login = headers.get("Authorization", "").partition(" ")[2].encode()
        self._connections = Connections(
            most=max_in_flight, timeout_s=timeout_s, connect_s=min(_CONNECT_S, timeout_s / 2)
        )

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Answer | Later | Doubtful:
        """Ask for *url*, whose query is already percent-encoded."""
        return await self._send("GET", url, None, headers or {})

    async def post(
        self, url: str, content: object, *, headers: Mapping[str, str] | None = None
    ) -> Answer | Later | Doubtful:
        """Send *content* as JSON."""
        return await self._send("POST", url, msgspec.json.encode(content), headers or {})

    async def close(self) -> None:
        """Close the connections; fine to call twice. A later request opens them again."""
        await self._connections.close()

    async def _send(
        self, method: Literal["GET", "POST"], url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer | Later | Doubtful:
        try:
            origin, first_lines = _opening(method, url)
            reply = await self._connections.ask(origin, first_lines + self._rest(headers, body))
        except (UnreachedError, ValueError) as error:
            return Later(reason=plain(f"no connection: {error}"))
        except CutError as error:
            return Doubtful(reason=plain(f"{error}, after the request may have gone out"))
        found = reply.headers
        asked = found.get("Retry-After")
        return Answer(
            status=reply.status,
            body=reply.body.replace(self._login, b"***") if self._login else reply.body,
            content_type=found.get("Content-Type", "").partition(";")[0].strip().lower(),
            retry_after_s=None if asked is None else retry_after_s(asked, found.get("Date")),
        )

    def _rest(self, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """Return the request behind its first lines: of two headers of one name, the request's own counts."""
        usual, own = self._usual, b""
        for name, value in headers.items():
            own += _header(name, value)
            if name.lower() in self._headers:
                replaced = {name.lower() for name in headers}
                usual = b"".join(text for name, text in self._headers.items() if name not in replaced)
        if body is None:
            return b"%b%b\r\n" % (usual, own)
        return b"%b%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (usual, own, len(body), body)


@functools.lru_cache(256)
def _opening(method: str, url: str) -> tuple[Origin, bytes]:
    """Return whom to ask, and a request's first two lines."""
    parsed = URL(url, encoded=True)
    host, port, target = parsed.raw_host, parsed.port, parsed.raw_path_qs
    if not host or not port or _UNFIT_TARGET.search(target):
        raise ValueError("an address that cannot be called")
    opening = f"{method} {target} HTTP/1.1\r\nHost: {parsed.host_port_subcomponent}\r\n"
    return Origin(host, port, parsed.scheme == "https"), opening.encode()


def _header(name: str, value: str) -> bytes:
    line = f"{name}: {value}"
    if _UNFIT.search(line):
        raise ValueError("a header that would end before its value does")
    return f"{line}\r\n".encode()


def by_status(answer: Answer) -> Throttled | Away | None:
    """Return what the status alone decides: 429 and 503 slow down; 401, 403 and 404 speak of the endpoint."""
    if answer.status in {429, 503}:
        return Throttled(reason=f"HTTP {answer.status}", retry_after_s=answer.retry_after_s)
    if answer.status in {401, 403, 404}:
        what = {401: "the login was refused", 403: "the login may not do this", 404: "nothing answers at this address"}
        return Away(reason=f"HTTP {answer.status}: {what[answer.status]}")
    return None


def unread(answer: Answer) -> Doubtful:
    """Say that *answer* was not of the form that proves anything."""
    if 300 <= answer.status < 400:
        return Doubtful(reason=f"HTTP {answer.status}: a redirect, and none is followed")
    form = plain(answer.content_type) or "no content type"
    return Doubtful(reason=f"HTTP {answer.status} with {len(answer.body)} bytes of {form} that prove nothing")


def retry_after_s(value: str | None, date: str | None = None) -> float | None:
    """
    Read a Retry-After header: seconds, or an HTTP date, measured by the backend's own *date* where it sent one.

    Returns:
        Raw seconds, never negative and never clamped; None where nothing can be read.
    """
    text = (value or "").strip()
    if _SECONDS.match(text):
        return float(text)
    until_ms = parse_http_ms(text)
    if until_ms is None:
        return None
    now_ms = parse_http_ms(date or "")
    return max(0.0, until_ms / 1000 - (time.time() if now_ms is None else now_ms / 1000))


def checked_url(key: str, url: str, *, allowed: frozenset[str] = frozenset()) -> str:
    """
    Return *url*, if it can be called.

    Args:
        key: Its full name in the configuration, for the message.
        url: What stands there.
        allowed: The placeholders that it may have, such as ``key`` for ``{key}``.

    Raises:
        ConfigError: It is not an http or https address with a host, or has another placeholder.
    """
    bare = url
    for name in allowed:
        bare = bare.replace("{" + name + "}", "x")
    try:
        parsed = URL(bare)
    except ValueError:
        parsed = URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ConfigError(f"{key} = {url!r}: write an address with its scheme, such as https://erp.example.com/orders")
    if "{" in bare or "}" in bare:
        names = " and ".join("{" + name + "}" for name in sorted(allowed)) or "none"
        raise ConfigError(f"{key} = {url!r}: it has a placeholder that is not known; allowed here: {names}")
    if parsed.user or parsed.password:
        raise ConfigError(f"{key}: a login does not belong into an address; use the secret of this backend")
    return url


def plain_refusal(text: object, order: Order) -> str:
    """Return a backend's own words about *order* without what it repeats of the customer."""
    said = _EMAIL.sub("***", text if isinstance(text, str) else "refused without a word")
    private = {*msgspec.structs.astuple(order.customer), *msgspec.structs.astuple(order.ship_to), order.note}
    private -= {order.ship_to.country, order.ship_to.region}
    for word in sorted((word for word in private if len(word) > 2), key=len, reverse=True):
        said = re.sub(re.escape(word), "***", said, flags=re.IGNORECASE)
    return plain(said)
