"""
HMAC-SHA256 over raw bytes, as base64 text: the way most platforms prove what they send.

Signatures are compared as *text*: base64 decoders accept several spellings of the same bytes, and a platform sends one.
"""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from flashd.config import ChannelConfig, Secret, SecretText
from flashd.domain.seal import NOBODYS, Seal
from flashd.errors import ConfigError

SECRETS_AT_MOST = 3  # live ones of a channel; so many digests are made before anything is refused
OFFERED_AT_MOST = 8  # signatures of one message that are looked at


def sign(secret: bytes, message: bytes) -> str:
    """Return the signature as base64 text."""
    return proof(Seal(secret), message).decode()


def proof(seal: Seal, message: bytes) -> bytes:
    """Return the signature as base64 digits."""
    return binascii.b2a_base64(seal.digest(message), newline=False)


def proves(seals: Sequence[Seal], message: bytes, offered: Sequence[str]) -> bool:
    """
    Say whether one of *seals* made one of the *offered* signatures.

    Every one is tried whatever was offered and whatever matched: a missing signature costs what a wrong one does.
    And what proves nothing costs the same with one secret, with three and with none: see `SECRETS_AT_MOST`.
    """
    proven = False
    for seal in seals:
        expected = proof(seal, message)
        for text in offered[:OFFERED_AT_MOST]:
            proven |= hmac.compare_digest(expected, text.encode("utf-8", "surrogatepass"))
    if not proven:
        for _ in range(SECRETS_AT_MOST - len(seals)):
            NOBODYS.digest(message)
    return proven


def live_secrets(
    name: str,
    config: ChannelConfig,
    reveal: Callable[[Secret], SecretText],
    key_of: Callable[[str], bytes] = str.encode,
) -> tuple[bytes, ...]:
    """
    Return the keys of a channel's one to three secrets.

    Args:
        name: The channel, for the message.
        config: Its configuration.
        reveal: Reads a secret.
        key_of: Turns its text into the key.

    Raises:
        ConfigError: There is none, or one is empty or malformed.
    """
    if not config.secrets:
        raise ConfigError(
            f"[channels.{name}] secrets: is empty, and {config.kind} signs what it sends;"
            f' write secrets = [{{ file = "{name}.secret" }}]'
        )
    keys = []
    for index, secret in enumerate(config.secrets):
        try:
            key = key_of(str(reveal(secret)))
        except ValueError as error:
            raise ConfigError(f"[channels.{name}] secrets[{index}]: {error}") from None
        if not key:
            raise ConfigError(f"[channels.{name}] secrets[{index}]: is empty; copy the secret that the platform shows")
        keys.append(key)
    return tuple(keys)


class SignedBody:
    """What is alike in all channels whose messages carry the signature of their body in one header."""

    header: ClassVar[str]

    def __init__(self, name: str, secrets: tuple[bytes, ...]) -> None:
        self.name = name
        self._seals = tuple(map(Seal, secrets))

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:  # noqa: ARG002  # no time in it
        """Say whether one of the live secrets signed exactly these bytes."""
        return proves(self._seals, body, [headers.get(self.header, "")])

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:  # noqa: ARG002  # the port's signature
        """Say no: there is no unsigned test."""
        return False

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:  # noqa: ARG002  # nor here
        """Return the headers with which the platform would send this body."""
        return {"content-type": "application/json", self.header: proof(self._seals[0], body).decode()}
