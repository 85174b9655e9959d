"""
The real Vendure shop of examples/vendure for tests: installed into .cache, filled once a run, copied for each use.

What it sold is read from its database by SQL.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.process import free_port
from tests.erp.postgres import Postgres
from tests.erp.tryton import ROOT, UnavailableError, locked

EXAMPLE = ROOT / "examples" / "vendure"
DATABASE = "shop"
SUPERADMIN = "superadmin-of-the-test"
TOKEN = "vendure-token-of-the-test"
SECRET = "whsec_dmVuZHVyZS1zZWNyZXQtb2YtdGhlLXRlc3Q="
_PLACED = """
SELECT o.code, o.state, l.quantity FROM "order" o JOIN order_line l ON l."orderId" = o.id
WHERE o."orderPlacedAt" IS NOT NULL ORDER BY o.id
"""


def missing() -> str:
    """Say what keeps the shop from being installed, or "" where nothing does."""
    absent = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed: Node.js 20 or later is needed" if absent else ""


def install(log: Path) -> Path:
    """Return a folder with the example built; its packages are downloaded at the first call on this machine."""
    lock = (EXAMPLE / "package-lock.json").read_bytes()
    folder = ROOT / ".cache" / f"vendure-{hashlib.sha256(lock).hexdigest()[:12]}"
    with locked(folder):
        folder.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json", "tsconfig.json"):
            shutil.copy(EXAMPLE / name, folder)
        if not (folder / "installed").exists():
            _run(("npm", "ci", "--no-audit", "--no-fund"), folder, log)
            (folder / "installed").touch()
        for name in ("src", "dist", "data"):
            shutil.rmtree(folder / name, ignore_errors=True)
        for name in ("src", "data"):
            shutil.copytree(EXAMPLE / name, folder / name)
        _run(("npm", "run", "build"), folder, log)
    return folder


def _run(command: tuple[str, ...], folder: Path, log: Path, environ: dict[str, str] | None = None) -> None:
    with log.open("ab") as out:
        done = subprocess.run(
            command, stdout=out, stderr=out, cwd=folder, env=os.environ | (environ or {}), check=False, timeout=900
        )
    if done.returncode != 0:
        raise UnavailableError(f"{' '.join(command)}: {log.read_text(errors='replace')[-1500:]}")


@dataclass(frozen=True)
class Placed:
    """One order as the shop's database holds it."""

    code: str
    state: str
    quantity: int


class Vendure:
    """One shop at a time with a fresh copy of the filled database; `close` removes everything."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fd-vendure-"))
        self.log = self.folder / "log"
        self.token_file, self.secret_file = self.folder / "token", self.folder / "secret"
        for path, text in ((self.token_file, TOKEN), (self.secret_file, SECRET)):
            path.touch(mode=0o600)
            path.write_text(text)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.built = install(self.log)
        self.postgres = Postgres.make()
        self.postgres.start()
        self._filled: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _environ(self, database: str, flashd: str) -> dict[str, str]:
        return {
            "PORT": str(self.port),
            "DATABASE_URL": self.postgres.uri + database,
            "SUPERADMIN_PASSWORD": SUPERADMIN,
            "FLASHD_URL": flashd,
            "FLASHD_TOKEN_FILE": str(self.token_file),
            "FLASHD_SECRET_FILE": str(self.secret_file),
        }

    def start(self, flashd: str = "") -> Vendure:
        """Start a freshly filled shop: with the plug-in where flashd's address is given, else a plain one."""
        assert self.process is None, "it runs already"
        if [DATABASE] in self.postgres.rows("postgres", "SELECT datname FROM pg_database"):
            self.postgres.dropdb(DATABASE)
        self.postgres.createdb(DATABASE, template=self._template(flashd))
        return self.go_on(flashd)

    def _template(self, flashd: str) -> str:
        """Return the filled database, filled at its first use: with the plug-in, the way to pay asks flashd, too."""
        name = "guarded" if flashd else "plain"
        if name not in self._filled:
            self.postgres.createdb(name)
            _run(("npm", "run", "fill"), self.built, self.log, self._environ(name, flashd))
            self._filled.add(name)
        return name

    def go_on(self, flashd: str = "") -> Vendure:
        """Start the shop with the database as it was left."""
        assert self.process is None, "it runs already"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                ["node", "dist/server.js"],
                stdout=out,
                stderr=out,
                cwd=self.built,
                env=os.environ | self._environ(DATABASE, flashd),
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                return self
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"Vendure did not start: {self.log.read_text(errors='replace')[-2000:]}")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def stop(self) -> None:
        """End it politely."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        self.kill()

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()

    def rows(self, query: str) -> list[list[Any]]:
        return self.postgres.rows(DATABASE, query)

    def placed(self) -> list[Placed]:
        """Return every order that a buyer has placed and paid for."""
        return [Placed(code, state, quantity) for code, state, quantity in self.rows(_PLACED)]

    def variant(self, sku: str) -> str:
        """Return the id of a product variant."""
        ((found,),) = self.rows(f"SELECT id FROM product_variant WHERE sku = '{sku}'")  # noqa: S608  # ours
        return str(found)

    def close(self) -> None:
        self.kill()
        self.postgres.close()
        shutil.rmtree(self.folder, ignore_errors=True)
