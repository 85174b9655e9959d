"""What every endpoint of the native API begins with: whose token, whose stock, which body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from flashd.config import IntakeConfig
from flashd.errors import Forbidden, Unauthenticated
from flashd.ports import NativeChannel
from flashd.web.crowd import Crowd
from flashd.web.doors import ChannelDoor, Doors, PoolDoor
from flashd.web.limits import Budget, Share, read_body, refuse_encoded
from flashd.web.problem import Malformed


class Native:
    """The native API's front desk."""

    def __init__(self, doors: Doors, config: IntakeConfig, budget: Budget) -> None:
        self.doors = doors
        self.config = config
        self.budget = budget

    def seat(self, headers: Mapping[str, str]) -> tuple[ChannelDoor, PoolDoor]:
        """
        Return the channel that the token belongs to, and the pool it sells from.

        Raises:
            Unauthenticated: No token, an unknown one, or its channel is not configured any more.
        """
        caller = self.doors.channel_tokens.caller(headers)
        channel = self.doors.channels.get(caller.subject)
        if channel is None:
            raise Unauthenticated("the channel of this token is not configured")
        return channel, self.doors.pools[channel.pool]

    async def body(self, request: web.Request, share: Share) -> bytes:
        """Read a native body within its limits; it counts against the budget until the *share* ends."""
        refuse_encoded(request.headers)
        return await read_body(request, share, limit=self.config.body_bytes, timeout_s=self.config.body_timeout_s)

    def ordinary(self, crowd: Crowd) -> Handler:
        """Return a handler that reads the body within its limits before it joins *crowd*."""

        async def handle(request: web.Request) -> web.StreamResponse:
            channel, _ = self.seat(request.headers)
            adapter_of(channel)  # refused before the body is read
            with self.budget.share() as share:
                return (await crowd.ask("", request.headers, await self.body(request, share))).response()

        return handle


def adapter_of(door: ChannelDoor) -> NativeChannel:
    """
    Return the adapter that reads native bodies.

    Raises:
        Forbidden: The channel's kind speaks in webhooks only; it may still read stock and orders.
    """
    adapter: Any = door.intake.channel
    if getattr(adapter, "decode_order", None) is None:
        raise Forbidden(f"channel {door.name!r} is of kind {door.kind}: it cannot hold or order here")
    found: NativeChannel = adapter
    return found


def own_channel(door: ChannelDoor, named: str) -> None:
    """
    Let a body speak for its token's channel only.

    Raises:
        Forbidden: It names another one.
    """
    if named and named != door.name:
        raise Forbidden(f"this token belongs to channel {door.name!r}")


def checked_id(text: str, what: str) -> str:
    """
    Refuse an id that cannot be one, before it becomes a key.

    Raises:
        Malformed: It is empty, longer than 255 bytes, or holds a control character.
    """
    if not text or len(text.encode(errors="replace")) > 255 or any(ord(character) < 32 for character in text):
        raise Malformed(f"{what} must have 1 to 255 bytes and no control character")
    return text
