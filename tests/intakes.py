"""One message to an intake, as a listener tells it when nothing else arrives in the same turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from flashd.domain.order import Accepted, Incoming
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.ports import Intake, Receipt, Soon


def webhook(intake: Intake, headers: Mapping[str, str], body: bytes) -> Soon[Accepted] | Soon[Receipt]:
    """Let one webhook be proven, read and kept; return what became of the order, or the answer to what is none."""
    if not intake.prove(headers, body):
        pong: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        pong.set_result(Receipt(state="pong"))
        return Soon(pong, asyncio.Future.result)
    found = intake.read(headers, body)
    return found if isinstance(found, Soon) else admit(intake, found)


def admit(intake: Intake, incoming: Incoming) -> Soon[Accepted]:
    """Let one order be kept."""
    return intake.admit([incoming]).then(lambda soon: soon.result()[0])


def hold(intake: Intake, request: HoldRequest) -> Soon[HoldReply]:
    """Let stock be set aside for one request."""
    return intake.hold([request]).then(lambda soon: soon.result()[0])
