"""Child processes of the demo and the tests: started in a group of their own, ended by their ids, never by a name."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path


class Child:
    """
    One process, its output in a file.

    It leads a process group of its own, so that whatever it leaves behind when it is killed (an embedded server) is
    ended with :meth:`close`, and Ctrl-C on the terminal reaches the demo first.
    """

    def __init__(self, name: str, arguments: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.arguments = [sys.executable, "-P", *arguments]  # -P: a folder `flashd` where we stand is not the package
        self.log = log
        self._env = dict(os.environ if env is None else env)
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: list[int] = []

    @property
    def pid(self) -> int:
        """The process id, 0 before the start."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, pipe: bool = False) -> None:
        """Start it; with *pipe* its stdout can be read with :meth:`first_line`."""
        self._close_pipe()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter, our own modules
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
                env=self._env,
                start_new_session=True,
            )
        self._groups.append(self._process.pid)

    def first_line(self, timeout_s: float) -> bytes:
        """
        Return what the child announces on its stdout.

        Raises:
            ChildProcessError: It died or said nothing in time; the message has the end of its log.
        """
        process = self._process
        if process is None or process.stdout is None:
            raise ChildProcessError(f"{self.name} was not started with a pipe")
        deadline, line = time.monotonic() + timeout_s, b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            byte = os.read(process.stdout.fileno(), 4096) if ready else b""
            if not byte:
                raise ChildProcessError(f"{self.name} did not announce itself: {self.tail()}")
            line += byte
        return line

    def tail(self, size: int = 2000) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone, if it runs."""
        if self.is_alive and self._process is not None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code, or None where it did not end in time."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = 15.0) -> int | None:
        """End it with SIGTERM; return its exit code, or None where it had to be killed."""
        self.send(signal.SIGTERM)
        code = self.wait(timeout_s)
        if code is None:
            self.kill()
        return code

    def kill(self) -> None:
        """SIGKILL the process alone, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self.wait(10.0)

    def kill_group(self) -> None:
        """SIGKILL the process and everything that it or its killed predecessors left behind."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        self.wait(10.0)

    def close(self) -> None:
        """End the process and its orphans; fine to call twice."""
        self.kill_group()
        self._groups.clear()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
