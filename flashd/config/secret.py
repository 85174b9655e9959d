"""Secrets: where they lie, how they are read, and a text that does not show itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from flashd.errors import ConfigError

SOURCES = ("file", "env", "credential")
FORM = '{ file = "..." }, { env = "..." } or { credential = "..." }'
_LENGTH = 65_536  # a private key fits; a device or a wrong file does not


class SecretText(str):
    """A secret that does not show itself: its repr is ``***``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a secret lies; exactly one of the three. Secrets never stand inline."""

    file: str | None = None  # relative to the configuration file
    env: str | None = None
    credential: str | None = None  # a name under $CREDENTIALS_DIRECTORY (systemd LoadCredential=)

    def __repr__(self) -> str:
        return f"Secret(file={self.file!r}, env={self.env!r}, credential={self.credential!r})"

    def __str__(self) -> str:
        return next((f"{name} {value}" for name in SOURCES if (value := getattr(self, name)) is not None), "nowhere")


def reveal(secret: Secret, *, base: Path, environ: Mapping[str, str]) -> SecretText:
    """
    Read a secret; one line break at its end is not part of it.

    Args:
        secret: Where it lies.
        base: The folder that a relative file name starts from.
        environ: Holds the variables, and CREDENTIALS_DIRECTORY.

    Raises:
        ConfigError: It is not there, cannot be read, or is empty.
    """
    if secret.env is not None:
        if secret.env not in environ:
            raise ConfigError(f"secret env = {secret.env!r}: there is no such environment variable; set it")
        text = environ[secret.env]
    else:
        text = _read(locate(secret, base=base, environ=environ), secret)
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise ConfigError(f"secret from {secret} is empty; an empty secret would let anybody in")
    return SecretText(text)


def locate(secret: Secret, *, base: Path, environ: Mapping[str, str]) -> Path:
    """Return the file of a secret that lies in a file or a credential. Raises ConfigError."""
    if secret.file is not None:
        return base / Path(secret.file).expanduser()
    if secret.credential is None:
        raise ConfigError(f"a secret lies nowhere; write {FORM}")
    if "/" in secret.credential or secret.credential.startswith("."):
        raise ConfigError(f"secret credential = {secret.credential!r}: write the plain name of a LoadCredential= line")
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        raise ConfigError(
            f"secret credential = {secret.credential!r}: there is no $CREDENTIALS_DIRECTORY; start flashd by systemd"
            f" with LoadCredential={secret.credential}:/path/to/it, or write {{ file = ... }}"
        )
    return Path(folder) / secret.credential


def is_closed(path: Path) -> bool:
    """Say whether this user may not read that file, or not even see whether it is there."""
    try:
        there = path.exists()
    except PermissionError:
        return True
    return there and not os.access(path, os.R_OK, effective_ids=True)


def world_readable(path: Path) -> bool:
    """Say whether anybody on the machine may read this file."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def _read(path: Path, secret: Secret) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LENGTH + 1)
        if len(raw) > _LENGTH:
            raise ConfigError(f"secret from {secret}: {path} is over {_LENGTH} bytes; that is no secret")
        return raw.decode()
    except OSError as error:
        raise ConfigError(
            f"secret from {secret}: cannot read {path}: {error.strerror}; make it readable for flashd"
        ) from error
    except UnicodeDecodeError:
        raise ConfigError(f"secret from {secret}: {path} is not UTF-8 text") from None
