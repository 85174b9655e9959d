"""One leader per backend or channel: taking the lease, keeping it, and knowing when to stop."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

import structlog

from flashd.domain.lease import Term
from flashd.errors import StoreUnavailable
from flashd.ports import BackendGate, Clock
from flashd.runtime.deadline import bounded

RETRY_S = 0.5  # after the store did not answer
LEAVE_S = 1.0

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Election:
    """
    Where a process stands for election, and as whom.

    Args:
        gate: Holds the lease.
        owner: Who this is, for the operator's eye.
        lease_s: How long a term lasts.
    """

    gate: BackendGate
    owner: str
    lease_s: float = 6.0


class Leadership:
    """
    Stands for election until cancelled.

    Args:
        owner: Who this is, for the operator's eye; made unique, for two containers may both be "web:1".
        lease_s: How long a term lasts; it is renewed at a third, and `term` is None from half of it on.
        prepare: What must be done before the first claim of a new epoch.
        what: What is led, for the log: ``backend`` or ``channel``.
    """

    def __init__(
        self,
        gate: BackendGate,
        owner: str,
        *,
        clock: Clock,
        lease_s: Callable[[], float],
        prepare: Callable[[int], Awaitable[None]],
        what: str = "backend",
    ) -> None:
        self.epoch = 0
        self._gate = gate
        self._owner = f"{owner}:{secrets.token_hex(4)}"
        self._clock = clock
        self._lease_s = lease_s
        self._prepare = prepare
        self._what = what
        self._term: Term | None = None

    @property
    def term(self) -> Term | None:
        """The term in which requests may leave now, if there is one."""
        term = self._term
        return term if term is not None and term.may_send(self._clock.monotonic_s()) else None

    async def run(self) -> NoReturn:
        """Take or renew the lease at a third of its time, for ever."""
        self._term = None
        while True:
            asked_s = self._clock.monotonic_s()
            lease_s = self._lease_s()
            try:
                wait_s = lease_s / 3 if await self._stand(asked_s, lease_s) else min(1.0, lease_s / 3)
            except StoreUnavailable as error:  # the term, if any, ends by itself
                self._say(log.warning, "not_led", reason=str(error))
                wait_s = RETRY_S
            await self._clock.sleep(asked_s + wait_s - self._clock.monotonic_s())

    async def resign(self) -> None:
        """Let another lead at once."""
        if self._term is not None:
            self._term.end()
        await self._gate.resign(self._owner)

    async def leave(self) -> None:
        """Resign, if the store takes note of it within a second; else the lease ends by itself."""
        try:
            await bounded(self.resign(), LEAVE_S, clock=self._clock)
        except (StoreUnavailable, TimeoutError) as error:
            self._say(log.warning, "not_resigned", reason=str(error))

    async def _stand(self, asked_s: float, lease_s: float) -> bool:
        if self._term is not None and self._term.ended:  # fenced: only a new term has a higher epoch
            await self._gate.resign(self._owner)
            self._term = None
        epoch = await self._gate.lead(self._owner, round(lease_s * 1000))
        if self._term is not None and self._term.epoch == epoch:
            self._term.renew(asked_s, lease_s)
            return True
        if self._term is not None:
            self._term.end()
            self._say(log.warning, "lost_leadership", epoch=self._term.epoch)
        self._term = None
        if epoch is None:
            return False
        await self._prepare(epoch)
        self._term, self.epoch = Term(epoch, asked_s, lease_s), epoch
        self._say(log.info, "led", epoch=epoch)
        return True

    def _say(self, say: Callable[..., object], verb: str, **data: object) -> None:
        say(f"{self._what}.{verb}", **{self._what: self._gate.backend}, **data)
