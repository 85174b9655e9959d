"""Problems: RFC 9457 for everything that is not a success, also for what aiohttp refuses by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from flashd.errors import Busy, InvariantBroken, Refused, Transient
from flashd.web.answer import Answer

log = structlog.get_logger()

Broken = Callable[[BaseException], None]
MEDIA = "application/problem+json"
_READING = frozenset({"GET", "HEAD"})
PATH_SHOWN = 200  # characters of a path that come back in words
RETRY_AFTER_S = 2  # where the store did not answer: a restart of it takes about so long


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """
    The body of every refusal; *title* is the word to script against, and never changes for one cause.

    Members beside these stand next to them, such as `left` for a hold that is short.
    """

    status: int
    title: str
    detail: str = ""
    type: str = "about:blank"


class TooSlow(Refused):
    """The body did not come in time."""

    status = 408
    title = "body_timeout"


class HeadTooLarge(Refused):
    """Request line and headers are over the limit."""

    status = 431
    title = "headers_too_large"


class WrongMedia(Refused):
    """A body in an encoding that is not read here."""

    status = 415
    title = "unsupported_media"


class Malformed(Refused):
    """The body or a parameter is not what it should be."""

    status = 400
    title = "malformed"


class Misdirected(Refused):
    """A Host header that this listener does not answer (DNS rebinding)."""

    status = 421
    title = "misdirected"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What an error means to the caller, before it is put into a response."""

    status: int
    title: str
    detail: str = ""
    extra: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}

    @property
    def body(self) -> dict[str, Any]:
        """The members of the problem; *extra* stands beside the standard ones."""
        return {"type": "about:blank", "status": self.status, "title": self.title, "detail": self.detail, **self.extra}

    def answer(self) -> Answer:
        """Put it into words; after some there is no telling where the next request would begin."""
        closes = self.status in {408, 413, 431}
        return Answer(self.status, msgspec.json.encode(self.body), MEDIA, self.headers, closes=closes)


def problem(
    status: int, title: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **extra: object
) -> web.Response:
    """Build the response of one refusal; *extra* members stand beside the standard ones."""
    found = Finding(status=status, title=title, detail=detail, extra=extra, headers=headers or {})
    return found.answer().response()


def understand(error: Exception) -> Finding | None:
    """Return what *error* says by its class, or None for one that is a bug."""
    found: Finding | None = None
    if isinstance(error, Refused):
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        found = Finding(status=error.status, title=error.title, detail=error.detail, extra=error.extra, headers=headers)
    elif isinstance(error, Busy):
        found = Finding(
            status=503, title="busy", detail=error.detail, headers={"Retry-After": str(error.retry_after_s)}
        )
    elif isinstance(error, Transient):
        detail = "nothing is known about the outcome: send the same id again"
        found = Finding(status=503, title="unavailable", detail=detail, headers={"Retry-After": str(RETRY_AFTER_S)})
    elif isinstance(error, web.HTTPException):
        kept = {name: value for name, value in error.headers.items() if name in {"Allow", "Location"}}
        title = HTTPStatus(error.status).phrase.lower().replace(" ", "_")
        found = Finding(status=error.status, title=title, detail=_refusal(error), headers=kept)
    elif isinstance(error, msgspec.ValidationError):
        found = Finding(status=422, title="invalid", detail=str(error))
    elif isinstance(error, msgspec.DecodeError | RecursionError | UnicodeDecodeError):
        # msgspec answers deep nesting with a plain RecursionError.
        found = Finding(status=400, title="malformed", detail="the body is nested too deeply or is not valid JSON")
    return found


def _refusal(error: web.HTTPException) -> str:
    """Say in words what aiohttp refused by itself."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return f"{error.method} is not allowed here; allowed: {', '.join(sorted(error.allowed_methods))}"
    if isinstance(error, web.HTTPNotFound):
        return "there is no such path here"
    return ""


def _located(found: Finding, path: str) -> Finding:
    """Say of which *path* that holds; a stranger may have written any number of characters."""
    shown = path if len(path) <= PATH_SHOWN else f"{path[:PATH_SHOWN]}..."
    return msgspec.structs.replace(found, detail=f"{shown}: {found.detail}")


def find(error: BaseException, method: str, path: str, broken: Broken | None) -> Finding:
    """
    Return what *error* is to the caller; a bug is logged, and is a 500 without its words.

    Args:
        error: How the work for a request ended.
        method: For the log.
        path: For the log: a route, never what a stranger wrote.
        broken: Told of an invariant that does not hold: the daemon must crash.

    Raises:
        BaseException: *error* itself, where it is none that stands for an answer, such as a cancellation.
    """
    if not isinstance(error, Exception):
        raise error
    found = understand(error)
    if isinstance(error, Transient) and method in _READING and found is not None:
        found = msgspec.structs.replace(found, detail="nothing is known now: ask again")
    if found is None:
        log.error("request.failed", method=method, path=path, error=type(error).__name__, exc_info=error)
        if isinstance(error, InvariantBroken) and broken is not None:
            broken(error)
        found = Finding(status=500, title="internal_error", detail="a bug in flashd; its log says which")
    return found


def problems(broken: Broken | None) -> Middleware:
    """Turn every error into a problem."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            raise  # the client went away: there is nobody to answer
        except Exception as error:
            route = request.match_info.route.resource
            found = find(error, request.method, route.canonical if route is not None else "", broken)
            if found.status in {404, 405} and isinstance(error, web.HTTPException):
                found = _located(found, request.path)
            if request.writer.output_size > 0 and request.transport is not None:
                request.transport.abort()  # the response has begun: a cut is the only honest end
                raise ConnectionResetError("cut off in mid-response") from error
            return found.answer().response()

    return middleware


def encode(status: int, body: Any, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer JSON."""
    return web.Response(status=status, body=msgspec.json.encode(body), headers=headers, content_type="application/json")
