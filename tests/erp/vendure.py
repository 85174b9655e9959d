"""
The real Vendure shop of examples/vendure for tests: installed into .cache, filled once a run, copied for each use.

What it sold is read from its database by SQL.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.process import Flashd, free_port
from tests.erp.postgres import Postgres
from tests.erp.tryton import ROOT, Tryton, UnavailableError, locked

EXAMPLE = ROOT / "examples" / "vendure"
DATABASE = "shop"
SUPERADMIN = "superadmin-of-the-test"
TOKEN = "vendure-token-of-the-test"
SECRET = "whsec_dmVuZHVyZS1zZWNyZXQtb2YtdGhlLXRlc3Q="
_PLACED = """
SELECT o.code, o.state, l.quantity FROM "order" o JOIN order_line l ON l."orderId" = o.id
WHERE o."orderPlacedAt" IS NOT NULL ORDER BY o.id
"""
_LOGIN = """mutation ($password: String!) { login(username: "superadmin", password: $password) {
  ... on CurrentUser { id } ... on ErrorResult { message } } }"""
_ROLE = """mutation { createRole(input: { code: "flashd", description: "flashd",
  permissions: [ReadCatalog, UpdateCatalog, ReadOrder, ReadSettings, ReadSystem, ReadStockLocation] }) { id } }"""
_KEY = """mutation ($role: ID!) { createApiKey(input: { roleIds: [$role],
  translations: [{ languageCode: en, name: "flashd" }] }) { apiKey } }"""


_CANCEL = """mutation ($input: CancelOrderInput!) { cancelOrder(input: $input) {
  __typename ... on ErrorResult { errorCode message } } }"""
_DEFAULTS = {"poll_s": "60"}
_NO_ERP = """[backends.erp]
kind = "http"
url = "http://127.0.0.1:9"

[[routes]]
backend = "erp"
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


