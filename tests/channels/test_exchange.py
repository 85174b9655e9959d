"""A request that has to wait: what is not urgent waits, and a figure that grew old is not sent."""

from __future__ import annotations

import asyncio

from aiohttp import web
from yarl import URL

from flashd.channels.exchange import Answer, Link, Lost, Pace
from flashd.domain.rate import Rate
from tests.channels.test_woocommerce_api import Listening


async def test_a_figure_is_not_sent_long_after_it_was_computed() -> None:
    """Another process may lead by then, and have read and written."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.method)
        return web.Response(status=429, headers={"Retry-After": "600"})

    async with Listening(answer) as url:
        link = Link(headers={}, timeout_s=5, pace=Pace(Rate.parse("1000/s")))
        assert isinstance(await link.ask("POST", URL(url), b"{}", patience_s=30), Answer)
        found = await asyncio.wait_for(link.ask("POST", URL(url), b"{}", patience_s=0.2), 60)  # not ten minutes
        await link.close()
    assert isinstance(found, Lost)
    assert (found.sent, asked) == (False, ["POST"])
