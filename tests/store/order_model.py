"""The part of the stock model that knows orders; see stock_model.py."""

from __future__ import annotations

from collections import Counter

from tests.store.stock_books import OPEN, SINCE, Bag, Count, Held, Kits, Place, Row, Terms, Told, summed
from tests.store.stock_model import StockModel


class OrderModel(StockModel):
    """Adds the table "What accept decides", and what a human may do, for orders that the backend never had."""

    def accept(self, told: Told) -> tuple[object, ...]:
        """Answer code, state and what is short."""
        row = self.orders.get(told.name)
        known = row and (row.later or row)
        if known and told.strict:
            return self.reply("repeat" if told.digest == known.digest else "conflict", row)
        if known and told.version < known.version:
            return self.reply("stale", row)
        if known and told.version == known.version and told.digest <= known.digest:
            return self.reply("repeat", row)
        return self.apply(row, told)

    def reply(self, code: str, row: Row | None, short: Bag | None = None) -> tuple[object, ...]:
        return code, row.state if row else None, tuple((short or {}).items())

    def apply(self, row: Row | None, told: Told) -> tuple[object, ...]:  # noqa: PLR0911  # one return a verdict
        """A version that is new."""
        cancel, ignore = told.effect == "cancel", told.effect == "ignore"
        if row is None or row.state == "ignored":
            return self.afresh(row, told)
        if ignore and row.later:
            row.later = Told(**{**row.later.__dict__, "version": told.version})
            return self.reply("updated", row)
        if ignore:
            return self.note(row, told)
        same = told.digest == row.digest
        if row.state == "sending":
            if same and not cancel and not row.later:
                return self.note(row, told)
            row.later = told
            return self.reply("later", row)
        if row.state == "cancelled":
            return self.note(row, told) if cancel or row.final else self.afresh(row, told)
        if cancel:
            self.rewrite(row, told)
            self.drop(row, summed(told.lines))
            return self.reply("updated", row)
        if same and row.waits == (told.effect == "wait"):
            return self.note(row, told)
        return self.take(row, told, edit=True)

    def note(self, row: Row, told: Told) -> tuple[object, ...]:
        row.version = told.version
        return self.reply("updated", row)

    def rewrite(self, row: Row, told: Told) -> None:
        row.version, row.digest, row.waits = told.version, told.digest, told.effect == "wait"
        row.content = (told.lines, told.placed)

    def drop(self, row: Row, lines: Bag) -> None:
        """All goes back."""
        row.units, row.lacks, row.uses, row.parts, row.lines = {}, {}, Counter(), {}, lines
        self.enter(row, "cancelled")

    def afresh(self, row: Row | None, told: Told) -> tuple[object, ...]:
        """An order that has no units yet."""
        early = 0 < told.placed < SINCE
        if told.effect in ("deliver", "wait") and not early:
            return self.take(row, told, edit=False)
        code = "updated" if row else "accepted"
        row = self.orders.setdefault(told.name, row or Row(told.name, self.tick))
        self.rewrite(row, told)
        self.drop(row, summed(told.lines))
        self.enter(row, "cancelled" if told.effect == "cancel" else "ignored")
        return self.reply(code, row)

    def take(self, row: Row | None, told: Told, *, edit: bool) -> tuple[object, ...]:
        terms, lines = self.terms[told.channel], summed(told.lines)
        hold = None if edit else self.holds.get(told.hold)
        hold = hold if hold and hold.state == "held" else None
        parts: Kits = hold.parts if hold else row.parts if row and edit else {}
        wants, made = self.apart(lines, parts)
        if told.strict:
            unknown = {sku: n for sku, n in wants.items() if not self.is_known(sku, terms)}
            if unknown:
                return self.reply("unknown_sku", row, unknown)
        had = row if row and edit else None
        count, doubt = self.review(had, hold, lines, told)
        blocked = summed(
            (part, n * q) for sku, n in count.blocked.items() for part, q in made.get(sku, {sku: 1}).items()
        )
        own = had.units if had else hold.units if hold else {}
        self.settle(lambda: self.is_covered(wants, blocked, own, terms), told.hold if hold else "")

        code = "updated" if row else "accepted"
        row = self.orders.setdefault(told.name, row or Row(told.name, self.tick))
        self.rewrite(row, told)
        row.lines, row.parts, row.claims = lines, made, {}
        row.units = had.units if had else {}
        reserved = dict(hold.units) if hold else {}
        if hold:
            self.end(hold, "sold")
        short, unknowns = self.draw(row, wants, blocked, reserved, terms)
        row.uses, row.doubt = count.uses, bool(doubt or told.reason or unknowns)
        self.enter(row, self.placed(row, short))
        return self.reply(code, row, short)

    def placed(self, row: Row, short: Bag) -> str:
        if row.state == "dead":
            return "dead"
        if short:
            return "backorder" if row.state == "backorder" else "shortfall"
        return "parked" if row.doubt and not row.released else "waiting" if row.waits else "queued"

    def review(self, row: Row | None, hold: Held | None, lines: Bag, told: Told) -> tuple[Count, bool]:
        """What the version counts for, and whether sales have something against it."""
        before = row.uses if row else hold.uses if hold else Counter()
        had = row.lines if row else hold.lines if hold else {}
        customer = told.customer or (hold.customer if hold else "")
        parked = row is not None and row.state in ("parked", "shortfall") and not row.released
        if parked:  # judged again, but for what counts already
            counted = {use[2] for use in before if use[0] == "q"}
            had = {sku: units for sku, units in had.items() if sku in counted}
        count = self.weigh(lines, had, before, (told.channel, customer, told.placed or self.now))
        return count, bool(count.barred or self.passed(count, before, again=parked))

    def is_covered(self, wants: Bag, blocked: Bag, own: dict[Place, int], terms: Terms) -> bool:
        rest = {sku: n - blocked.get(sku, 0) for sku, n in wants.items()}
        for (sku, _), units in own.items():
            if sku in rest:
                rest[sku] -= units
        return self.pick(rest, terms)[1]

    def draw(
        self, row: Row, wants: Bag, blocked: Bag, reserved: dict[Place, int], terms: Terms
    ) -> tuple[Bag, list[str]]:
        """Keep what stays, give back the rest, use what was held, take what lacks; say what stays short."""
        missing, kept = dict(wants), Counter[Place]()
        for (sku, at), units in row.units.items():
            kept[sku, at] = min(units, missing.get(sku, 0))
            missing[sku] = missing.get(sku, 0) - kept[sku, at]
        row.units = dict(+kept)
        for (sku, at), units in reserved.items():
            got = min(units, max(0, missing.get(sku, 0) - blocked.get(sku, 0)))
            row.units[sku, at] = row.units.get((sku, at), 0) + got
            missing[sku] = missing.get(sku, 0) - got
        picked, _ = self.pick({sku: missing[sku] - blocked.get(sku, 0) for sku in wants}, terms)
        for (sku, at), units in picked.items():
            row.units[sku, at] = row.units.get((sku, at), 0) + units
            missing[sku] -= units
        row.units = {place: n for place, n in row.units.items() if n}
        row.lacks = {}
        for sku in wants:
            first = next((at for name, at in row.units if name == sku), terms.places[0])
            row.lacks[sku, first] = missing[sku]
        lacking = {sku: missing[sku] for sku in wants if missing[sku]}
        short = {sku: n for sku, n in lacking.items() if self.is_known(sku, terms)}
        return short, [sku for sku in lacking if sku not in short]

    # -------------------------------------------------------------------------------------------------- commands

    def cancel(self, name: str) -> tuple[object, ...]:
        """A human's cancel."""
        row = self.orders.get(name)
        if row is None:
            return ("unknown",)
        if row.state not in (*OPEN, "dead", "cancelled"):
            return "conflict", row.state
        if not row.final:
            self.drop(row, row.lines)
        row.final = True
        return "done", "cancelled"

    def requeue(self, name: str, mend: tuple[tuple[str, int], ...] | None) -> tuple[object, ...]:
        """A human's retry, mended with lines or as it is."""
        row = self.orders.get(name)
        if row is None:
            return ("unknown",)
        placed = row.content[1] if isinstance(row.content, tuple) else 0
        mended = mend is not None and (mend, placed) != row.content
        if row.state == "queued" and not mended:
            return "done", "queued"
        if row.state not in (*OPEN, "dead") or row.state == "queued":
            return "conflict", row.state
        terms = self.terms[name.partition(":")[0]]
        lines = summed(mend) if mended and mend is not None else row.lines
        wants, made = self.apart(lines, row.parts)
        self.settle(lambda: self.is_covered(wants, {}, row.units, terms))
        if mended:
            row.uses, row.content = self.carried(row, lines), (mend, placed)
        row.lines, row.parts, row.claims = lines, made, {}
        short, unknown = self.draw(row, wants, {}, {}, terms)
        row.doubt = bool(unknown)
        self.enter(row, "queued" if not short else "backorder" if row.state == "backorder" else "shortfall")
        row.released = row.released or row.state == "queued"
        return "done", row.state

    def carried(self, row: Row, lines: Bag) -> Counter[tuple[str, ...]]:
        """What counts already goes along with a mend; nothing new is judged."""
        uses = Counter(row.uses)
        for sku in {**lines, **row.lines}:
            sale = next((use[1] for use in row.uses if use[0] == "q" and use[2] == sku), None)
            for use in row.uses:
                if use[1] == sale and (use[0] == "t" or use[2] == sku):
                    uses[use] += lines.get(sku, 0) - row.lines.get(sku, 0)
        return +uses

    def backorder(self, name: str) -> tuple[object, ...]:
        """A human lets a shortfall wait for goods."""
        row = self.orders.get(name)
        if row is None:
            return ("unknown",)
        if row.state not in ("shortfall", "backorder"):
            return "conflict", row.state
        if row.state == "shortfall":
            row.claims = {}
            for place, units in list(row.lacks.items()):
                self.move(row, place, min(units, self.free(*place)))
            self.enter(row, "backorder" if any(row.lacks.values()) else self.place_of(row))
        return "done", row.state

    def send(self, name: str) -> None:
        self.orders[name].state = "sending"

    def finish(self, name: str, state: str) -> None:
        """It comes back, or was declined; a version that waited is applied."""
        row = self.orders[name]
        row.state, told = state, row.later
        row.later = None
        if told:
            self.apply(row, told)
