"""The part of the stock model that knows sales; see stock_model.py."""

from __future__ import annotations

from collections import Counter

from tests.store.stock_books import Bag, Books, Count, Deal, SaleRow, Use


class SaleModel(Books):
    """Judges what may be bought, by docs/adr/0020-a-sale-is-a-document.md."""

    def judge(self, sku: str, channel: str, at: int) -> tuple[str, set[str]]:
        """Say how a SKU stands at an instant, and by which sale (one of them, where many say the same)."""
        mine = {
            name: row
            for name, row in self.sales.items()
            if row.state != "ended" and row.deal.terms_of(sku) and channel in (row.deal.channels or (channel,))
        }
        for name, row in mine.items():
            if row.deal.start <= at < row.deal.end:
                return ("stopped" if row.state == "stopped" else "inside"), {name}
        stopped = {name for name, row in mine.items() if row.state == "stopped"}
        if stopped:
            return "stopped", stopped
        closed = {name: row.deal for name, row in mine.items() if row.deal.closed}
        coming = [deal.start for deal in closed.values() if deal.start > at]
        if coming:
            return "outside", {name for name, deal in closed.items() if deal.start == min(coming)}
        latest = max((deal.end for deal in closed.values()), default=0)
        return ("outside" if closed else "open"), {name for name, deal in closed.items() if deal.end == latest}

    def weigh(self, lines: Bag, had: Bag, before: Counter[Use], who: tuple[str, str, int]) -> Count:
        """What *lines* count for; *who* is channel, customer and the instant by which it is judged."""
        channel, customer, at = who
        count = Count(Counter(before))
        names: set[str]
        uses: list[Use]
        for sku in {**lines, **had}:
            extra = lines.get(sku, 0) - had.get(sku, 0)
            known = next((use[1] for use in before if use[0] == "q" and use[2] == sku), None)
            if known:
                row = self.sales[known]
                state = "stopped" if row.state == "stopped" and extra > 0 else "inside"
                names, uses = {known}, [use for use in before if use[1] == known and (use[0] == "t" or use[2] == sku)]
            elif extra > 0:
                state, names = self.judge(sku, channel, at)
                uses = self.uses_of(min(names), sku, customer) if state == "inside" else []
            else:
                continue
            if state in ("stopped", "outside"):
                count.barred.append((sku, names))
                count.blocked[sku] = extra if state == "stopped" else 0
            for use in uses if state == "inside" else ():
                count.uses[use] += extra
                most = self.most(use, sku)
                if most:
                    count.bounds.setdefault(use, (sku, most))
        count.uses = +count.uses
        return count

    def uses_of(self, sale: str, sku: str, customer: str) -> list[Use]:
        deal = self.sales[sale].deal
        _, limit = deal.terms_of(sku) or (0, 0)
        uses: list[Use] = [("q", sale, sku)]
        if customer and limit:
            uses.append(("c", sale, sku, customer))
        if customer and deal.limit:
            uses.append(("t", sale, customer))
        return uses

    def most(self, use: Use, sku: str) -> int:
        row = self.sales[use[1]]
        quota, limit = row.deal.terms_of(sku) or (0, 0)
        if row.state == "ended" or not row.deal.terms_of(sku):
            return 0
        return {"q": quota, "c": limit, "t": row.deal.limit}[use[0]]

    def passed(self, count: Count, before: Counter[Use], *, again: bool = False) -> list[tuple[Use, str, int, int]]:
        """What is more than allowed: the use, at which SKU, what others have, and what all may have."""
        used = self.used()
        return [
            (use, sku, used[use] - before[use], most)
            for use, (sku, most) in count.bounds.items()
            if used[use] - before[use] + count.uses[use] > most and (again or count.uses[use] > before[use])
        ]

    def put_sale(self, name: str, deal: Deal) -> tuple[object, ...]:
        row = self.sales.get(name)
        if row and row.state == "ended":
            return ("conflict",)
        if row and row.deal == deal:
            return "put", row.version, row.state
        for other, there in self.sales.items():
            shared = {sku for sku, _, _ in deal.products} & {sku for sku, _, _ in there.deal.products}
            apart = deal.end <= there.deal.start or there.deal.end <= deal.start
            if other != name and there.state != "ended" and shared and not apart:
                return ("conflict",)
        self.sales[name] = SaleRow(deal, row.state, row.version + 1) if row else SaleRow(deal)
        return "put", self.sales[name].version, self.sales[name].state

    def set_sale(self, name: str, state: str) -> tuple[object, ...]:
        row = self.sales.get(name)
        if row is None:
            return ("unknown",)
        if row.state == "ended" and state != "ended":
            return ("conflict",)
        row.state = state
        return "put", row.version, state
