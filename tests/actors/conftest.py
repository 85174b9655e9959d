"""Shops around a pool, opened by a test and closed behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.actors.shops import Make, World


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    worlds: list[World] = []

    def build(**stock: int) -> World:
        worlds.append(World(**stock))
        return worlds[-1]

    yield build
    for world in worlds:
        await world.stop()
