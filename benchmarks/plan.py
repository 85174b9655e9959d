"""What flashd is set up with for a measurement, and its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

CLOSED = "http://127.0.0.1:9/orders"  # nobody listens there; what is routed there is paused


class Outlet(msgspec.Struct, frozen=True, kw_only=True):
    """A till of its own whose orders go to a backend of its own."""

    name: str
    url: str
    rate: str
    max_in_flight: int


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """
    What stands in the configuration.

    Args:
        channels: Shopify shops, shop-000 and on; a native channel, till, is there always.
        backends: Where their orders go, by the last two digits of the SKU; all are paused.
        processes: Daemons on the one store.
        level: Of the logs; "debug" tells of each request that leaves.
    """

    channels: int = 1
    backends: int = 1
    processes: int = 1
    outlets: tuple[Outlet, ...] = ()
    level: str = "warning"

    @property
    def shops(self) -> list[str]:
        return [f"shop-{number:03}" for number in range(self.channels)]

    @property
    def sinks(self) -> list[str]:
        return [f"sink-{number:02}" for number in range(self.backends)]

    @property
    def targets(self) -> tuple[str, ...]:
        """The paths of the shops' webhooks."""
        return tuple(f"/webhooks/{shop}" for shop in self.shops)

    def text(self, *, store: str, intake: int, admin: int) -> str:
        """Return flashd.toml; the secret stands in the file `secret` beside it."""
        return "\n".join(self._parts(store, intake, admin))

    def _parts(self, store: str, intake: int, admin: int) -> Iterator[str]:
        yield f'[store]\nurl = "{store}"\n[intake]\nlisten = "127.0.0.1:{intake}"\n'
        yield f'[admin]\nlisten = "127.0.0.1:{admin}"\n[logs]\nlevel = "{self.level}"\n'
        for shop in self.shops:
            yield f'[channels.{shop}]\nkind = "shopify"\nsecrets = [{{ file = "secret" }}]\n'
        for till in ("till", *(f"till-{outlet.name}" for outlet in self.outlets)):
            token = f'{{ name = "{till}", secret = {{ file = "{till}" }} }}'
            yield f'[channels.{till}]\nkind = "native"\ntokens = [{token}]\n'
        for sink in self.sinks:
            yield f'[backends.{sink}]\nkind = "http"\nurl = "{CLOSED}"\n'
        for outlet in self.outlets:
            yield f'[backends.{outlet.name}]\nkind = "http"\nurl = "{outlet.url}"'
            yield f'lookup_url = "{outlet.url}?key={{key}}"\nrate = "{outlet.rate}"'
            yield f"max_in_flight = {outlet.max_in_flight}\ntimeout_s = 5.0\nslow_start_s = 0.5\n"
        for outlet in self.outlets:
            yield f'[[routes]]\nchannel = "till-{outlet.name}"\nbackend = "{outlet.name}"\n'
        for number, sink in enumerate(self.sinks[1:], 1):
            yield f'[[routes]]\nsku = "*{number:02}"\nbackend = "{sink}"\n'
        yield f'[[routes]]\nbackend = "{self.sinks[0]}"\n'


def private(path: Path, text: str) -> None:
    """Write a file that nobody else can read."""
    path.touch(mode=0o600)
    path.write_text(text)
