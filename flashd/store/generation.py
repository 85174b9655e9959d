"""
Which life of the store this daemon has met: kept beside it, so that an emptied or older store is recognised.

The file is small, private, and replaced in one step; processes that share the folder write it one after the other. It
is a memory, not a truth: without it the store is taken as it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flashd.errors import ConfigError


class Met(msgspec.Struct, frozen=True):
    """What was known of one pool when it was last seen: its generation and the last id of its journal."""

    generation: str
    seen: str = ""


_WRITING = threading.Lock()  # the watch of each primary notes from a thread of its own


class GenerationFile:
    """``<state_dir>/generation.json``: store -> pool -> what was met there."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "generation.json"

    def get(self, store: str, pool: str) -> Met | None:
        """
        Return what was met, or None.

        Raises:
            ConfigError: The file is damaged; the message says how to mend it.
        """
        return self._read().get(store, {}).get(pool)

    def note(self, store: str, pool: str, met: Met, *, durable: bool = True) -> None:
        """
        Remember what was met; *durable* fsyncs it.

        Raises:
            ConfigError: The folder cannot be written.
        """
        with self._alone():
            known = self._read()
            known.setdefault(store, {})[pool] = met
            self._write(known, durable=durable)

    def forget(self, store: str) -> list[str]:
        """
        Forget all that was met of a store; return the pools that were known.

        Raises:
            ConfigError: The folder cannot be written.
        """
        with self._alone():
            known = self._read()
            pools = sorted(known.pop(store, {}))
            if pools:
                self._write(known, durable=True)
        return pools

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep every other thread and process from writing: what one has just noted, another would write over."""
        with _WRITING, contextlib.ExitStack() as stack:
            try:
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = stack.enter_context(self.path.with_suffix(".lock").open("ab"))
            except OSError as error:
                raise self._unwritable(error) from error
            with contextlib.suppress(OSError):  # not every file system can; there a folder for each process is wanted
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(f"{self.path}: {error.strerror}; set [store] state_dir to a writable folder")

    def _write(self, known: dict[str, dict[str, Met]], *, durable: bool) -> None:
        try:
            fresh = self.path.with_suffix(".new")
            with fresh.open("wb") as out:
                out.write(msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n")
                if durable:
                    out.flush()
                    os.fsync(out.fileno())
            fresh.replace(self.path)
            if durable:
                self._sync_folder()
        except OSError as error:
            raise self._unwritable(error) from error

    def _sync_folder(self) -> None:
        with contextlib.suppress(OSError):  # not every file system can; the rename is still in one step
            handle = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)

    def _read(self) -> dict[str, dict[str, Met]]:
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(f"{self.path}: {error.strerror}; set [store] state_dir to a readable folder") from error
        try:
            return msgspec.json.decode(text, type=dict[str, dict[str, Met]])
        except msgspec.DecodeError as error:
            raise ConfigError(f"{self.path} is damaged ({error}); mend: rm {self.path}") from error


def stream_id(text: str) -> tuple[int, int]:
    """Return a stream id as numbers, so that ids can be compared; '' is before all."""
    left, _, right = text.partition("-")
    return int(left or 0), int(right or 0)
