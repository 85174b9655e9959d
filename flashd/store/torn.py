"""
An append-only log that a power cut or a bad disk left behind.

A half-written end is dropped, with all of the script that it belongs to, and told. A server that is let do it
(``aof-load-truncated yes``) drops the last command alone: the beginning of its script stays, and is revived beside what
is written next when the log is read again. Redis up to 8.2 and Valkey before its #4342 do so. Damage anywhere else is
refused: only a human can say what may be lost.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import structlog

log = structlog.get_logger()

_TORN = re.compile(r"Unexpected end of file reading the append only file (\S+)\. ")  # the words of both servers
_DAMAGED = re.compile(r"Bad file format reading the append only file (\S+):")
_UNREADABLE = re.compile(r"AOF MANIFEST|Unable to obtain the AOF|Wrong signature|RDB")
_CHECKER = "redis-check-aof"  # the server under this name is the checker
_MEND = (
    "the log ended within a command or a script, which was dropped. After a power cut that is what was never answered: "
    "nothing to do. Otherwise something cut the file: stop flashd and restore appendonlydir, or run `flashd audit` and "
    "let the channels be polled again"
)


async def cut_tail(said: str, binary: str, data: Path) -> bool:
    """
    Drop the half-written end of the log, if that is what the server complains of.

    Args:
        said: What the server said when it did not start.

    Returns:
        Whether it was dropped, so that the server may be started again.
    """
    found, folder = _TORN.search(said), data / "appendonlydir"
    if found is None or found[1] != _last_part(folder):
        return False
    path = folder / found[1]
    before = path.stat().st_size
    done = await asyncio.to_thread(
        subprocess.run,
        [_CHECKER, "--fix", path.name],
        executable=binary,
        cwd=folder,
        input=b"y\n",
        capture_output=True,
        check=False,
    )
    if done.returncode:
        log.error("store.not_mended", file=str(path), reason=done.stdout.decode(errors="replace")[-400:])
        return False
    log.error("store.torn", file=str(path), dropped_bytes=before - path.stat().st_size, mend=_MEND)
    return True


def _last_part(folder: Path) -> str:
    """Return the file that is written to: only there may an end be missing."""
    lines = [line for path in folder.glob("*.manifest") for line in path.read_text().splitlines()]
    names = [line.split()[1] for line in lines if " type i " in f"{line} "]  # Redis 8.2 says more behind it
    return names[-1] if names else ""


def mend_of(said: str, binary: str, data: Path) -> str:
    """Return what a human must do about a log that the server refused; "" if that is not what it complains of."""
    found = _DAMAGED.search(said) or _TORN.search(said)
    if found is None and not _UNREADABLE.search(said):
        return ""
    mend = f". Mend: restore {data}/appendonlydir from a backup"
    if found is None:
        return mend
    return (
        f"{mend}; without one keep a copy of it, then cut the log where the damage begins, which loses all that was "
        f"written after it: `cd {data}/appendonlydir && bash -c 'exec -a {_CHECKER} {binary} --fix {found[1]}'`, then "
        "`flashd audit`, and let the channels be polled again"
    )
