"""Asking the other sides for real, for `flashd check --online`."""

from __future__ import annotations

from flashd.config import Loaded
from flashd.daemon.adapters import connect_backend, reveal_of
from flashd.errors import ConfigError, FlashdError
from flashd.runtime.clock import SystemClock
from flashd.store.opening import ask_contract


async def ask_store(loaded: Loaded) -> tuple[str, bool, str]:
    """Return (what, whether it is fine, what it said) of the store: its server, and whether the contract holds."""
    url = loaded.config.store.url
    try:
        contract = await ask_contract(loaded.config, reveal_of(loaded), SystemClock())
    except ConfigError as error:
        if url == "embedded" and "does not exist" in str(error):
            return "store embedded", True, "not started yet; `flashd run` starts it"
        return f"store {url}", False, str(error)
    except FlashdError as error:
        return f"store {url}", False, str(error)
    warnings = "".join(f"; warning: {text}" for text in contract.warnings)
    return f"store {url}", True, f"{contract.server}, durability {contract.durability}{warnings}"


async def ask_backends(loaded: Loaded) -> list[tuple[str, bool, str]]:
    """Return the same of every backend, after logging in."""
    found = []
    for name, section in loaded.config.backends.items():
        adapter = connect_backend(name, section, loaded)
        try:
            found.append((f"backend {name}", True, await adapter.check()))
        except FlashdError as error:
            found.append((f"backend {name}", False, str(error)))
        finally:
            await adapter.close()
    return found
