"""A private PostgreSQL on a free loopback port, in a directory of its own, never run by root."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.e2e.process import free_port

ROLE = "flashd"
_PROGRAMS = ("initdb", "pg_ctl", "createdb", "dropdb", "psql")


def find_bin() -> Path | None:
    """Return the newest folder with all programs that are used, or None where PostgreSQL is not installed."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which("initdb")
    folders = [*debian, *([Path(found).resolve().parent] if found else [])]
    return next((folder for folder in folders if all((folder / name).exists() for name in _PROGRAMS)), None)


def missing() -> str:
    """Say what keeps PostgreSQL from being used, or "" where nothing does."""
    if find_bin() is None:
        return "PostgreSQL is not installed: apt-get install postgresql"
    return "" if _runner() is not None else "PostgreSQL refuses to run as root, and there is no user postgres or nobody"


def _runner() -> str | None:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


@dataclass
class Postgres:
    """One cluster; `stop` keeps the data, `close` removes it."""

    bin: Path
    user: str
    folder: Path
    port: int

    @classmethod
    def make(cls, template: Path | None = None) -> Postgres:
        """Make a cluster: empty, or a copy of the one in the tar *template*."""
        folder_of_bin, user = find_bin(), _runner()
        assert folder_of_bin is not None, missing()
        assert user is not None, missing()
        folder = Path(tempfile.mkdtemp(prefix="fd-pg-"))
        postgres = cls(folder_of_bin, user, folder, free_port())
        if template is not None:
            with tarfile.open(template) as tar:
                tar.extraction_filter = getattr(tarfile, "tar_filter", None)  # Debian 12's Python 3.11.2 has none
                tar.extractall(folder)  # noqa: S202  # we packed it
        postgres._own()
        if template is None:
            postgres._run("initdb", "-A", "trust", "-U", ROLE, "-E", "UTF8", "--no-sync", "-D", str(postgres.data))
        return postgres

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def uri(self) -> str:
        return f"postgresql://{ROLE}@127.0.0.1:{self.port}/"

    def start(self) -> None:
        # Tests need no durability of this database, only its constraints: -F saves the fsyncs.
        options = f"-F -p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self.data), "-l", log, "-o", options)

    def stop(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(self.data))

    def createdb(self, name: str, *, template: str = "template1") -> None:
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE, "-T", template, name)

    def dropdb(self, name: str) -> None:
        self._run("dropdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE, "--force", name)

    def rows(self, database: str, query: str) -> list[list[Any]]:
        """Return what *query* selects, each row a list."""
        said = self.execute(database, f"SELECT json_agg(q) FROM ({query}) q")  # noqa: S608  # ours
        found = json.loads(said, parse_float=Decimal) if said.strip() else []
        return [list(row.values()) for row in found]

    def execute(self, database: str, statement: str) -> str:
        """Run *statement*; return what it says."""
        return self._run(
            *("psql", "-X", "-q", "-A", "-t", "-h", "127.0.0.1", "-p", str(self.port), "-U", ROLE, "-d", database),
            *("-c", statement),
        )

    def close(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _own(self) -> None:
        if os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        if self.data.exists():
            self.data.chmod(0o700)

    def _run(self, program: str, *arguments: str) -> str:
        # pg_ctl's server keeps inherited pipes open, so what is said goes to a file.
        with tempfile.TemporaryFile("w+") as said:
            user = self.user if os.geteuid() == 0 else None
            command = [str(self.bin / program), *arguments]
            done = subprocess.run(command, stdout=said, stderr=said, cwd="/", check=False, user=user)
            said.seek(0)
            text = said.read()
        assert done.returncode == 0, f"{program}: {text[-2000:]}"
        return text
