"""What is to be done about SKUs that are dirty: wait for an earlier write, read what the platform shows, or write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from flashd.actors.outlook import Aim
from flashd.actors.workbench import Workbench
from flashd.domain.listing import UNKNOWN, Ended, ListingState, Outcome, WriteMode

PATIENT_S = 30.0
BLIND_MS = 60_000  # without polling, a mirrored figure settles after so long


@dataclass(frozen=True)
class Todo:
    """What came of one look; what is in none of the three waits, and stays dirty."""

    to_read: list[Aim] = field(default_factory=list)
    to_write: list[Aim] = field(default_factory=list)
    done: list[str] = field(default_factory=list)  # SKUs that show what they should, or that nobody can show


class Agenda:
    """Sorts the aims of one channel."""

    def __init__(self, bench: Workbench) -> None:
        self._traits = bench.api.traits
        self._listings = bench.books.listings
        self._channel = bench.line.channel
        self._slate = bench.slate
        self._rules = bench.rules
        self._clock = bench.clock
        self._ask_poll = bench.ask_poll

    async def sort(self, aims: Iterable[Aim]) -> Todo:
        """Return what is to be done now."""
        todo = Todo()
        for aim in aims:
            if aim.entry is None:
                self._slate.note_gap(aim.sku, "not in the channel's map")
                self._slate.is_right(aim.sku)
                todo.done.append(aim.sku)
            elif await self._must_wait(aim):
                continue
            elif self._must_read(aim):
                todo.to_read.append(aim)
            elif aim.right:
                self._note_right(aim)
                todo.done.append(aim.sku)
            else:
                todo.to_write.append(aim)
        return todo

    async def _must_wait(self, aim: Aim) -> bool:
        """Say whether an earlier write of the SKU is not concluded yet."""
        row, slate = aim.listing, self._slate
        if row.state in (ListingState.WRITING, ListingState.IN_DOUBT):
            if aim.sku not in slate.doubts_s:  # another process began it, or we crashed: it may still land
                age_s = (self._clock.now_ms() - row.began_ms) / 1000
                left_s = max(0.0, self._rules().doubt_s - max(0.0, age_s))
                slate.doubts_s[aim.sku] = self._clock.monotonic_s() + left_s
            if row.state is ListingState.WRITING:
                await self._listings.end(self._channel, [Ended(sku=aim.sku, key=row.key, outcome=Outcome.UNKNOWN)])
            left_s = slate.doubts_s[aim.sku] - self._clock.monotonic_s()
            if left_s > 0:
                slate.defer(aim.sku, left_s)
            return left_s > 0 or row.state is ListingState.WRITING
        slate.doubts_s.pop(aim.sku, None)
        if row.state is not ListingState.SETTLING:
            slate.settling_ms.pop(aim.sku, None)
            return False
        slate.settling_ms[aim.sku] = row.written_ms
        self._ask_poll(row.written_ms)
        if aim.figure == 0 or aim.right or not self._settles_soon(aim):
            return False
        slate.defer(aim.sku, self._rules().poll_s)
        return True

    def _settles_soon(self, aim: Aim) -> bool:
        """
        Say whether a write is worth waiting for.

        Only escrow must. A mirror on a platform with compare-and-set waits for the exposure to be exact, but not for
        ever: its orders may be out of reach. An absolute figure is written again and again, and settles once; but one
        that was unclear, and read, is not raised: what it lacks may be an order that is still to come.
        """
        if self._rules().escrow:
            return True
        raises = aim.sku in self._slate.unclear and aim.figure > aim.listing.figure
        late_ms = self._slate.platform_ms() - aim.listing.written_ms
        return (raises or self._traits.mode is WriteMode.COMPARE) and self._rules().polled and late_ms < BLIND_MS

    def _must_read(self, aim: Aim) -> bool:
        row = aim.listing
        if row.state is ListingState.IN_DOUBT or aim.sku in self._slate.to_read:
            return True
        blind = self._traits.mode is WriteMode.ABSOLUTE and (aim.figure == 0 or not self._rules().escrow)
        if row.figure == UNKNOWN and not blind:
            return True
        # Whoever is to write brings it right anyway; what seems right, and is not, nobody else would find.
        return self._traits.reads and aim.right and self._is_unclear(aim) and self._slate.check_in_s() == 0

    def _is_unclear(self, aim: Aim) -> bool:
        """Say whether the figure that the row tells may be another one than the platform shows."""
        row, slate = aim.listing, self._slate
        if row.state is not ListingState.IDLE or aim.sku in slate.suspects:
            return False  # it is told soon
        return aim.sku in slate.unclear or row.figure != row.exposed

    def _note_right(self, aim: Aim) -> None:
        self._slate.is_right(aim.sku)
        if self._traits.reads and self._is_unclear(aim):
            self._slate.look_again(aim.sku, self._slate.check_in_s())
        if aim.hungry:
            self._slate.look_again(aim.sku, self._rules().hungry_s, partners=True)
        elif aim.patient:
            self._slate.look_again(aim.sku, PATIENT_S)
