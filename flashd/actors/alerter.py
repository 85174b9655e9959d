"""
Telling a person: one process of all makes alerts of the journals and of what it sees, and sends them until taken.

Everything that stands is in the store before it is told, so a restart tells nothing twice and forgets nothing. Only
that the store itself keeps nothing durably is told without it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec
import structlog

from flashd.actors.leadership import Election, Leadership
from flashd.actors.lookout import Lookout, PoolSources
from flashd.actors.standing_alerts import Fenced, StandingAlerts, committed
from flashd.actors.teller import Teller
from flashd.domain.alarm import HEARD, Signal, heard, trial
from flashd.domain.alert import (
    Quota,
    Receiver,
    Standing,
    end_alert,
    next_message,
    raise_alert,
    told,
    view_of,
)
from flashd.domain.condition import not_durable
from flashd.domain.event import Event, Gap, rfc3339
from flashd.errors import InvariantBroken, StoreUnavailable
from flashd.ports import Clock, Sent, StoreHealth
from flashd.runtime.actor import Actor
from flashd.runtime.ticker import tick

FOLLOW_S = 1.0
LOOK_S = 10.0
TELL_S = 0.5
KEEP_CURSOR_S = 5.0  # a cursor that moved past nothing of interest is kept so often
PAGE = 1000
PAGES_AT_ONCE = 10  # of one pool, before the next has its turn
FAULT_PAUSE_S = 10.0
PATIENCE_S = 3.0  # whoever led last tells that the store is away after so long,
OTHERS_PATIENCE_S = 60.0  # and everybody else after so long: the leader may be gone with it

log = structlog.get_logger()


class AlertRules(msgspec.Struct, frozen=True, kw_only=True):
    """How often a person may be told; a reload may replace it."""

    repeat_s: float = 900.0
    per_hour: int = 60

    @property
    def repeat_ms(self) -> int:
        """The shortest time between two tellings of one trouble."""
        return round(self.repeat_s * 1000)


class Alerter(Actor[None]):
    """
    Stands for election as the one that tells.

    Args:
        pools: All pools; the first is home: its journal speaks for backends, and its book keeps the quota.
        teller: The way out; where nobody is told, alerts are in the log, the journal and the list all the same.
        health: What the store's sentry last saw.
    """

    def __init__(
        self,
        pools: Sequence[PoolSources],
        lookout: Lookout,
        teller: Teller,
        rules: AlertRules,
        election: Election,
        *,
        clock: Clock,
        health: Callable[[], StoreHealth],
    ) -> None:
        super().__init__("alerter", clock=clock, mailbox_size=4)
        self.rules = rules
        self.leadership = Leadership(
            election.gate,
            election.owner,
            clock=clock,
            lease_s=lambda: election.lease_s,
            prepare=self._begin_term,
            what="alerts",
        )
        self._owner = election.owner
        self._pools = list(pools)
        self._lookout = lookout
        self._teller = teller
        self._health = health
        self._standing = {pool.pool: StandingAlerts(pool.book) for pool in pools}
        self._home = self._pools[0].pool
        self._looked_s = self._kept_s = float("-inf")
        self._led = False
        self._direct: Standing | None = None

    # ------------------------------------------------------------------------------------------------------ its life

    async def on_start(self) -> None:
        """Stand for election, follow the journals, tell."""
        self.spawn(self.leadership.run(), name="lead")
        self.spawn(tick(partial(self._spared, self.follow), FOLLOW_S, clock=self.clock), name="follow")
        self.spawn(tick(partial(self._spared, self.tell_next), TELL_S, clock=self.clock), name="tell")

    async def receive(self, message: None) -> None:
        """Take no message: there is none."""

    async def on_stop(self) -> None:
        """Let another tell at once; what was not told stands in the store."""
        await self.end_children()
        await self.leadership.leave()

    async def _spared(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do a round; a fault in it must not end the daemon, as an actor that crashes again and again would."""
        try:
            await work()
        except InvariantBroken:
            raise
        except Exception:
            log.exception("alerts.round_failed")
            await self.clock.sleep(FAULT_PAUSE_S)

    async def _begin_term(self, epoch: int) -> None:
        for pool in self._standing.values():
            await pool.load(epoch)
        self._looked_s = float("-inf")

    # ------------------------------------------------------------------------------------------------ making them

    async def follow(self) -> None:
        """Make alerts of what happened since, and look around now and then."""
        if self.leadership.term is None:
            return
        try:
            for pool in self._pools:
                await self._read(pool)
            if self.clock.monotonic_s() - self._looked_s >= LOOK_S:
                await self._look()
            await self._keep()
        except StoreUnavailable as error:
            log.warning("alerts.not_followed", reason=str(error))
        except Fenced:
            self._step_down()

    async def _read(self, pool: PoolSources) -> None:
        standing = self._standing[pool.pool]
        if not standing.cursor:
            standing.cursor = await pool.feed.last_id()  # what was before alerts were ever made raises none
        for _ in range(PAGES_AT_ONCE):
            epoch = standing.epoch
            page = await pool.feed.skim(standing.cursor, HEARD, limit=PAGE)
            if standing.epoch != epoch:
                return  # a new term began meanwhile, with a cursor of its own
            now_ms = self.clock.now_ms()
            for event in page.events:
                standing.take(self._made_of(event, pool.pool), now_ms)
            standing.cursor = page.upto
            standing.ripen(now_ms)
            if standing.is_changed:
                await standing.commit()
            if page.looked < PAGE:
                return

    def _made_of(self, entry: Event | Gap, pool: str) -> list[Signal]:
        try:
            return heard(entry, home=pool == self._home)
        except Exception:  # of another version, maybe: it must not be read again for ever
            log.exception("event.not_understood", pool=pool, at=getattr(entry, "id", ""))
            return []

    async def _look(self) -> None:
        for pool in self._pools:
            standing = self._standing[pool.pool]
            standing.take(await self._lookout.look(pool, list(standing.known.values())), self.clock.now_ms())
            standing.ripen(self.clock.now_ms())
        self._looked_s = self.clock.monotonic_s()

    async def _keep(self) -> None:
        due = self.clock.monotonic_s() - self._kept_s >= KEEP_CURSOR_S
        if due or any(pool.is_changed for pool in self._standing.values()):
            for pool in self._standing.values():
                await pool.commit()
            self._kept_s = self.clock.monotonic_s()

    def _step_down(self) -> None:
        log.warning("alerts.fenced")
        if (term := self.leadership.term) is not None:
            term.end()

    # ---------------------------------------------------------------------------------------------------- telling

    async def tell_next(self) -> None:
        """Send what is due, message by message, until nothing is or nobody takes it."""
        self._watch_store()
        while self._teller.is_ready:
            if not (await self._tell_direct() or await self._tell_standing()):
                return

    async def _tell_standing(self) -> bool:
        """Send the next message of what stands; say whether it was taken."""
        if self.leadership.term is None:
            return False
        pools, rules = self._standing, self.rules
        standing = [one for pool in pools.values() for one in pool.known.values()]
        message = next_message(
            standing,
            pools[self._home].quota,
            now_ms=self.clock.now_ms(),
            repeat_ms=rules.repeat_ms,
            per_hour=rules.per_hour,
        )
        if message is None:
            return False
        if any(pool.is_changed for pool in pools.values()) and not await self._durable():
            return False  # what the store does not know yet would be told again after a restart, under another id
        epoch = self.leadership.epoch
        for pool, key, _ in message.covers:
            pools[pool].being_told.add(key)
        try:
            taken = await self._teller.send(message)
        finally:
            for pool, key, _ in message.covers:
                pools[pool].being_told.discard(key)
        if not taken or self.leadership.epoch != epoch:
            return False
        for pool, key, telling in message.covers:
            pools[pool].told(key, telling, self.clock.now_ms())
        pools[self._home].used(self.clock.now_ms())
        return await self._durable()

    async def _durable(self) -> bool:
        try:
            return await committed(self._standing.values())
        except Fenced:
            self._step_down()
            return False

    # ------------------------------------------------------------------------------------- without the store

    def _watch_store(self) -> None:
        """Raise and end the one alert that cannot go through the store."""
        health, now_ms, known = self._health(), self.clock.now_ms(), self._direct
        if health.ok and not health.closed:
            self._led = self.leadership.term is not None
            if known is not None and known.is_open:
                if known.said:
                    log.info("alert.cleared", alert=known.id, trouble="not_durable")
                self._direct = end_alert(known, now_ms)
            return
        if known is None or not known.is_open:
            patience_s = PATIENCE_S if self._led else OTHERS_PATIENCE_S
            alert = not_durable(health.reason, self._owner, pools=health.closed if health.ok else ())
            known = self._direct = raise_alert(
                None, alert, pool=self._home, now_ms=now_ms, patience_ms=round(patience_s * 1000)
            )
        if not known.said and now_ms >= known.due_ms:
            log.error("alert.raised", alert=known.id, trouble="not_durable", text=known.alert.text)
            self._direct = msgspec.structs.replace(known, said=True)

    async def _tell_direct(self) -> bool:
        """Send what stands without the store; its few messages are outside the quota, which is in the store."""
        direct = self._direct
        if direct is None:
            return False
        message = next_message(
            [direct], Quota(), now_ms=self.clock.now_ms(), repeat_ms=self.rules.repeat_ms, per_hour=2
        )
        if message is None or not await self._teller.send(message):
            return False
        if self._direct is not None:
            self._direct = told(self._direct, message.covers[0][2], self.clock.now_ms())
        return True

    # ------------------------------------------------------------------------------------------- for an operator

    async def test(self, by: str) -> Sent | None:
        """Send a test alert now, past everything that waits; None where nobody is told."""
        now_ms = self.clock.now_ms()
        one = raise_alert(None, trial(by), pool=self._home, now_ms=now_ms)
        body = {"type": "alert.test", "timestamp": rfc3339(now_ms), "data": view_of(one)}
        return await self._teller.try_out(one.id, msgspec.json.encode(body))

    async def standing(self) -> list[Standing]:
        """Return all that stands, whoever tells it. Raises StoreUnavailable."""
        direct = [self._direct] if self._direct is not None and self._direct.said else []
        try:
            pages = [await pool.book.load() for pool in self._pools]
        except StoreUnavailable:
            if not direct:
                raise
            return direct  # the very thing to be told now
        return [*direct, *(one for page in pages for one in page.standing if one.said)]

    def receiver(self) -> Receiver:
        """Say how it goes with whoever is told; costs no I/O."""
        return self._teller.seen(leading=self.leadership.term is not None)
