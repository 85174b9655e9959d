from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import msgspec
import pytest

from flashd.config import BackendConfig, ChannelConfig, Loaded, PositiveInt, Secret, load


class ShopConfig(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    deliver_when: tuple[Literal["authorized", "pending"], ...] = ()


class TillConfig(ChannelConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    proven_by: ClassVar[tuple[str, ...]] = ("tokens",)


class ErpConfig(BackendConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    secret: Secret | None = None
    products: dict[str, PositiveInt] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.products.get("BOTH"):
            raise ValueError("products: BOTH is a word of its own here")


class ShelfConfig(BackendConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    url_schemes: ClassVar[tuple[str, ...]] = ()

    folder: str
    depth: PositiveInt = 1


GOOD = """\
[store]
url = "unix:///run/valkey/valkey.sock"

[channels.shop]
kind = "shopify"
secrets = [{ file = "shop.secret" }]
since = 2026-11-01T00:00:00Z

[backends.erp]
kind = "http"
url = "http://127.0.0.1:8000/erp"
rate = "120/min"

[[routes]]
backend = "erp"
"""

Load = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Write a text as flashd.toml, beside a secret, and load it with an environment."""
    secret = tmp_path / "shop.secret"
    secret.write_text("hush\n")
    secret.chmod(0o640)
    (tmp_path / "empty.secret").write_text("\n\n")
    (tmp_path / "binary.secret").write_bytes(b"\xff\xfe")

    def read(text: str = GOOD, broken: dict[str, str] | None = None, **environ: str) -> Loaded:
        path = tmp_path / "flashd.toml"
        path.write_text(text)
        return load(
            path,
            environ=environ,
            channel_kinds={"shopify": ShopConfig, "native": TillConfig},
            backend_kinds={"http": ErpConfig, "shelf": ShelfConfig},
            broken_kinds=broken,
        )

    return read
