"""
Logs: one line an event, to the journal as JSON behind its priority, to a terminal in colour, elsewhere as JSON.

Customer data and secrets do not pass: only plain values are written (an order or a body shows its type alone), keys
that name personal data or secrets are blotted out, and of an exception's words only those written for people are kept.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from flashd.config import Secret, SecretText
from flashd.domain.order import OrderRef
from flashd.domain.text import readable
from flashd.errors import FlashdError

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # of syslog(3)
LENGTH = 2000  # characters of one value: a refused configuration names up to twenty problems
MEMBERS = 20  # of one list
BLOT = "***"
_FORBIDDEN = re.compile(
    r"(^|_)(authorization|body|cookie|customer|email|firstname|headers?|lastname|note|password|payload|phone"
    r"|raw|secrets?|ship_to|signature|street|tokens?)($|_(text|hash|line|name|value|header|key))"
)
_EMAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@<>\"']+")
# Their messages name code, files and addresses; those of a ValueError or KeyError may quote what a customer sent.
_SPEAKING = (FlashdError, OSError, ImportError, AttributeError, TypeError, NameError, RuntimeError)


def configure(level: str, *, stream: TextIO, environ: Mapping[str, str]) -> None:
    """
    Set logging up; called again, it changes the level.

    Args:
        level: debug, info, warning or error.
        stream: Where lines go: stderr.
        environ: JOURNAL_STREAM says whether *stream* is the journal; NO_COLOR is respected.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _tell_exception,
            _keep_plain,
            *_rendering(stream, environ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Lossy(stream))),
        cache_logger_on_first_use=False,  # a reload may change the level
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers = [_Forward()]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    logging.getLogger("aiohttp.access").setLevel(logging.CRITICAL)  # addresses and paths of customers


class _Lossy:
    """
    A stream that is let be full: what cannot be written is gone, and whoever said it goes on.

    An actor that only wanted to warn would crash by it, and so would the supervisor that wants to say so.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Say whether *stream* goes to the journal, as systemd.exec(5) tells to find out: by device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _rendering(stream: TextIO, environ: Mapping[str, str]) -> list[Processor]:
    if is_journal(stream, environ):
        return [_as_journal]
    if stream.isatty():
        short = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False)
        return [short, structlog.dev.ConsoleRenderer(colors="NO_COLOR" not in environ)]
    return [structlog.processors.TimeStamper(fmt="iso", utc=True), _as_json]


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    first = {key: event[key] for key in ("timestamp", "level", "event") if key in event}
    return msgspec.json.encode({**first, **event}).decode()


def _as_journal(logger: WrappedLogger, method: str, event: EventDict) -> str:
    return f"<{PRIORITIES.get(event.get('level', 'info'), 6)}>{_as_json(logger, method, event)}"


def _tell_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()[1]
    if isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        event["exception"] = "\n".join(_story(given))
    return event


def _story(error: BaseException) -> list[str]:
    """Return cause before effect: where it went through, without locals and source lines, and what it was."""
    lines: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and before is not error:
        lines += [*_story(before), "which led to:"]
    lines += _frames(error.__traceback__)
    lines.append(_words(error))
    return lines


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(trace, limit=-20)]


def _words(error: BaseException) -> str:
    kind = type(error).__name__
    return f"{kind}: {_text(str(error))}" if isinstance(error, _SPEAKING) else kind


def _keep_plain(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {
        _text(str(key)): BLOT if _FORBIDDEN.search(str(key).lower()) else _plain(value) if key != "exception" else value
        for key, value in event.items()
    }


def _plain(value: object) -> object:  # noqa: PLR0911  # one answer a type reads better than one variable
    match value:
        case SecretText():
            return BLOT
        case None | bool() | int() | float():
            return value
        case str() | OrderRef() | Path() | Secret():
            return _text(str(value))
        case datetime():
            return value.isoformat()
        case BaseException():
            return _words(value)
        case list() | tuple() | set() | frozenset():
            members = list(value)
            more = [f"... and {len(members) - MEMBERS} more"] if len(members) > MEMBERS else []
            return [_plain(member) for member in members[:MEMBERS]] + more
        case _:
            return f"<{type(value).__name__}>"


def _text(text: str) -> str:
    clean = readable(text.replace("\x1f", " "))
    if "@" in clean:
        clean = _EMAIL.sub("(e-mail)", clean)
    return clean if len(clean) <= LENGTH else clean[:LENGTH] + "..."


class _Forward(logging.Handler):
    """Hands what aiohttp, asyncio and warnings say to structlog: the first line only, for the rest may hold reprs."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelno if record.levelno in (10, 20, 30, 40, 50) else logging.WARNING
        message = record.getMessage().partition("\n")[0]
        log = structlog.get_logger()
        log.log(level, "library.spoke", logger=record.name, message=message, exc_info=record.exc_info)
