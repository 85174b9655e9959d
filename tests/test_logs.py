from __future__ import annotations

import asyncio
import errno
import io
import json
import logging
import os
import pty
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import structlog

from flashd.config import Secret, SecretText
from flashd.domain.order import Address, Customer, Kind, OrderRef
from flashd.errors import StoreUnavailable
from flashd.logs import configure, is_journal


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave logging as it was found."""
    root = logging.getLogger()
    before, level, configured = root.handlers, root.level, structlog.get_config()
    yield
    root.handlers = before
    root.setLevel(level)
    logging.captureWarnings(False)
    logging.getLogger("aiohttp.access").setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def out() -> io.StringIO:
    stream = io.StringIO()
    configure("debug", stream=stream, environ={})
    return stream


def _said(out: io.StringIO) -> dict[str, object]:
    (line,) = out.getvalue().splitlines()
    said: dict[str, object] = json.loads(line)
    return said


def test_elsewhere_a_line_is_json_with_its_time_in_utc(out: io.StringIO) -> None:
    structlog.get_logger().info("order.buried", channel="shop", sends=3)
    said = _said(out)
    assert list(said) == ["timestamp", "level", "event", "channel", "sends"]
    assert datetime.fromisoformat(str(said["timestamp"])).tzinfo == UTC
    assert (said["event"], said["level"], said["sends"]) == ("order.buried", "info", 3)


class _Disk(io.StringIO):
    is_full = False

    def write(self, text: str) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)

    def flush(self) -> None:
        if self.is_full:
            raise OSError(errno.EFBIG, "File too large")


def test_a_full_disk_costs_its_lines_and_whoever_says_something_goes_on() -> None:
    disk = _Disk()
    configure("debug", stream=disk, environ={})
    log = structlog.get_logger()
    disk.is_full = True
    log.warning("backend.not_led")
    log.error("actor.crashed", exc_info=ValueError("a bug"))
    logging.getLogger("asyncio").error("never retrieved")
    disk.is_full = False
    log.info("backend.led")
    assert _said(disk)["event"] == "backend.led"


def test_the_journal_gets_a_priority_and_no_time(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert is_journal(stream, environ)
        configure("debug", stream=stream, environ=environ)
        log = structlog.get_logger()
        for level in ("debug", "info", "warning", "error", "critical"):
            log.log(logging.getLevelNamesMapping()[level.upper()], "it.happened")
        stream.seek(0)
        lines = stream.read().splitlines()
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    assert json.loads(lines[0][3:]) == {"level": "debug", "event": "it.happened"}


def test_a_variable_that_speaks_of_another_stream_is_not_believed(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as stream:
        assert not is_journal(stream, {"JOURNAL_STREAM": "1:2"})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


def test_a_terminal_gets_colours_unless_they_are_declined() -> None:
    said = []
    for environ in ({}, {"NO_COLOR": "1"}):
        reader, writer = pty.openpty()
        with os.fdopen(writer, "w") as stream:
            configure("info", stream=stream, environ=environ)
            structlog.get_logger().info("order.buried", channel="shop")
            said.append(os.read(reader, 4096).decode())
        os.close(reader)
    assert "\x1b[" in said[0]
    assert "\x1b[" not in said[1]
    assert all("order.buried" in line for line in said)


def test_less_than_the_level_is_not_said_and_a_reload_may_change_it() -> None:
    stream, log = io.StringIO(), structlog.get_logger()
    configure("warning", stream=stream, environ={})
    log.info("it.happened")
    assert stream.getvalue() == ""
    configure("info", stream=stream, environ={})
    log.info("it.happened")
    assert _said(stream)["event"] == "it.happened"


def test_what_is_bound_to_the_context_stands_on_every_line(out: io.StringIO) -> None:
    structlog.contextvars.bind_contextvars(order_key="fd-1")
    structlog.get_logger().info("order.claimed")
    assert _said(out)["order_key"] == "fd-1"


class Wallet(msgspec.Struct):
    number: str


def test_neither_secrets_nor_customer_data_pass(out: io.StringIO) -> None:
    structlog.get_logger().info(
        "order.taken",
        found=SecretText("canary1"),
        several=[SecretText("canary1"), "fine"],
        password="canary1",
        customer="canary1",
        customer_name="canary1",
        webhook_body="canary1",
        authorization="canary1",
        access_token="canary1",
        ship_to="canary1",
        who=Customer(name="canary1"),
        where=Address(street="canary1"),
        wallet=Wallet("canary1"),
        request={"note": "canary1"},
        data=b"canary1",
        seen="mail from canary1@example.com came",
        error=ValueError("canary1"),
    )
    assert "canary1" not in out.getvalue()
    said = _said(out)
    assert (said["found"], said["several"], said["password"]) == ("***", ["***", "fine"], "***")
    assert (said["who"], said["request"], said["data"]) == ("<Customer>", "<dict>", "<bytes>")
    assert said["seen"] == "mail from (e-mail) came"
    assert said["error"] == "ValueError"


def test_what_an_operator_needs_passes(out: io.StringIO) -> None:
    structlog.get_logger().info(
        "order.taken",
        order=OrderRef("shop", "1", Kind.CANCEL),
        order_key="fd-1",
        secret_lies=Secret(file="shop.secret"),
        folder=Path("/var"),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        error=StoreUnavailable("no answer within 2 s"),
        many=list(range(30)),
    )
    said = _said(out)
    assert said["order"] == "shop:1 cancel"
    assert (said["order_key"], said["folder"], said["at"]) == ("fd-1", "/var", "2026-01-01T00:00:00+00:00")
    assert said["error"] == "StoreUnavailable: no answer within 2 s"
    assert said["many"] == [*range(20), "... and 10 more"]


def test_control_and_direction_characters_are_stripped_and_long_texts_cut(out: io.StringIO) -> None:
    structlog.get_logger().info("it.happened", sku="A\x1b[31m\u202eB\x00\n<3>", long="x" * 10_000)
    said = _said(out)
    assert said["sku"] == "A[31mB\n<3>"
    assert len(str(said["long"])) == 2003


def _fail(canary: str) -> None:
    hidden = canary
    raise ValueError(hidden)


def test_a_traceback_tells_where_without_locals_and_without_words_that_may_quote_a_customer(out: io.StringIO) -> None:
    try:
        try:
            _fail("canary2")
        except ValueError as error:
            raise StoreUnavailable("no answer") from error
    except StoreUnavailable:
        structlog.get_logger().exception("actor.crashed")
    told = str(_said(out)["exception"]).splitlines()
    assert "canary2" not in out.getvalue()
    assert any(line.endswith("in _fail") and "test_logs.py:" in line for line in told)
    assert told[-1] == "StoreUnavailable: no answer"
    assert told.index("ValueError") < told.index("which led to:")


async def test_what_libraries_say_is_routed_in_with_its_first_line_only(out: io.StringIO) -> None:
    async def fail() -> None:
        raise ValueError("canary3")

    task = asyncio.create_task(fail())
    await asyncio.wait({task})
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": task.exception(), "future": task}
    )
    logging.getLogger("aiohttp.access").info("GET /canary3")
    logging.getLogger("aiohttp.server").info("chatter canary3")
    said = _said(out)
    assert (said["event"], said["level"], said["logger"]) == ("library.spoke", "error", "asyncio")
    assert said["message"] == "Task exception was never retrieved"
    assert "canary3" not in out.getvalue()


def test_warnings_of_python_are_routed_in(out: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old ways", UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    said = _said(out)
    assert said["logger"] == "py.warnings"
    assert "old ways" in str(said["message"])
