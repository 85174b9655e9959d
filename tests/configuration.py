"""The configuration of a daemon under test: what all of them have in common, so that a test says what it is about."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

TOKEN = "till-token-of-the-test"
TILL = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
NOBODY = "http://127.0.0.1:9/orders"  # nobody listens there


def configuration(folder: Path, *sections: str, store: str = "embedded", state: str = "state") -> str:
    """
    Return the text of a flashd.toml for `tests.e2e.process.Flashd`, which puts free ports into it.

    Args:
        sections: Channels, backends and whatever else; without a route in them all orders go to the backend erp.
        store: The address of the store.
        state: The folder of its state, in *folder*: one for each daemon.
    """
    listeners = [section(name, listen=f"127.0.0.1:{{{name}}}") for name in ("intake", "admin")]
    parts = [section("store", url=store, state_dir=str(folder / state)), *listeners, *sections]
    if not any("[[routes]]" in part for part in sections):
        parts.append(route())
    return "\n".join(parts)


def native(name: str = "till", /, **keys: object) -> str:
    """Return a native channel; its token lies in the file ``<name>.token``."""
    return section(
        f"channels.{name}", kind="native", tokens=[{"name": name, "secret": {"file": f"{name}.token"}}], **keys
    )


def signed(name: str = "shop", kind: str = "shopify", /, **keys: object) -> str:
    """Return a channel whose webhooks are signed; its secret lies in the file ``<name>.secret``."""
    return section(f"channels.{name}", **{"kind": kind, "secrets": [{"file": f"{name}.secret"}], **keys})


def fed(url: str = NOBODY, name: str = "erp", /, **keys: object) -> str:
    """Return a backend that takes JSON, and can be asked for a key where the simulated ERP stands behind *url*."""
    asked = {} if url == NOBODY else {"lookup_url": f"{url}?key={{key}}"}
    return section(f"backends.{name}", **{"kind": "http", "url": url, **asked, **keys})


def route(backend: str = "erp", **keys: object) -> str:
    """Return a route."""
    return section("[routes]", backend=backend, **keys)


def section(header: str, **keys: object) -> str:
    """Return one section."""
    return f"[{header}]\n" + "".join(f"{name} = {_value(value)}\n" for name, value in keys.items())


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_value(one)}" for name, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, datetime):
        return value.isoformat()
    return json.dumps(value)


def keep(folder: Path, **secrets: str | bytes) -> None:
    """Write secrets into files that nobody else may read: ``till_token`` into ``till.token``."""
    for name, secret in secrets.items():
        file = folder / name.replace("_", ".")
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_bytes(secret if isinstance(secret, bytes) else secret.encode())
