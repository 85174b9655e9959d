"""
Fixtures with a real Tryton in them: `pytest_plugins = ("tests.erp.fixtures",)` or an import.

They skip, and say why, where PyPI cannot be reached or PostgreSQL is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.erp import postgres
from tests.erp.tryton import Tryton, UnavailableError


@pytest.fixture(scope="session")
def trytons() -> Iterator[dict[str, Tryton]]:
    """The Trytons that this session started, by kind of database."""
    running: dict[str, Tryton] = {}
    yield running
    for tryton in running.values():
        tryton.close()


def running_tryton(trytons: dict[str, Tryton], kind: str) -> Tryton:
    """Return the session's Tryton of that kind, running; skip the test where it cannot be had."""
    if kind == "postgresql" and postgres.missing():
        pytest.skip(postgres.missing())
    if kind not in trytons:
        try:
            trytons[kind] = Tryton(kind)
        except UnavailableError as reason:
            pytest.skip(f"Tryton cannot be installed: {reason}")
    if trytons[kind].process is None:
        trytons[kind].start()
    return trytons[kind]


@pytest.fixture
def tryton(trytons: dict[str, Tryton]) -> Tryton:
    """A Tryton on SQLite, shared by the session: use ids of your own, or `empty` it first."""
    return running_tryton(trytons, "sqlite")


@pytest.fixture
def tryton_pg(trytons: dict[str, Tryton]) -> Tryton:
    """A Tryton on PostgreSQL, shared by the session: use ids of your own, or `empty` it first."""
    return running_tryton(trytons, "postgresql")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def any_tryton(request: pytest.FixtureRequest, trytons: dict[str, Tryton]) -> Tryton:
    """Both, one after the other."""
    return running_tryton(trytons, request.param)
