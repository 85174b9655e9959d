"""
What a server must be set to, as arithmetic: from what it says of itself to refusals with their mends.

The start-up contract refuses by it, the watch compares with it again while the daemon runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

# XTRIM MINID, ZMSCORE (6.2); `#!lua flags=allow-oom` and XINFO's max-deleted-entry-id (7.0): the scripts need them.
_OLDEST = {"redis": (7, 0), "valkey": (7, 2)}
_STRENGTH = {"no": "none", "everysec": "everysec", "always": "fsync"}
_FSYNC = {"fsync": ("always",), "everysec": ("always", "everysec"), "none": ("always", "everysec", "no")}

SMALL = {"hash-max-listpack-value": "4096", "hash-max-listpack-entries": "32"}
"""What lets a record of an order be one piece of memory: 735 bytes a queued order of 380, and not 945 (Valkey 9.1).

Few entries, so that a hash that is searched by SKU or hold id is a table as soon as it holds more than a record does.
"""

NAMES = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "aof-load-truncated",
    "maxmemory",
    "maxmemory-policy",
    *SMALL,
)
_CUTS_WHOLE_SCRIPTS = (9, 1, 2)  # Valkey, with its #4342

ACL_LINE = "ACL SETUSER {user} ~fd:* &fd:events:* +@all -@dangerous +info +role +config|get"


class ServerKind(msgspec.Struct, frozen=True):
    """Which server it is; Valkey calls itself redis 7.2 for old clients, so its own field is read first."""

    name: str
    version: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version as numbers."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def server_kind(info: Mapping[str, Any]) -> ServerKind:
    """Read INFO's server section."""
    if "valkey_version" in info:
        return ServerKind("valkey", str(info["valkey_version"]))
    return ServerKind("redis", str(info.get("redis_version", "0")))


def durability_of(settings: Mapping[str, str]) -> str:
    """Return what the server really keeps: fsync, everysec or none."""
    if settings.get("appendonly") != "yes":
        return "none"
    kept = _STRENGTH.get(settings.get("appendfsync", ""), "none")
    if kept == "fsync" and settings.get("no-appendfsync-on-rewrite") != "no":
        return "everysec"  # during a rewrite nothing is fsynced
    return kept


def refuse_kind(kind: ServerKind, info: Mapping[str, Any], mode: str = "standalone") -> list[str]:
    """Return why this server is of no use, with the mend; *mode* is what the URL takes it for."""
    refusals = []
    oldest = _OLDEST[kind.name]
    if kind.numbers[:2] < oldest:
        wanted = ".".join(map(str, oldest))
        refusals.append(
            f"the server is {kind}; flashd's scripts need {kind.name} {wanted} or later: upgrade it, "
            'or set [store] url = "embedded"'
        )
    found = str(info.get("redis_mode", info.get("server_mode", "standalone")))
    if found == "cluster" and mode != found:
        refusals.append(
            "the server is part of a Cluster, where each pool is at home on one of several servers. Mend: "
            '[store] url = "cluster://host:6379" (one or more of its servers), or name a primary that stands alone'
        )
    if found != "cluster" and mode == "cluster":
        refusals.append('the server is no part of a Cluster. Mend: [store] url = "redis://host:6379/0"')
    return refusals


def refuse_role(role: str) -> list[str]:
    """Return why a server in this role is of no use: only the primary takes writes."""
    if role == "master":
        return []
    return [f"the server's role is {role}; wanted: master. Mend: point [store] url at the primary, or REPLICAOF NO ONE"]


def lack_of_replicas(info: Mapping[str, Any], wanted: int) -> str:
    """Say that fewer replicas follow the server than must have each write, or ""; redis-py has read the *info*."""
    if not wanted:
        return ""
    rows = (info.get(f"slave{number}") for number in range(int(info.get("connected_slaves", 0))))
    have = sum(isinstance(row, Mapping) and row.get("state") == "online" for row in rows)
    return "" if have >= wanted else f"{have} of {wanted} replicas follow the server, so nothing can be promised"


def refuse_settings(settings: Mapping[str, str], durability: str) -> list[str]:
    """Return every setting that breaks what the configuration promises, with the command and the line that mend it."""
    wanted: dict[str, tuple[str, ...]] = {"maxmemory-policy": ("noeviction",)}
    if durability != "none":
        wanted |= {
            "appendonly": ("yes",),
            "appendfsync": _FSYNC[durability],
            "no-appendfsync-on-rewrite": ("no",),
        }
    refusals = []
    for name, allowed in wanted.items():
        found = settings.get(name, "")
        if found not in allowed:
            weaker = ""
            if name == "appendfsync" and found in _STRENGTH:
                weaker = f' (or accept less: [store] durability = "{_STRENGTH[found]}")'
            refusals.append(
                f"{name} is {found or 'unknown'}; wanted: {allowed[0]}. Mend: CONFIG SET {name} {allowed[0]}, "
                f"and the line `{name} {allowed[0]}` in the server's configuration file{weaker}"
            )
    return refusals


def advise(settings: Mapping[str, str]) -> list[str]:
    """Return what would serve better and breaks nothing as it is."""
    found = settings.get("hash-max-listpack-value", "")
    if not found.isdigit() or int(found) >= 1024:
        return []
    better = " ".join(f"{name} {value}" for name, value in SMALL.items())
    return [
        f"hash-max-listpack-value is {found}, so orders take a quarter more memory than they must; CONFIG SET {better}"
    ]


def warn_of_torn_logs(kind: ServerKind, settings: Mapping[str, str]) -> list[str]:
    """Say where a server would mend the end of its log after a power cut and leave half of a script in it."""
    mends_well = kind.name == "valkey" and kind.numbers >= _CUTS_WHOLE_SCRIPTS
    if mends_well or settings.get("aof-load-truncated") != "yes":
        return []
    told = "aof-load-truncated is yes: the second start after a power cut may revive an order that was never answered"
    return [f"{told}; mend: CONFIG SET aof-load-truncated no, and see docs/store.md"]


def watermark(used: int, maximum: int) -> str:
    """Say which of 70, 80 and 90 % of maxmemory is passed, or ""; what follows from it is the actors' business."""
    passed = [limit for limit in (90, 80, 70) if 0 < maximum * limit <= used * 100]
    return f"memory is above {passed[0]} % of maxmemory" if passed else ""
