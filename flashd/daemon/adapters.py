"""Adapters of the configured kinds, handed their own section and a way to read secrets. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from msgspec.structs import replace

from flashd.config import BackendConfig, ChannelConfig, Loaded, Secret, SecretText, reveal, secrets_in
from flashd.errors import ConfigError
from flashd.plugins import BACKENDS, CHANNELS, pick
from flashd.ports import Backend, BatchingBackend, Channel, ChannelApi


def reveal_of(loaded: Loaded) -> Callable[[Secret], SecretText]:
    """Return how secrets of this configuration are read; one that cannot be is named by its key."""

    def read(secret: Secret) -> SecretText:
        try:
            return reveal(secret, base=loaded.base, environ=os.environ)
        except ConfigError as error:
            key = next((key for key, known in secrets_in(loaded.config) if known == secret), "a secret")
            raise ConfigError(f"{loaded.path}: {key}: {error}") from None

    return read


@contextmanager
def named(loaded: Loaded) -> Iterator[None]:
    """Name the file in what an adapter refuses of its section: it knows the key and not where that stands."""
    try:
        yield
    except ConfigError as error:
        if str(error).startswith(f"{loaded.path}: "):
            raise
        raise ConfigError(f"{loaded.path}: {error}") from error


def connect_channel(name: str, config: ChannelConfig, loaded: Loaded) -> Channel:
    """Return the adapter of one sales channel. Raises ConfigError."""
    make = pick(CHANNELS, config.kind).connect
    assert make is not None  # noqa: S101  # pick refuses what is broken
    pool = loaded.config.pools.get(config.pool)
    if pool is not None and pool.customer_key is not None and hasattr(config, "customer_key"):
        config = replace(config, customer_key=pool.customer_key)  # one customer is one hash, over all channels
    with named(loaded):
        return cast("Channel", make(name, config, reveal_of(loaded)))


def connect_api(name: str, config: ChannelConfig, loaded: Loaded) -> ChannelApi | None:
    """
    Return the platform's own API, or None where the kind has none or no address is configured.

    Raises:
        ConfigError: It is misconfigured, or figures are to be published and there is no API to publish them to.
    """
    with named(loaded):
        return _api(name, config, loaded)


def _api(name: str, config: ChannelConfig, loaded: Loaded) -> ChannelApi | None:
    make = pick(CHANNELS, config.kind).connect_api
    api = None if make is None else cast("ChannelApi | None", make(name, config, reveal_of(loaded)))
    if api is None and (config.publish.mode == "escrow" or (config.publish.mode == "mirror" and make is not None)):
        what = "there is no API to write figures to" if make is None else "no address of its API is configured"
        mend = 'write publish.mode = "none"' + ("" if make is None else ", or the address (docs/channels/)")
        raise ConfigError(f'[channels.{name}] publish.mode = "{config.publish.mode}": {what}; {mend}')
    if api is not None and config.publish.mode == "escrow" and not api.traits.polls:
        raise ConfigError(
            f'[channels.{name}] publish.mode = "escrow": its API lists no orders, so units would stay taken for ever;'
            ' write publish.mode = "mirror" with a buffer, or the address of its orders (docs/channels/)'
        )
    if api is not None and config.publish.mode == "escrow" and not api.traits.reads:
        raise ConfigError(
            f'[channels.{name}] publish.mode = "escrow": its API does not tell what it shows, so nothing could be taken'
            ' back for certain; write publish.mode = "mirror" with a buffer'
        )
    return api


def connect_backend(name: str, config: BackendConfig, loaded: Loaded) -> Backend:
    """
    Return the adapter of one backend; it opens nothing yet.

    Raises:
        ConfigError: It is misconfigured, or several orders shall go in one request of a kind that takes one.
    """
    make = pick(BACKENDS, config.kind).connect
    assert make is not None  # noqa: S101  # as above
    with named(loaded):
        backend = cast("Backend", make(name, config, reveal_of(loaded)))
        if config.batch > 1 and not (isinstance(backend, BatchingBackend) and backend.traits.batch > 1):
            raise ConfigError(
                f"[backends.{name}] batch = {config.batch}: a {config.kind} backend takes one order in a request;"
                " write batch = 1, or leave it out"
            )
    return backend