def install_adapter() -> Path:
    """Return a folder for PYTHONPATH with the example's own flashd plug-in, installed as a stranger would."""
    source = EXAMPLE / "flashd_vendure"
    digest = hashlib.sha256()
    for path in [*sorted(source.rglob("*.py")), source / "pyproject.toml"]:
        digest.update(path.read_bytes())
    folder = ROOT / ".cache" / f"flashd-vendure-{digest.hexdigest()[:12]}"
    with locked(folder):
        if not (folder / "installed").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with tempfile.TemporaryDirectory(prefix="fd-vendure-") as copy:  # building leaves its traces
                shutil.copytree(source, Path(copy) / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
                pip = (sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps")
                _run((*pip, "--target", str(folder), str(Path(copy) / "source")), folder, folder / "log")
            (folder / "installed").touch()
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
        self.token_file, self.secret_file, self.key_file = (self.folder / name for name in ("token", "secret", "key"))
        for path, text in ((self.token_file, TOKEN), (self.secret_file, SECRET), (self.key_file, "")):
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
        self.go_on(flashd)
        self.key_file.write_text(self._make_key())
        return self

    def _template(self, flashd: str) -> str:
        """Return the filled database, filled at its first use: with the plug-in, the way to pay asks flashd, too."""
        name = "guarded" if flashd else "plain"
        if name not in self._filled:
            self.postgres.createdb(name)
            _run(("npm", "run", "fill"), self.built, self.log, self._environ(name, flashd))
            self._filled.add(name)
        return name

    def go_on(self, flashd: str = "", **environ: str) -> Vendure:
        """Start the shop with the database as it was left."""
        assert self.process is None, "it runs already"
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                ["node", "dist/server.js"],
                stdout=out,
                stderr=out,
                cwd=self.built,
                env=os.environ | self._environ(DATABASE, flashd) | environ,
            )
        deadline = time.monotonic() + 240  # seconds on a machine that is idle
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

    def ask(self, query: str, token: str = "", api: str = "admin-api", **variables: Any) -> tuple[dict[str, Any], str]:
        """Send one GraphQL request; return its data and the session's token."""
        body = json.dumps({"query": query, "variables": variables})
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", f"/{api}", body=body, headers=headers)
            answer = connection.getresponse()
            said = json.loads(answer.read())
        assert not said.get("errors"), said["errors"][0]["message"]
        return said["data"], answer.getheader("vendure-auth-token") or token

    def admin(self) -> str:
        """Log in as the superadmin; return the session's token."""
        said, token = self.ask(_LOGIN, password=SUPERADMIN)
        assert "id" in said["login"], said
        return token

    def _make_key(self) -> str:
        """Return an API key that may do what flashd_vendure needs, and no more."""
        token = self.admin()
        role = self.ask(_ROLE, token)[0]["createRole"]["id"]
        return str(self.ask(_KEY, token, role=role)[0]["createApiKey"]["apiKey"])

    def cancel(self, code: str, units: int = 0) -> None:
        """Cancel an order as a human in the back office does: so many units of its only line, or all of it."""
        token = self.admin()
        ((order, line),) = self.rows(  # the code is ours
            'SELECT o.id, l.id AS line FROM "order" o JOIN order_line l ON l."orderId" = o.id '  # noqa: S608  # as above
            f"WHERE o.code = '{code}'"
        )
        lines = [{"orderLineId": str(line), "quantity": units}] if units else None
        said, _ = self.ask(_CANCEL, token, input={"orderId": str(order), "lines": lines})
        assert said["cancelOrder"]["__typename"] == "Order", said

    def forget_keys(self) -> None:
        """Take every API key away."""
        token = self.admin()
        ids = [str(found) for (found,) in self.rows("SELECT id FROM api_key")]
        self.ask("mutation ($ids: [ID!]!) { deleteApiKeys(ids: $ids) { result } }", token, ids=ids)

    def rows(self, query: str) -> list[list[Any]]:
        return self.postgres.rows(DATABASE, query)

    def age_carts(self) -> None:
        """Let all orders be as if they had last been changed two hours ago."""
        self.postgres.execute(DATABASE, 'UPDATE "order" SET "updatedAt" = "updatedAt" - interval \'2 hours\'')

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


def beside(shop: Vendure, folder: Path, erp: Tryton | None = None, **more: str) -> Flashd:
    """
    Return a daemon with the example's own flashd.toml; only places and ids are this machine's.

    Start the shop with its address first: the daemon wants the shop's API key.

    Args:
        erp: Where orders go; nowhere by default.
        more: Other lines of the file that are changed, such as ``poll_s="2"``.
    """
    text = (EXAMPLE / "flashd.toml").read_text()
    changes = {
        '"127.0.0.1:8787"': '"127.0.0.1:{intake}"',
        '"127.0.0.1:8788"': '"127.0.0.1:{admin}"',
        '"vendure.token"': f'"{shop.token_file}"',
        '"vendure.secret"': f'"{shop.secret_file}"',
        '"vendure.key"': f'"{shop.key_file}"',
        '"http://127.0.0.1:3000/admin-api"': f'"{shop.url}/admin-api"',
    }
    if erp is None:
        text = text.partition("[backends.erp]")[0] + _NO_ERP
    else:
        changes |= {
            '"http://127.0.0.1:8000"': f'"{erp.url}"',
            '"tryton.key"': f'"{erp.key_file}"',
            "shop = 1": f"shop = {erp.ids['shop']}",
            "party = 2": f"party = {erp.ids['party']}",
        }
    changes |= {f"{name} = {_DEFAULTS[name]}": f"{name} = {value}" for name, value in more.items()}
    for old, new in changes.items():
        assert text.count(old) == 1, f"flashd.toml of the example has {old} {text.count(old)} times"
        text = text.replace(old, new)
    found = os.pathsep.join(filter(None, (str(install_adapter()), os.environ.get("PYTHONPATH"))))
    return Flashd(folder, text, environ={"PYTHONPATH": found})
