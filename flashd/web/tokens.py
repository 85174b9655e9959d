"""Bearer tokens: only their hashes stay in memory, and how long a look-up takes tells nothing of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from enum import IntEnum

import msgspec

from flashd.errors import ConfigError, Forbidden, Unauthenticated

LEAST_LENGTH = 16


class Scope(IntEnum):
    """What a token may do; each scope holds the ones below it."""

    READ = 1
    OPERATE = 2
    ADMIN = 3

    @classmethod
    def widest(cls, names: Iterable[str]) -> Scope:
        """Return the widest of these scopes, READ for none."""
        return max((cls[name.upper()] for name in names), default=cls.READ)


class Caller(msgspec.Struct, frozen=True):
    """Who calls: the token's name for the audit trail, what it may do, and the channel it belongs to (intake)."""

    name: str
    scope: Scope
    subject: str = ""


def fingerprint(secret: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(secret.encode()).digest()


class TokenTable:
    """Who carries which token; only hashes of them are kept."""

    def __init__(self) -> None:
        self._entries: dict[bytes, Caller] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, secret: str, caller: Caller) -> None:
        """
        Let *secret* open for *caller*.

        Raises:
            ConfigError: The token is too short to be one, or somebody else's already.
        """
        secret = secret.strip()
        if len(secret) < LEAST_LENGTH:
            raise ConfigError(f"token {caller.name!r} has {len(secret)} characters: give it {LEAST_LENGTH} or more")
        digest = fingerprint(secret)
        if other := self._entries.get(digest):  # whose name would stand in the audit trail, and which scope count?
            raise ConfigError(f"token {caller.name!r} is the same as {other.name!r}: each needs one of its own")
        self._entries[digest] = caller

    def replace(self, other: TokenTable) -> None:
        """Take over the entries of *other*: a reload reads all tokens again before it gives up the old ones."""
        self._entries = other._entries

    def find(self, secret: str) -> Caller | None:
        """
        Return who carries *secret*, in a time that does not grow with the tokens.

        What is compared are SHA-256 digests: how far a guess's digest agrees with one of ours tells nothing of the
        token, and no guess can be aimed at it.
        """
        return self._entries.get(fingerprint(secret))

    def caller(self, headers: Mapping[str, str]) -> Caller:
        """
        Return who sent a request with these headers.

        Raises:
            Unauthenticated: There is no bearer token, or nobody carries it.
        """
        kind, _, secret = headers.get("authorization", "").partition(" ")
        # The surrogates that stand for undecodable header bytes cannot be encoded, so they cannot be a token.
        secret = secret.strip().encode(errors="replace").decode()
        found = self.find(secret) if kind.lower() == "bearer" else None
        if found is None:
            raise Unauthenticated("send Authorization: Bearer with a token that is configured here")
        return found


def demand(caller: Caller, scope: Scope) -> None:
    """
    Let *caller* pass if its scope reaches that far.

    Raises:
        Forbidden: It does not.
    """
    if caller.scope < scope:
        raise Forbidden(f"this needs the scope {scope.name.lower()}; token {caller.name!r} has less")
