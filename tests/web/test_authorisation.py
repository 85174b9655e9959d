"""The authorisation matrix: every route, with every token there is and without one."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

import msgspec
import pytest

from flashd.config import IntakeConfig
from flashd.errors import ConfigError
from flashd.web.admin import admin_endpoints
from flashd.web.endpoint import Endpoint
from flashd.web.intake import intake_endpoints
from flashd.web.sse import Streams
from flashd.web.tokens import Caller, Scope, TokenTable
from tests.fakes.doors import ADMIN, OPERATE, OTHER_TOKEN, READ, SHOP_TOKEN, DoorHouse
from tests.web.conftest import Serve, Served

WRONG = "nobody-has-this-token"
BEARERS = {READ: Scope.READ, OPERATE: Scope.OPERATE, ADMIN: Scope.ADMIN}


def filled(endpoint: Endpoint) -> str:
    path = endpoint.path
    for name, value in (("channel", "shop"), ("id", "none"), ("sku", "NONE"), ("name", "none")):
        path = path.replace(f"{{{name}}}", value)
    return path + "?pool=none"


async def test_every_admin_route_wants_its_scope_and_no_less(admin: Served, house: DoorHouse) -> None:
    seen = 0
    for endpoint in admin_endpoints(house.doors, Streams()):
        if endpoint.scope is None:
            assert endpoint.path in {"/", "/livez", "/readyz", "/healthz"}
            assert (await admin.call(endpoint.method, endpoint.path, token="")).status == 200
            continue
        path = filled(endpoint)
        for token in ("", WRONG, SHOP_TOKEN):
            answer = await admin.call(endpoint.method, path, token=token)
            assert (answer.status, answer.json["title"]) == (401, "unauthenticated"), (endpoint.name, token)
        for token, scope in BEARERS.items():
            answer = await admin.call(endpoint.method, path, token=token)
            refused = answer.status == 403
            assert refused == (scope < endpoint.scope), (endpoint.name, token, answer.raw)
            assert answer.status not in {401, 405}, (endpoint.name, token)
            assert answer.status < 500, (endpoint.name, answer.raw)
        seen += 1
    assert seen > 30
    assert house.changes == []  # nothing of it exists, so nothing was changed


def test_whatever_changes_something_wants_more_than_read(house: DoorHouse) -> None:
    only_look = {"audit"}
    for endpoint in admin_endpoints(house.doors, Streams()):
        if endpoint.method != "GET" and endpoint.name not in only_look:
            assert endpoint.scope is not None
            assert endpoint.scope >= Scope.OPERATE, endpoint.name


async def test_every_native_route_wants_a_channels_token(intake: Served, house: DoorHouse) -> None:
    seen = 0
    for endpoint in intake_endpoints(house.doors, IntakeConfig()):
        if endpoint.scope is None:
            assert endpoint.path == "/webhooks/{channel}"
            continue
        path = filled(endpoint)
        for token in ("", WRONG, ADMIN):
            answer = await intake.call(endpoint.method, path, token=token)
            assert (answer.status, answer.json["title"]) == (401, "unauthenticated"), (endpoint.name, token)
        assert house.main.asked == []
        for token in (SHOP_TOKEN, OTHER_TOKEN):
            answer = await intake.call(endpoint.method, path, token=token)
            assert answer.status not in {401, 405}, (endpoint.name, token)
            assert answer.status < 500, (endpoint.name, answer.raw)
        house.main.asked.clear()
        seen += 1
    assert seen == 9


@pytest.mark.parametrize("value", [f"bearer {READ}", f"BEARER  {READ} "])
async def test_the_word_bearer_is_not_case_sensitive(admin: Served, value: str) -> None:
    assert (await admin.call("GET", "/admin/v1/channels", headers={"Authorization": value})).status == 200


@pytest.mark.parametrize("value", [READ, f"Basic {READ}", "Bearer", "Bearer ", f"Bearer {READ}x", "Bearer \udcff"])
async def test_anything_else_is_no_token(admin: Served, value: str) -> None:
    headers: Any = {"Authorization": value}
    try:
        answer = await admin.call("GET", "/admin/v1/channels", headers=headers)
    except UnicodeEncodeError:
        reader, writer = await admin.connect()
        writer.write(b"GET /admin/v1/channels HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
        assert b" 401 " in await reader.readline()
        return
    assert answer.status == 401


async def test_without_tokens_this_host_may_do_everything_and_no_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await serve("admin", behind=DoorHouse(tokens=False))
    answer = await admin.call("PUT", "/admin/v1/stock/TEE?pool=main", json={"on_hand": 1})
    assert answer.status == 200
    for name in ("X-Forwarded-For", "forwarded", "X-Real-IP", "Via", "x-forwarded-proto", "CF-Connecting-IP"):
        assert (await admin.call("GET", "/admin/v1/channels", headers={name: "127.0.0.1"})).status == 403, name
    monkeypatch.setattr("flashd.web.admin.peer_of", lambda _: ("192.0.2.7", 4711))
    answer = await admin.call("GET", "/admin/v1/channels")
    assert (answer.status, answer.json["title"]) == (403, "forbidden")
    monkeypatch.setattr("flashd.web.admin.peer_of", lambda _: ("fe80::1%eth0", 4711, 0, 2))
    assert (await admin.call("GET", "/admin/v1/channels")).status == 403
    monkeypatch.setattr("flashd.web.admin.peer_of", lambda _: ("::ffff:127.0.0.1", 4711, 0, 0))
    assert (await admin.call("GET", "/admin/v1/channels")).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]"])
async def test_another_host_name_is_misdirected(admin: Served, host: str) -> None:
    for path in ("/admin/v1/channels", "/livez", "/none"):
        answer = await admin.call("GET", path, headers={"Host": host}, token=ADMIN)
        assert answer.status == 421, (host, path)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8788", "127.0.0.1:8788", "[::1]:8788", "[::1]"])
async def test_our_own_names_are_answered(admin: Served, host: str) -> None:
    assert (await admin.call("GET", "/livez", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:9"}, 403),
        ({"Origin": "http://localhost:8788"}, 200),
    ],
)
async def test_a_foreign_page_changes_nothing(
    admin: Served, house: DoorHouse, headers: dict[str, str], status: int
) -> None:
    path = "/admin/v1/stock/TEE?pool=main"
    sent = {"Host": "localhost:8788", **headers}
    answer = await admin.call("PUT", path, json={"on_hand": 1}, headers=sent, token=OPERATE)
    assert answer.status == status
    assert len(house.changes) == (status == 200)
    assert (await admin.call("GET", path, headers=sent, token=READ)).status == (200 if status == 200 else 404)


def test_no_two_names_share_a_token_and_a_short_one_is_none() -> None:
    table = TokenTable()
    table.add(SHOP_TOKEN, Caller("a", Scope.READ, "shop"))
    with pytest.raises(ConfigError, match="its own"):
        table.add(SHOP_TOKEN + "\n", Caller("b", Scope.READ, "till"))
    with pytest.raises(ConfigError, match="'c' is the same as 'a'"):
        table.add(SHOP_TOKEN, Caller("c", Scope.ADMIN, "shop"))
    with pytest.raises(ConfigError, match="15 characters"):
        table.add("x" * 15, Caller("c", Scope.READ, "till"))


def test_a_table_keeps_no_token() -> None:
    table = TokenTable()
    table.add(SHOP_TOKEN, Caller("a", Scope.READ, "shop"))
    assert SHOP_TOKEN not in repr(vars(table))
    found = table.find(SHOP_TOKEN)
    assert found is not None
    assert msgspec.structs.asdict(found) == {"name": "a", "scope": Scope.READ, "subject": "shop"}


def test_the_widest_scope_counts() -> None:
    assert Scope.widest(["read", "admin", "operate"]) is Scope.ADMIN
    assert Scope.widest([]) is Scope.READ


CHANGES_NOTHING = {"audit", "test_alerts"}  # whoever asks for a test alert is named in it


def calls_of(function: Any) -> set[str]:
    """Names of the methods and functions that a function calls, by its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {call.attr for call in called if isinstance(call, ast.Attribute)}
    return names | {call.id for call in called if isinstance(call, ast.Name)}


def reaches_the_trail(endpoint: Endpoint) -> bool:
    """Follow a handler through the methods of its desk, and of the desks that it borrows from."""
    desks = [endpoint.handler.__self__]  # type: ignore[attr-defined]
    desks += [one for one in vars(desks[0]).values() if type(one).__module__.startswith("flashd.web.admin_")]
    seen: set[str] = set()
    todo = {endpoint.handler.__name__}
    while todo:
        name = todo.pop()
        seen.add(name)
        for desk in desks:
            if inspect.isroutine(method := getattr(type(desk), name, None)):
                found = calls_of(method)
                if "changed" in found:
                    return True
                todo |= found - seen
    return False


def test_every_change_reaches_the_audit_trail(house: DoorHouse) -> None:
    changing = [each for each in admin_endpoints(house.doors, Streams()) if each.method != "GET"]
    assert len(changing) > 25
    lacking = {each.name for each in changing if not reaches_the_trail(each)}
    assert lacking == CHANGES_NOTHING
