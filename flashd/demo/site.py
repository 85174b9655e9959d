"""The place where a demo happens: a folder with secrets, a flashd.toml, and the processes that run in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

from flashd.demo.child import Child
from flashd.demo.purchase import Shop
from flashd.demo.simulated_erp import SimulatedErp

PACE = Fraction(96, 100)  # of the ERP's limit: what leaves evenly may still arrive a little less evenly

_CONFIG = """\
# Written by `flashd demo`.
[store]
url = "embedded"
state_dir = "{folder}/state"

[logs]
level = "debug"  # each request to the ERP is logged as it leaves: the oracle counts them

[intake]
listen = "127.0.0.1:{intake}"

[admin]
listen = "127.0.0.1:{admin}"
tokens = [{{ name = "demo", secret = {{ file = "admin.token" }}, scopes = ["admin"] }}]

[channels.shop]
kind = "shopify"
secrets = [{{ file = "shop.secret" }}]
since = {since}

[channels.woo]
kind = "woocommerce"
secrets = [{{ file = "woo.secret" }}]
since = {since}

[channels.store]
kind = "standard_webhooks"
secrets = [{{ file = "store.secret" }}]
since = {since}

[channels.till]
kind = "native"
tokens = [{{ name = "till", secret = {{ file = "till.secret" }} }}]

[backends.erp]
kind = "http"
url = "{erp}"
lookup_url = "{erp}?key={{key}}"
cancel_url = "{erp}/{{id}}/cancel"
idempotent = false          # this ERP books the same key twice if it gets it twice: only the look-up helps
rate = "{rate}"
max_in_flight = 8
timeout_s = 1.0
settle_s = 0.5
slow_start_s = 0.5

[[routes]]
backend = "erp"
"""


def paced(limit: int) -> str:
    """Return the rate that keeps a little below *limit* requests a second, as flashd.toml writes it."""
    rate = PACE * limit
    return f"{rate.numerator}/{'' if rate.denominator == 1 else rate.denominator}s"


class Site:
    """One demo's folder and processes."""

    def __init__(self, folder: Path, erp: SimulatedErp, *, limit: int) -> None:
        """
        Prepare the folder; nothing runs before :meth:`start_daemon`.

        Args:
            folder: Empty, and ours.
            erp: It must run already, since its address goes into the configuration.
            limit: What the ERP takes in a second.
        """
        self.folder = folder
        self.erp = erp
        self.secrets = {shop: secrets.token_urlsafe(24) for shop in Shop}
        self.secrets[Shop.STANDARD] = "whsec_" + b64encode(secrets.token_bytes(24)).decode()
        self.admin_token = secrets.token_urlsafe(24)
        self.intake_port, self.admin_port = _free_ports()
        self.config = folder / "flashd.toml"
        self._write(limit)
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("FLASHD_")}
        arguments = ["-m", "flashd", "run", "-c", str(self.config)]
        self.daemon = Child("flashd", arguments, log=folder / "flashd.log", env=self.environ)

    @property
    def intake(self) -> str:
        """The address of the daemon's intake listener."""
        return f"http://127.0.0.1:{self.intake_port}"

    @property
    def admin(self) -> str:
        """The address of the daemon's admin listener, and of its page."""
        return f"http://127.0.0.1:{self.admin_port}"

    def _write(self, limit: int) -> None:
        since = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = _CONFIG.format(
            folder=self.folder,
            intake=self.intake_port,
            admin=self.admin_port,
            since=since,
            erp=self.erp.url,
            rate=paced(limit),
        )
        _private(self.config, text)
        _private(self.folder / "admin.token", self.admin_token)
        for shop, secret in self.secrets.items():
            _private(self.folder / f"{shop}.secret", secret)

    def kill_store(self) -> bool:
        """SIGKILL the embedded server of this folder, by its own pid file; say whether there was one."""
        store = self.folder / "state" / "store"
        try:
            pid = int((store / "pid").read_text())
            if Path("/proc/self").exists() and Path(f"/proc/{pid}/cwd").resolve(strict=True) != store.resolve():
                return False  # the number belongs to somebody else by now
            os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        """End every process of this folder, orphans too; fine to call twice."""
        self.daemon.close()
        self.kill_store()
        with contextlib.suppress(ChildProcessError):
            self.erp.close()


def _private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
