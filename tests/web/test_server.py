"""Listeners: sockets, TLS, unix paths, and how they end."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import http_parser

from flashd.config import AdminConfig, IntakeConfig, TlsConfig
from flashd.domain.event import Event, Gap
from flashd.errors import ConfigError
from flashd.web import sse
from flashd.web.admin import admin_app
from flashd.web.intake import intake_app
from flashd.web.limits import ClientLimits
from flashd.web.server import Listener, check_parser, open_socket, tls_context
from tests.config.test_right import an_ordinary_user
from tests.conftest import PassTime
from tests.fakes.doors import ADMIN, READ, SHOP_TOKEN, DoorHouse
from tests.web.conftest import Serve, eventually

LIMITS = ClientLimits(stop_s=2.0)


def event(number: int, kind: str = "order.accepted") -> Event:
    return Event(id=f"{number}-0", at_ms=1_790_000_000_000, kind=kind, pool="main", data={"order": f"shop:{number}"})


def test_the_parser_is_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    check_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(ConfigError, match="C parser"):
        check_parser()
    monkeypatch.setattr(aiohttp, "__version__", "3.14.4")
    with pytest.raises(ConfigError, match=r"3\.14\.5"):
        check_parser()


@pytest.mark.parametrize("listen", ["8787", "localhost", "127.0.0.1:http", "", ":", "256.0.0.1:1"])
def test_an_address_that_is_none_is_a_config_error(listen: str) -> None:
    with pytest.raises(ConfigError, match="listen"):
        open_socket(listen)


def test_a_taken_address_is_a_config_error() -> None:
    with open_socket("127.0.0.1:0") as taken:
        taken.listen()
        with pytest.raises(ConfigError, match="in use; stop who listens there"):
            open_socket(f"127.0.0.1:{taken.getsockname()[1]}")


async def test_a_unix_socket_is_for_owner_and_group_and_goes_with_the_listener(
    tmp_path: Path, house: DoorHouse
) -> None:
    path = tmp_path / "admin.sock"
    listener = Listener("admin", admin_app(house.doors, AdminConfig()), LIMITS)
    await listener.start(open_socket(f"unix:{path}"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get("http://any-name/livez") as answer:
            assert await answer.text() == "ok\n"
        async with session.get("http://any-name/admin/v1/status") as answer:
            assert answer.status == 401
    with pytest.raises(ConfigError, match="another process"):
        open_socket(f"unix:{path}")
    await listener.stop()
    assert not path.exists()
    await listener.stop()


def test_a_socket_left_behind_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    open_socket(f"unix:{path}").close()
    assert path.exists()
    open_socket(f"unix:{path}").close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(ConfigError, match="another kind"):
        open_socket(f"unix:{path}")
    assert path.read_text() == "precious"


def self_signed(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext"
    files = ["subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return cert, key


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_tls_is_served_and_a_slow_handshake_ends(tmp_path: Path, house: DoorHouse, pass_time: PassTime) -> None:
    cert, key = self_signed(tmp_path)
    with pytest.raises(ConfigError, match="tls"):
        tls_context(TlsConfig(cert=str(cert), key=str(tmp_path / "none")))
    context = tls_context(TlsConfig(cert=str(cert), key=str(key)))
    limits = ClientLimits(header_timeout_s=600.0, stop_s=2.0)
    listener = Listener("intake", intake_app(house.doors, IntakeConfig()), limits, tls=context)
    await listener.start(open_socket("127.0.0.1:0"))
    trust = ssl.create_default_context(cafile=str(cert))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust, force_close=True)) as session,
        session.get(f"https://localhost:{listener.port}/v1/stock") as answer,
    ):
        assert answer.status == 401
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    ended = asyncio.create_task(reader.read())
    while not ended.done():  # the first time may be too early: before it was accepted
        pass_time(600)
        await asyncio.wait({ended}, timeout=0.01)
    assert await ended == b""
    writer.close()
    await listener.stop()


async def test_given_sockets_are_served_like_own_ones(house: DoorHouse) -> None:
    given = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]  # as systemd hands them over: listening
    ports = [each.getsockname()[1] for each in given]
    listener = Listener("intake", intake_app(house.doors, IntakeConfig()), LIMITS)
    await listener.start(*given)
    async with aiohttp.ClientSession() as session:
        for port in ports:
            async with session.get(f"http://127.0.0.1:{port}/v1/stock") as answer:
                assert answer.status == 401
    await listener.stop()


async def test_stopping_what_never_started_and_stopping_twice_is_fine(house: DoorHouse) -> None:
    listener = Listener("intake", intake_app(house.doors, IntakeConfig()), LIMITS)
    await listener.stop()
    other = Listener("intake", intake_app(house.doors, IntakeConfig()), LIMITS)
    await other.start(open_socket("127.0.0.1:0"))
    await other.stop()
    await other.stop()


async def test_a_request_at_work_is_finished_and_new_connections_are_refused(serve: Serve, house: DoorHouse) -> None:
    house.count("TEE", 1)
    served = await serve("intake", limit_stop_s=600.0)
    shop = house.intakes["shop"]
    shop.gate.clear()
    order = {"id": "1", "lines": [{"sku": "TEE", "quantity": 1}]}
    call = asyncio.create_task(served.call("POST", "/v1/orders", json=order, token=SHOP_TOKEN))
    await asyncio.wait_for(shop.inside.wait(), 30)
    port = served.listener.port
    stopping = asyncio.create_task(served.listener.stop())
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:  # refused, or still in the backlog when it closed
                break
            writer.close()
            await asyncio.sleep(0.01)
    assert not stopping.done()
    shop.gate.set()
    assert (await call).status == 201
    await asyncio.wait_for(stopping, 30)


async def test_a_request_that_never_ends_is_cut_off_at_the_bound(serve: Serve, house: DoorHouse) -> None:
    served = await serve("intake", limit_stop_s=0.3)
    shop = house.intakes["shop"]
    shop.gate.clear()
    call = asyncio.create_task(served.call("POST", "/v1/orders", json={"id": "1"}, token=SHOP_TOKEN))
    await asyncio.wait_for(shop.inside.wait(), 30)
    started = time.monotonic()
    await served.listener.stop()
    assert time.monotonic() - started < 8  # the usual bound is 10 s
    with pytest.raises(aiohttp.ClientError):
        await call


# ------------------------------------------------------------------------------------------------------------- SSE


async def frames(answer: aiohttp.ClientResponse, count: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    frame: dict[str, str] = {}
    async with asyncio.timeout(30):
        while len(found) < count:
            line = (await answer.content.readline()).decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                frame[name] = value
            elif "data" in frame:
                found.append(frame)
                frame = {}
    return found


async def test_events_come_as_they_happen_and_resume_after_the_last_id(serve: Serve, house: DoorHouse) -> None:
    served = await serve("admin")
    headers = {"Authorization": f"Bearer {READ}"}
    url = served.base + "/events?pool=main"
    async with served.session.get(url, headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        await asyncio.wait_for(house.main.following.wait(), 30)
        house.main.happen(event(1), event(2))
        first, second = await frames(answer, 2)
    assert (first["id"], first["event"]) == ("1-0", "order.accepted")
    assert '"kind":"order.accepted","pool":"main","order":"shop:1"' in first["data"]
    house.main.happen(event(3), Gap(pool="main", after="3-0", first="9-0"))
    async with served.session.get(url, headers={**headers, "Last-Event-ID": second["id"]}) as answer:
        later = await frames(answer, 2)
    assert [each["event"] for each in later] == ["order.accepted", "feed.gap"]
    assert later[0]["id"] == "3-0"


async def test_a_stream_from_now_says_first_where_that_is(serve: Serve, house: DoorHouse) -> None:
    served = await serve("admin")
    headers = {"Authorization": f"Bearer {READ}"}
    house.main.happen(event(1), event(2))
    async with served.session.get(served.base + "/events?pool=main", headers=headers) as answer:
        first = [(await asyncio.wait_for(answer.content.readline(), 30)).decode().strip() for _ in range(3)]
    assert "id: 2-0" in first
    assert "" in first


async def test_topics_are_filtered_and_wrong_ones_refused(serve: Serve, house: DoorHouse) -> None:
    served = await serve("admin")
    house.main.happen(event(1), event(2, "stock.changed"))
    headers = {"Authorization": f"Bearer {READ}"}
    async with served.session.get(served.base + "/events?pool=main&after=0&topic=stock", headers=headers) as answer:
        assert (await frames(answer, 1))[0]["event"] == "stock.changed"
    for query in ("pool=main&topic=weather", "pool=main&after=yesterday", ""):
        assert (await served.call("GET", f"/events?{query}", token=READ)).status == 400
    assert (await served.call("GET", "/events?pool=nowhere", token=READ)).status == 404


async def test_more_streams_than_there_is_room_for_are_busy_and_room_comes_back(
    serve: Serve, house: DoorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "AT_ONCE", 1)
    served = await serve("admin")
    headers = {"Authorization": f"Bearer {READ}"}
    async with served.session.get(served.base + "/events?pool=main", headers=headers):
        await asyncio.wait_for(house.main.following.wait(), 30)
        refused = await served.call("GET", "/events?pool=main", token=READ)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert refused.json["detail"] == "1 streams are open"
    house.main.happen(event(1))  # what is written to a reader that went away ends its stream
    await eventually(lambda: not house.main.following.is_set())
    async with served.session.get(served.base + "/events?pool=main&after=0", headers=headers) as answer:
        assert (await frames(answer, 1))[0]["id"] == "1-0"


async def test_an_open_stream_does_not_delay_the_stop(serve: Serve, house: DoorHouse) -> None:
    served = await serve("admin", limit_stop_s=600.0)
    headers = {"Authorization": f"Bearer {ADMIN}"}
    async with served.session.get(served.base + "/events?pool=main", headers=headers) as answer:
        await asyncio.wait_for(house.main.following.wait(), 30)
        await asyncio.wait_for(served.listener.stop(), 30)
        assert (await answer.content.read()).startswith(b"retry:")
    assert not house.main.following.is_set()  # the feed was closed as well


async def test_a_stream_whose_reader_went_away_is_closed_by_its_heartbeat(house: DoorHouse) -> None:
    listener = Listener("admin", admin_app(house.doors, AdminConfig(), heartbeat_s=0.05), LIMITS)
    await listener.start(open_socket("127.0.0.1:0"))
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(f"GET /events?pool=main HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {READ}\r\n\r\n".encode())
    await asyncio.wait_for(house.main.following.wait(), 30)
    writer.transport.abort()
    await eventually(lambda: not house.main.following.is_set())
    await listener.stop()


def test_a_path_where_no_socket_may_be_made_is_refused_with_what_to_do() -> None:
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "flashd.sock"
        open_socket(f"unix:{path}").close()  # left behind, and not to be removed by others
        Path(made).chmod(0o755)
        with an_ordinary_user(), pytest.raises(ConfigError, match="Permission denied; write a path in a folder"):
            open_socket(f"unix:{path}")
        Path(made).chmod(0o700)
        with an_ordinary_user(), pytest.raises(ConfigError, match="Permission denied; write a path in a folder"):
            open_socket(f"unix:{path}")
