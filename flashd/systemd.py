"""
What a service manager is told (sd_notify) and what it hands over (sockets, the watchdog's interval).

The protocol is a datagram of ``KEY=value`` lines; see sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). The
variables are taken out of the environment, so that an embedded server does not speak in our name.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from flashd.errors import ConfigError

FIRST_FD = 3
NAMES = ("intake", "admin")


class Notifier:
    """Tells the service manager how it goes; without one, every word is dropped."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._status = ""

    @property
    def active(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def ready(self) -> bool:
        """Say that orders are taken: after the start, and after each reload."""
        return self._send("READY=1")

    def reloading(self) -> bool:
        """Say that a reload began; `ready` must follow, also if the old configuration is kept."""
        moment_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send(f"RELOADING=1\nMONOTONIC_USEC={moment_us}")  # systemd wants both in one datagram

    def stopping(self) -> bool:
        """Say that the end began."""
        return self._send("STOPPING=1")

    def status(self, text: str) -> bool:
        """Set the line that `systemctl status` shows; the same line again is not sent."""
        line = " ".join(text.split())
        if line == self._status:
            return self.active
        self._status = line
        return self._send(f"STATUS={line}")

    def watchdog(self) -> bool:
        """Say that there was progress."""
        return self._send("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """Ask for that much time from now, while starting or stopping."""
        return self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def _send(self, message: str) -> bool:
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # a manager that does not read must not hold the loop up
                sender.sendto(message.encode(), self._address)
        except OSError:
            return False
        return True


def watchdog_s(environ: MutableMapping[str, str], pid: int) -> float | None:
    """Return within how many seconds the manager wants progress, or None; send it twice as often."""
    interval = environ.pop("WATCHDOG_USEC", "")
    owner = environ.pop("WATCHDOG_PID", str(pid))
    if owner != str(pid) or not interval.isdigit() or int(interval) == 0:
        return None
    return int(interval) / 1_000_000


def listeners(environ: MutableMapping[str, str], pid: int) -> dict[str, list[socket.socket]]:
    """
    Return the sockets that the manager listens on for us, by ``FileDescriptorName=``: intake or admin.

    A single socket without such a name is the intake.

    Raises:
        ConfigError: A name is another one, or a descriptor is not a listening socket.
    """
    count = environ.pop("LISTEN_FDS", "")
    owner = environ.pop("LISTEN_PID", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if owner != str(pid) or not count.isdigit() or int(count) == 0:
        return {}
    if int(count) == 1 and names[0] not in NAMES and (not names[0] or names[0].endswith((".socket", "unknown"))):
        names = ["intake"]
    found: dict[str, list[socket.socket]] = {}
    for number in range(int(count)):
        name = names[number] if number < len(names) else ""
        if name not in NAMES:
            raise ConfigError(
                f"socket activation: descriptor {FIRST_FD + number} is named {name!r};"
                f" write FileDescriptorName={' or FileDescriptorName='.join(NAMES)} in its .socket unit"
            )
        found.setdefault(name, []).append(_adopt(FIRST_FD + number, name))
    return found


def _adopt(descriptor: int, name: str) -> socket.socket:
    what = f"socket activation: descriptor {descriptor} ({name})"
    try:
        os.set_inheritable(descriptor, False)
        adopted = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError(f"{what} is no socket: {error.strerror}") from error
    if not adopted.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        adopted.detach()
        raise ConfigError(f"{what} does not listen; write ListenStream=")
    adopted.setblocking(False)
    return adopted
