"""A daemon with every kind of channel on a server of its own, to be fuzzed, and what must hold of it afterwards."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from flashd.demo.simulated_erp import SimulatedErp
from tests.e2e.process import Flashd
from tests.servers import Server

SECRETS = {name: f"{name}-secret-of-the-fuzzing" for name in ("shop", "woo", "till", "read", "operate", "admin")}
PARTNER = base64.b64encode(b"partner-secret-of-the-fuzzing-000").decode()
GROWN_BYTES = 160 * 2**20  # more than the caches of a young process; a leak of one body a request is far above it
CONFIG = """
[store]
url = "STORE"
state_dir = "STATE"
[intake]
listen = "127.0.0.1:{intake}"
[admin]
listen = "127.0.0.1:{admin}"
[[admin.tokens]]
name = "read"
secret = { file = "read.secret" }
scopes = ["read"]
[[admin.tokens]]
name = "operate"
secret = { file = "operate.secret" }
scopes = ["operate"]
[[admin.tokens]]
name = "admin"
secret = { file = "admin.secret" }
scopes = ["admin"]
[channels.shop]
kind = "shopify"
secrets = [{ file = "shop.secret" }]
[channels.woo]
kind = "woocommerce"
secrets = [{ file = "woo.secret" }]
[channels.partner]
kind = "standard_webhooks"
secrets = [{ file = "partner.secret" }]
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.secret" } }]
[backends.erp]
kind = "http"
url = "ERP"
lookup_url = "ERP?key={key}"
rate = "200/s"
settle_s = 0.5
[[routes]]
backend = "erp"
"""


@dataclass
class Fuzzed:
    """The daemon, and what it answered."""

    flashd: Flashd
    answers: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)  # what must not be: 5xx, and connections that died

    @property
    def resident(self) -> int:
        """Bytes of memory that the process holds."""
        assert self.flashd.process is not None
        return int(psutil.Process(self.flashd.process.pid).memory_info().rss)

    def told(self, where: str, status: int, what: bytes = b"") -> None:
        """Note an answer; the store is never away here, so that no 5xx is in order."""
        self.answers[f"{where} {status}"] += 1
        if status >= 500:
            self.broken.append(f"{where}: {status} {what[:300]!r}")

    def judge(self, before: int) -> None:
        """Assert that nothing broke: no 5xx, no crash, memory within bounds, books that add up."""
        assert self.broken == [], self.broken[:5]
        process = self.flashd.process
        assert process is not None
        assert process.poll() is None, self.flashd.log.read_text()[-3000:]
        assert self.flashd.call("GET", "/readyz", port=self.flashd.admin)[0] == 200
        grown = self.resident - before
        print(f"memory grew by {grown / 2**20:.0f} MB to {self.resident / 2**20:.0f} MB")
        assert grown < GROWN_BYTES
        log = self.flashd.log.read_text()
        for word in ("request.failed", "actor.crashed", "Traceback", "invariant"):
            assert word not in log, log[max(0, log.index(word) - 300) : log.index(word) + 1500]
        audit = self.flashd.run("audit", "--json")
        assert audit.returncode == 0, audit.stdout[:2000] + audit.stderr[:500]


@contextmanager
def fuzzed(folder: Path) -> Iterator[Fuzzed]:
    """Run the daemon, an ERP and a server of their own in *folder*."""
    for name, secret in {**SECRETS, "partner": f"whsec_{PARTNER}"}.items():
        (folder / f"{name}.secret").write_text(secret)
        (folder / f"{name}.secret").chmod(0o600)
    server = Server("valkey").start()
    erp = SimulatedErp(folder, limit=5000).start()
    text = CONFIG.replace("STORE", server.url).replace("STATE", str(folder / "state")).replace("ERP", erp.url)
    daemon = Flashd(folder, text)
    try:
        yield Fuzzed(daemon.start())
    finally:
        daemon.close()
        erp.close()
        server.close()


def signed(channel: str, body: bytes) -> dict[str, str]:
    """Sign as each platform says it does, with nothing of flashd's."""
    if channel == "partner":
        now = str(int(time.time()))
        key = base64.b64decode(PARTNER)
        mark = base64.b64encode(hmac.digest(key, f"msg_{now}.{now}.".encode() + body, hashlib.sha256)).decode()
        return {"webhook-id": f"msg_{now}", "webhook-timestamp": now, "webhook-signature": f"v1,{mark}"}
    header = {"shop": "X-Shopify-Hmac-Sha256", "woo": "X-WC-Webhook-Signature"}[channel]
    return {header: base64.b64encode(hmac.digest(SECRETS[channel].encode(), body, hashlib.sha256)).decode()}


def bearer(name: str) -> dict[str, str]:
    """Return the header of a token; none for ''."""
    return {"Authorization": f"Bearer {SECRETS[name]}"} if name else {}
