"""
A real Tryton for the tests: installed into .cache, filled once, copied for each use, read straight from its database.

What it holds is read by SQL, so that the oracle shares no code with the adapter.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.e2e.process import free_port
from tests.erp.postgres import Postgres

ROOT = Path(__file__).parents[2]
FILL = Path(__file__).with_name("fill.py")
DATABASE = "erp"
USER, PASSWORD = "admin", "flashd-admin-1"
EMPTY = "erp_template"  # on PostgreSQL: the same, never touched
PINS = (
    "trytond==8.2.1",
    "proteus==8.2.0",
    "trytond-sale==8.2.0",
    "trytond-web-shop==8.2.0",
    "trytond-stock-package-shipping==8.2.0",
    "psycopg[binary,pool]==3.3.9",
    "gunicorn==27.0.1",
    "bcrypt==5.0.0",
)
MODULES = ("sale", "web_shop", "stock_package_shipping")
_HELD = """
SELECT s.id, s.web_id, s.state, s.reference, p.code, l.quantity, l.unit_price, l.description
FROM sale_sale s LEFT JOIN sale_line l ON l.sale = s.id LEFT JOIN product_product p ON p.id = l.product
ORDER BY s.id, l.id
"""


class UnavailableError(Exception):
    """Tryton cannot be had on this machine; the text says why."""


@dataclass
class HeldOrder:
    """One sale as the database holds it."""

    id: int
    web_id: str
    state: str
    reference: str
    lines: list[tuple[str, float, Decimal]] = field(
        default_factory=list
    )  # (code, or what a line says; quantity; price)

    @property
    def total(self) -> Decimal:
        return sum((Decimal(str(quantity)) * price for _, quantity, price in self.lines), Decimal(0))


def cache() -> Path:
    """Return the folder of this very set of versions and this filling."""
    seal = hashlib.sha256("\n".join((*PINS, sys.version, FILL.read_text(encoding="utf-8"))).encode())
    return ROOT / ".cache" / f"tryton-{seal.hexdigest()[:12]}"


@contextmanager
def locked(made: Path) -> Iterator[None]:
    """Let one process at a time make *made*."""
    made.parent.mkdir(parents=True, exist_ok=True)
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(what: str, began: float) -> None:
    print(f"[tryton] {what}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)


def _run(*command: str | Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (env or {}), check=False)
    if done.returncode != 0:
        raise UnavailableError(f"{' '.join(map(str, command))[:120]}: {(done.stderr or done.stdout).strip()[-600:]}")


def install() -> Path:
    """Return the Python that has Tryton, installed at the first call on this machine."""
    folder = cache()
    python = folder / "venv" / "bin" / "python"
    with locked(folder):
        if (folder / "installed").exists():
            return python
        began = time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _run(sys.executable, "-m", "venv", folder / "venv")
        _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINS)
        (folder / "installed").touch()
        _say("installed from PyPI", began)
    return python


def _fill(python: Path, folder: Path, uri: str, ids: Path) -> None:
    settings, passwords = folder / "trytond.conf", folder / "pass"
    settings.write_text(f"[database]\nuri = {uri}\npath = {folder}\n", encoding="utf-8")
    passwords.write_text(PASSWORD, encoding="utf-8")
    bin_ = python.parent
    _run(
        *(bin_ / "trytond-admin", "-c", settings, "-d", DATABASE, "--email", "admin@example.com"),
        *("-u", *MODULES, "--activate-dependencies"),
        env={"TRYTONPASSFILE": str(passwords)},
    )
    # The kind of database is chosen when Tryton is first imported, before the script can name its settings.
    _run(python, FILL, settings, DATABASE, ids, env={"TRYTOND_CONFIG": str(settings), "TRYTOND_DATABASE_URI": uri})


def sqlite_template(python: Path) -> Path:
    """Return the filled SQLite file, filled at the first call on this machine; the ids stand beside it."""
    folder = cache()
    template = folder / "template.sqlite"
    with locked(template):
        if not template.exists():
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="fd-tryton-") as name:
                work = Path(name)
                (work / f"{DATABASE}.sqlite").touch()
                _fill(python, work, "sqlite://", folder / "sqlite.json")
                shutil.copy(work / f"{DATABASE}.sqlite", template.with_suffix(".new"))
            template.with_suffix(".new").rename(template)
            _say("filled on SQLite", began)
    return template


def postgres_template(python: Path) -> Path:
    """Return a tar of a filled and stopped PostgreSQL cluster, made at the first call on this machine."""
    folder = cache()
    template = folder / "template-pg.tar"
    with locked(template):
        if not template.exists():
            began = time.monotonic()
            postgres = Postgres.make()
            try:
                postgres.start()
                postgres.createdb(DATABASE)
                with tempfile.TemporaryDirectory(prefix="fd-tryton-") as work:
                    _fill(python, Path(work), postgres.uri, folder / "pg.json")
                postgres.createdb(EMPTY, template=DATABASE)
                postgres.stop()
                with tarfile.open(template.with_suffix(".new"), "w") as tar:
                    tar.add(postgres.data, arcname="data")
                template.with_suffix(".new").rename(template)
            finally:
                postgres.close()
            _say("filled on PostgreSQL", began)
    return template


class Tryton:
    """
    One Tryton with a database of its own; `kill` is SIGKILL, `start` again keeps the data.

    Args:
        kind: Of its database: sqlite or postgresql.
        workers: Processes of gunicorn.
        threads: Of each. 0: a worker takes one connection at a time, so that two requests never meet in one of two.
    """

    def __init__(self, kind: str = "sqlite", *, workers: int = 2, threads: int = 2) -> None:
        self.kind = kind
        self.workers, self.threads = workers, threads
        self.python = install()
        self.folder = Path(tempfile.mkdtemp(prefix="fd-erp-"))
        self.postgres: Postgres | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        uri = self._fresh()
        ids = cache() / ("sqlite.json" if kind == "sqlite" else "pg.json")
        self.ids: dict[str, Any] = json.loads(ids.read_text(encoding="utf-8"))
        self.key_file = self.folder / "key"
        self.key_file.touch(mode=0o600)
        self.key_file.write_text(self.key, encoding="utf-8")
        self.settings = self.folder / "trytond.conf"
        self.settings.write_text(f"[database]\nuri = {uri}\npath = {self.folder}\n", encoding="utf-8")

    def _fresh(self) -> str:
        if self.kind == "sqlite":
            shutil.copy(sqlite_template(self.python), self.folder / f"{DATABASE}.sqlite")
            return "sqlite://"
        template = postgres_template(self.python)
        self.postgres = Postgres.make(template)
        self.postgres.start()
        return self.postgres.uri

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return str(self.ids["key"])

    def config(self, **more: Any) -> dict[str, Any]:
        """Return the members of a `[backends.NAME]` table that feeds this Tryton."""
        return {
            "kind": "tryton",
            "url": self.url,
            "database": DATABASE,
            "secret": {"file": str(self.key_file)},
            "shop": self.ids["shop"],
            "party": self.ids["party"],
            "rate": "50/s",
            "settle_s": 2.0,
            **more,
        }

    def start(self) -> Tryton:
        assert self.process is None, "it runs already"
        class_ = ["gthread", "--threads", str(self.threads)] if self.threads else ["sync", "--timeout", "900"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(self.python, "-m", "gunicorn", "-b", f"127.0.0.1:{self.port}"),
                    *("-w", str(self.workers), "--graceful-timeout", "2", "-k", *class_),
                    "trytond.application:app",
                ],
                env=os.environ | {"TRYTOND_DATABASE_NAMES": DATABASE, "TRYTOND_CONFIG": str(self.settings)},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that a kill reaches the workers too
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if self._answers():
                return self
            time.sleep(0.1)
        self.kill()
        raise RuntimeError(f"Tryton did not start: {(self.folder / 'log').read_text(encoding='utf-8')[-2000:]}")

    def _answers(self) -> bool:
        request = urllib.request.Request(  # noqa: S310  # our own address
            f"{self.url}/{DATABASE}/rest/model/web.shop", headers={"Authorization": f"bearer {self.key}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # our own address
                return bool(json.loads(answer.read()))
        except (urllib.error.URLError, OSError, ValueError):
            return False

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it stand still: connections are taken and requests arrive, and nothing is answered until the end."""
        assert self.process is not None, "it does not run"
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it politely."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            (process.terminate if how is signal.SIGTERM else lambda: os.killpg(process.pid, how))()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def empty(self) -> None:
        """Go back to the filled database without sales; it runs again afterwards."""
        self.kill()
        if self.postgres is None:
            for leftover in self.folder.glob(f"{DATABASE}.sqlite*"):
                leftover.unlink()
            self._fresh()
        else:
            self.postgres.dropdb(DATABASE)
            self.postgres.createdb(DATABASE, template=EMPTY)
        self.start()

    def orders(self, web_ids: Iterable[str] | None = None) -> list[HeldOrder]:
        """Return the sales that the database holds, all or those with one of these web ids."""
        wanted = None if web_ids is None else set(web_ids)
        held: dict[int, HeldOrder] = {}
        for number, web_id, state, reference, code, quantity, price, words in self._rows(_HELD):
            order = held.setdefault(number, HeldOrder(number, web_id or "", state, reference or ""))
            if quantity is not None:
                exact = price.decode() if isinstance(price, bytes) else str(price)  # SQLite has no decimals
                order.lines.append((code or words or "", float(quantity), Decimal(exact)))
        return [order for order in held.values() if wanted is None or order.web_id in wanted]

    def _rows(self, query: str) -> list[list[Any]]:
        if self.postgres is not None:
            return self.postgres.rows(DATABASE, query)
        connection = sqlite3.connect(f"file:{self.folder / DATABASE}.sqlite?mode=ro", uri=True, timeout=30)
        try:
            return [list(row) for row in connection.execute(query)]
        finally:
            connection.close()

    def close(self) -> None:
        self.kill()
        if self.postgres is not None:
            self.postgres.close()
        shutil.rmtree(self.folder, ignore_errors=True)
