"""What `flashd check` asks beyond the file: the adapters of what they are handed, and with --online the other sides."""

from __future__ import annotations

from flashd.config import Loaded
from flashd.daemon.adapters import connect_api, connect_backend, connect_channel, named, reveal_of
from flashd.daemon.outlet import connect_apis
from flashd.daemon.telling import connect_messenger
from flashd.errors import ConfigError, FlashdError
from flashd.runtime.clock import SystemClock
from flashd.store.address import read_address
from flashd.store.opening import ask_contract
from flashd.web.tokens import Caller, Scope, TokenTable


def try_adapters(loaded: Loaded) -> None:
    """
    Make every adapter as `flashd run` does and throw it away: nothing is opened and nobody is asked.

    Raises:
        ConfigError: What the store or an adapter refuses of its section, so that nobody learns it only when the daemon
            starts.
    """
    if loaded.config.store.url != "embedded":
        read_address(loaded.config.store.url)
    for name, channel in loaded.config.channels.items():
        connect_channel(name, channel, loaded)
    connect_apis(loaded)
    for name, backend in loaded.config.backends.items():
        connect_backend(name, backend, loaded)
    connect_messenger(loaded)
    _try_tokens(loaded)


def _try_tokens(loaded: Loaded) -> None:
    """Refuse a token as the daemon would; one that cannot be read here is warned of already."""
    config, callers, admins = loaded.config, TokenTable(), TokenTable()
    for table, subject, tokens in (
        *((callers, name, channel.tokens) for name, channel in config.channels.items()),
        (admins, "", config.admin.tokens),
    ):
        for token in tokens:
            try:
                secret = reveal_of(loaded)(token.secret)
            except ConfigError:
                continue
            with named(loaded):
                table.add(secret, Caller(token.name, Scope.widest(token.scopes), subject))


async def ask_store(loaded: Loaded) -> list[tuple[str, bool, str]]:
    """
    Return (what, whether it is fine, what it said) of the store: its server, and whether the contract holds.

    Beside it stand, fine each, what begins with ``warning: `` and ``note: ``.
    """
    url = loaded.config.store.url
    what = f"store {url}"
    try:
        contract = await ask_contract(loaded.config, reveal_of(loaded), SystemClock())
    except ConfigError as error:
        if url == "embedded" and "does not exist" in str(error):
            return [(what, True, "not started yet; `flashd run` starts it")]
        return [(what, False, str(error))]
    except FlashdError as error:
        return [(what, False, str(error))]
    said = [f"{contract.server}, durability {contract.durability}"]
    said += [f"warning: {text}" for text in contract.warnings] + [f"note: {text}" for text in contract.notes]
    return [(what, True, text) for text in said]


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


async def ask_channels(loaded: Loaded) -> list[tuple[str, bool, str]]:
    """Return the same of every channel whose platform can be asked, after logging in."""
    found = []
    for name, section in loaded.config.channels.items():
        api = connect_api(name, section, loaded)
        if api is None:
            continue
        try:
            found.append((f"channel {name}", True, await api.check()))
        except FlashdError as error:
            found.append((f"channel {name}", False, str(error)))
        finally:
            await api.close()
    return found
