from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flashd.systemd import Notifier, listeners, watchdog_s


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(2)
        yield receiver


@pytest.fixture
def notifier(manager: socket.socket) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname()})


def _heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_each_word_arrives_as_one_datagram(manager: socket.socket, notifier: Notifier) -> None:
    assert notifier.active
    for word, message in (
        (notifier.ready, "READY=1"),
        (notifier.stopping, "STOPPING=1"),
        (notifier.watchdog, "WATCHDOG=1"),
    ):
        assert word()
        assert _heard(manager) == message
    assert notifier.extend(2.5)
    assert _heard(manager) == "EXTEND_TIMEOUT_USEC=2500000"


def test_a_reload_carries_its_moment_in_the_same_datagram(manager: socket.socket, notifier: Notifier) -> None:
    before = time.monotonic_ns() // 1000
    notifier.reloading()
    word, moment = _heard(manager).split("\n")
    assert word == "RELOADING=1"
    key, _, moment_us = moment.partition("=")
    assert key == "MONOTONIC_USEC"
    assert before <= int(moment_us) <= time.monotonic_ns() // 1000


def test_the_status_is_one_line_and_said_once(manager: socket.socket, notifier: Notifier) -> None:
    assert notifier.status("412/500 sold,\nREADY=1  queue 388")
    assert notifier.status("412/500 sold, READY=1 queue 388")
    notifier.watchdog()
    assert _heard(manager) == "STATUS=412/500 sold, READY=1 queue 388"
    assert _heard(manager) == "WATCHDOG=1"


def test_an_abstract_address_is_understood() -> None:
    name = f"flashd-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        receiver.settimeout(2)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert _heard(receiver) == "READY=1"


def test_without_a_manager_nothing_is_said_and_nothing_breaks(tmp_path: Path) -> None:
    silent = Notifier({})
    assert not silent.active
    assert not silent.ready()
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_a_manager_that_does_not_read_does_not_hold_us_up(manager: socket.socket, notifier: Notifier) -> None:
    began = time.monotonic()
    sent = [notifier.watchdog() for _ in range(2000)]
    assert not all(sent)
    assert time.monotonic() - began < 30


def test_our_children_do_not_inherit_the_managers_address() -> None:
    environ = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "LISTEN_FDS": "0", "PATH": "/bin"}
    Notifier(environ)
    watchdog_s(environ, 1)
    listeners(environ, 1)
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_ours_only_if_it_names_us(environ: dict[str, str], interval_s: float | None) -> None:
    assert watchdog_s(environ, 7) == interval_s


# Takes over descriptor 3 and 4 in a process of its own, as systemd does it.
_CHILD = """
import os, sys
for number, fd in enumerate(sys.argv[1:]):
    os.dup2(int(fd), 3 + number)
from flashd.errors import ConfigError
from flashd.systemd import listeners
environ = dict(os.environ, LISTEN_PID=str(os.getpid()))
try:
    for name, found in listeners(environ, os.getpid()).items():
        for one in found:
            print(name, one.getsockname()[1], os.get_inheritable(one.fileno()), one.getblocking())
except ConfigError as error:
    print("refused:", error)
"""


def _activate(names: str | None, *sockets: socket.socket | int) -> list[str]:
    given = [one if isinstance(one, int) else one.fileno() for one in sockets]
    moved = [os.dup2(fd, 100 + number) for number, fd in enumerate(given)]  # out of the way of 3 and 4
    environ = {**os.environ, "LISTEN_FDS": str(len(sockets))} | ({"LISTEN_FDNAMES": names} if names is not None else {})
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, *map(str, moved)],
            env=environ,
            pass_fds=moved,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    finally:
        for fd in moved:
            os.close(fd)
    return done.stdout.splitlines()


@pytest.fixture
def two() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        yield one, other


def _port(one: socket.socket) -> int:
    port: int = one.getsockname()[1]
    return port


def test_listening_sockets_are_taken_over_by_name(two: tuple[socket.socket, socket.socket]) -> None:
    assert _activate("intake:admin", *two) == [
        f"intake {_port(two[0])} False False",
        f"admin {_port(two[1])} False False",
    ]
    assert [line.split()[0] for line in _activate("intake:intake", *two)] == ["intake", "intake"]


@pytest.mark.parametrize("names", [None, "", "flashd.socket", "unknown"])
def test_a_single_socket_without_a_name_is_the_intake(
    two: tuple[socket.socket, socket.socket], names: str | None
) -> None:
    assert _activate(names, two[0]) == [f"intake {_port(two[0])} False False"]


def test_a_socket_with_another_name_is_refused_with_the_line_to_write(
    two: tuple[socket.socket, socket.socket],
) -> None:
    (line,) = _activate("intake:metrics", *two)
    assert "descriptor 4 is named 'metrics'; write FileDescriptorName=intake" in line


def test_a_descriptor_that_does_not_listen_is_refused() -> None:
    with socket.socket() as idle:
        (line,) = _activate("intake", idle)
        assert "descriptor 3 (intake) does not listen; write ListenStream=" in line
    with Path(os.devnull).open() as file:
        (line,) = _activate("intake", file.fileno())
        assert "descriptor 3 (intake) is no socket" in line


def test_sockets_for_another_process_are_left_alone() -> None:
    assert listeners({"LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "intake"}, os.getpid()) == {}
