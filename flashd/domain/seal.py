"""A seal: HMAC-SHA256 (RFC 2104) under one secret, of which all that depends on the secret alone is worked out once."""

from __future__ import annotations

import hashlib

_BLOCK = 64  # bytes that SHA-256 takes in at a time
_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


class Seal:
    """
    One secret, ready to sign.

    It keeps the two hashes that the secret begins, and copies them: a third less than copying an `hmac.HMAC` takes,
    which copies three such contexts of OpenSSL, through a class written in Python.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        key = hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(padded.translate(_INNER))
        self._outer = hashlib.sha256(padded.translate(_OUTER))

    def digest(self, message: bytes) -> bytes:
        """Return the 32 bytes."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


NOBODYS = Seal(bytes(32))  # for whoever has no secret: a refusal costs the same whether or not there is one
