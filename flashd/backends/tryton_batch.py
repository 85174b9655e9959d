"""
Several new orders in one go: one create, one reading, one quote and one confirm for all of their sales.

Each of these is a transaction in Tryton: it is done with all of them or with none. So a create that is refused has
written nothing, and a step that is refused is taken again with each half, down to the one sale that it is refused for;
that one goes the way of a single order. Whatever is unclear stays unclear for those it is unclear for.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flashd.backends.exchange import Answer, EndedError, Link, by_status, plain, plain_refusal, unread
from flashd.backends.tryton_catalogue import Catalogue, decode_refusal
from flashd.backends.tryton_sale import (
    RANK,
    SALE_FIELDS,
    STEP,
    SaleLine,
    amount,
    compare,
    encode_lines,
    encode_sale,
    is_sale,
)
from flashd.backends.tryton_session import Session
from flashd.domain.delivery import (
    Absent,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Finding,
    Found,
    Mismatch,
    Outcome,
    Sunk,
    Unknown,
)
from flashd.domain.order import Address

# Of the time for a batch: what is known of its members is told before whoever waits gives all of them up.
_SHARE = 0.95
_STEPS = (("draft", "quotation"), ("quotation", "confirmed"))

Advance = Callable[[Delivery, int, str], Awaitable[Outcome]]


@dataclass(slots=True, eq=False)
class Member:
    """One order of a batch, and how far it is known to be."""

    delivery: Delivery
    lines: list[SaleLine] = field(default_factory=list)
    bars: Declined | None = None  # why no sale can be written for it
    sale_id: int = 0  # once its sale is known and is what was sent
    state: str = ""
    outcome: Outcome | None = None

    @property
    def is_on_its_way(self) -> bool:
        """Whether its sale is there and what becomes of it is still open."""
        return self.outcome is None and self.sale_id > 0

    def judge(self, sales: Sequence[dict[str, Any]]) -> str:
        """Say how what Tryton has under its key differs from what was sent; "" if it does not."""
        if len(sales) > 1:
            return f"{len(sales)} sales under one key"
        order = self.delivery.order
        return compare(sales[0], self.lines, amount(order.total, order.currency))


class Batches:
    """
    Writes and reads the sales of several orders.

    Args:
        link: The connections.
        model: The address of the REST API's models.
        catalogue: What must be known before a sale can be written.
        session: Takes steps with several sales; None where no step is wanted, or no batch.
        shop: The web shop.
        until: The state to bring them to.
        in_words: Addresses stand in comments only.
        advance: Brings one sale there alone.
    """

    def __init__(
        self,
        link: Link,
        model: str,
        catalogue: Catalogue,
        session: Session | None,
        *,
        shop: int,
        until: str,
        in_words: bool,
        advance: Advance,
    ) -> None:
        self._link = link
        self._model = model
        self._catalogue = catalogue
        self._session = session
        self._shop_id = shop
        self._until = until
        self._in_words = in_words
        self._advance_alone = advance
        # Whether Tryton processes a confirmed sale in the same request; None until a batch has shown it.
        self._processes_at_once: bool | None = None

    async def deliver(self, deliveries: Sequence[Delivery], timeout_s: float) -> list[Outcome]:
        """Bring all of them where they should be, and say of each what is known at the end."""
        members = [Member(delivery) for delivery in deliveries]
        rest: Outcome = Doubtful(reason=f"not finished after {timeout_s:g} s, in a batch of {len(members)}")
        try:
            async with asyncio.timeout(timeout_s * _SHARE):
                await self._carry(members)
        except EndedError as ended:
            rest = ended.nothing_written
        except TimeoutError:
            pass
        return [rest if member.outcome is None else member.outcome for member in members]

    async def find(self, deliveries: Sequence[Delivery], timeout_s: float) -> list[Finding]:
        """Look all of them up by one request, and compare each."""
        members = [Member(delivery) for delivery in deliveries]
        try:
            async with asyncio.timeout(timeout_s * _SHARE):
                await self._know_lines(members)
                sales = await self._sales(members)
        except EndedError as ended:
            return [ended.nothing_known] * len(members)
        except TimeoutError:
            return [Unknown(reason=f"no answer within {timeout_s:g} s")] * len(members)
        return [self._finding(member, sales[member.delivery.key]) for member in members]

    def _finding(self, member: Member, sales: Sequence[dict[str, Any]]) -> Finding:
        if not sales:
            return Absent()
        if member.bars is not None:
            return Unknown(reason=member.bars.reason)
        backend_ref, difference = str(sales[0]["id"]), member.judge(sales)
        if difference:
            return Mismatch(reason=difference, backend_ref=backend_ref)
        half = RANK[sales[0]["state"]] < RANK[self._until]
        return Absent(half_done=backend_ref) if half else Found(backend_ref=backend_ref)

    # ------------------------------------------------------------------------------------------------------- writing

    async def _carry(self, members: list[Member]) -> None:
        """Go from nothing to the outcome of each; an `EndedError` ends it before anything is written."""
        if self._session is not None and self._until != "draft":
            await self._session.open()  # a login that is refused must not leave drafts behind
        await self._know_lines(members)
        repeated = [member for member in members if member.delivery.sends > 1]
        if repeated:
            self._recognise(repeated, await self._sales(repeated))
        new = [member for member in members if member.outcome is None and not member.sale_id]
        for member in new:
            member.outcome = member.bars
        await self._create([member for member in new if member.outcome is None])
        await self._advance([member for member in members if member.is_on_its_way])

    async def _create(self, members: list[Member]) -> None:
        """Make their sales; after a refusal again without those that were there, as long as that makes them fewer."""
        records = await self._records(members) if members else {}
        rest = [member for member in members if member.outcome is None]
        while rest:
            content = {"vlist": [records[member.delivery.key] for member in rest]}
            answer = await self._link.post(f"{self._model}/sale.sale/create", content)
            if not isinstance(answer, Answer):
                return _conclude(rest, answer)
            trouble, refusal = by_status(answer), decode_refusal(answer)
            if trouble is not None or (refusal is None and not _is_list_of_ids(answer)):
                return _conclude(rest, trouble or unread(answer))
            done = "made" if refusal is None else "refused"
            try:
                self._recognise(rest, await self._sales(rest))
            except EndedError as ended:
                doubt = Doubtful(reason=plain(f"{done} in a batch, and not read: {ended.outcome.reason}"))
                return _conclude(rest, doubt)
            missing = [member for member in rest if member.outcome is None and not member.sale_id]
            if refusal is None:
                return _conclude(missing, Doubtful(reason="made in a batch, and not there when it was read"))
            if len(missing) == len(rest):  # so it was refused because of what stands in one of them
                return self._refuse(rest, refusal)
            rest = missing
        return None

    def _refuse(self, members: Sequence[Member], refusal: str) -> None:
        for member in members:
            self._catalogue.forget(member.delivery.order)  # what was mended in Tryton is read again
        if len(members) == 1:
            _conclude(members, Declined(reason=plain_refusal(refusal, members[0].delivery.order)))
        else:  # without Tryton's words: they may be about another one's customer
            _conclude(members, Sunk(reason=f"Tryton refused one of a batch of {len(members)}"))

    async def _records(self, members: Sequence[Member]) -> dict[str, dict[str, Any]]:
        """Return the fields of their sales by key; who lacks a currency or an address is declined."""
        shop, catalogue = await self._catalogue.shop(), self._catalogue
        currencies: dict[str, int | Declined] = {}
        for code in dict.fromkeys(member.delivery.order.currency for member in members):
            try:
                currencies[code] = await catalogue.currency(code)
            except EndedError as ended:
                if not isinstance(ended.outcome, Declined):
                    raise
                currencies[code] = ended.outcome
        places = [member.delivery.order.ship_to for member in members]
        ship_to: dict[Address, int | Declined] = dict.fromkeys(places, shop.address)
        if not self._in_words:
            ship_to = await catalogue.addresses(places, shop)
        records = {}
        for member, place in zip(members, places, strict=True):
            delivery, currency, address = member.delivery, currencies[member.delivery.order.currency], ship_to[place]
            if isinstance(currency, Declined):
                member.outcome = currency
            elif isinstance(address, Declined):
                member.outcome = address
            else:
                records[delivery.key] = encode_sale(delivery, member.lines, shop, currency=currency, ship_to=address)
        return records

    # --------------------------------------------------------------------------------------------------------- steps

    async def _advance(self, members: list[Member]) -> None:
        """Take the steps that are left with all that are there, and conclude for each what its sale says then."""
        goal, reason = RANK[self._until], "though every step was taken"
        begun = [member for member in members if RANK[member.state] < goal]
        _conclude_there([member for member in members if RANK[member.state] >= goal])
        if not begun:
            return
        try:
            for before, after in _STEPS:
                group = [member for member in begun if member.outcome is None and member.state == before]
                if group and RANK[after] <= goal:
                    await self._take(STEP[before], group)
                    for member in group:
                        member.state = after
        except EndedError as ended:  # the sales are there, whatever it was: what they say is what counts
            reason = ended.outcome.reason
        try:
            await self._look_at(begun)
        except EndedError as ended:
            _conclude(begun, Doubtful(reason=plain(f"the sale is made, and not read: {ended.outcome.reason}")))
            return
        _conclude_there([member for member in begun if RANK[member.state] >= goal])
        for member in begun:
            doubt = Doubtful(reason=plain(f"sale {member.sale_id} is {member.state}: {reason}"))
            _conclude([member], doubt)
        await self._mind_processing(begun)

    async def _take(self, step: str, group: list[Member]) -> None:
        """
        Take a step with all of *group*; where that is refused with each half; alone as a single order would.

        Raises:
            EndedError: It is not known what became of it.
        """
        if step == "confirm" and self._processes_at_once is None and len(group) > 1:
            first, *group = group
            await self._take(step, [first])
            await self._look_at([first])
            self._processes_at_once = RANK[first.state] > RANK["confirmed"]
        if len(group) == 1 or self._session is None:
            for member in group:
                member.outcome = await self._advance_alone(member.delivery, member.sale_id, member.state)
        elif not await self._session.step(step, [member.sale_id for member in group]):
            for half in _halves(group):
                await self._take(step, half)

    async def _mind_processing(self, begun: list[Member]) -> None:
        """
        Process what stayed confirmed where Tryton processes at once.

        It does so in a transaction of its own, with all that were confirmed together: what it cannot process keeps the
        others from being processed too, without a word to whoever confirmed them. All of them are delivered by now.
        """
        states = {member.state for member in begun}
        if len(begun) > 1 and states == {"processing"}:
            self._processes_at_once = True
        confirmed = [member for member in begun if member.state == "confirmed"]
        if self._until == "confirmed" and self._processes_at_once and confirmed:
            try:
                for half in _halves(confirmed):  # all of them at once were tried
                    await self._process(half)
            except EndedError:
                return

    async def _process(self, group: list[Member]) -> None:
        if len(group) == 1:
            await self._link.post(f"{self._model}/sale.sale/{group[0].sale_id}/process?f=state", {})
        elif self._session is not None and not await self._session.step("process", [one.sale_id for one in group]):
            for half in _halves(group):
                await self._process(half)

    # ------------------------------------------------------------------------------------------------------- reading

    async def _know_lines(self, members: Sequence[Member]) -> None:
        lacking = await self._catalogue.learn([member.delivery.order for member in members])
        for member in members:
            member.bars = self._catalogue.lacks(member.delivery.order, lacking)
            if member.bars is None:
                member.lines = encode_lines(member.delivery.order, self._catalogue.known)

    async def _sales(self, members: Sequence[Member]) -> dict[str, list[dict[str, Any]]]:
        """Return what Tryton has under their keys; raises EndedError."""
        keys = [member.delivery.key for member in members]
        wanted = [["web_shop", "=", self._shop_id], ["web_id", "in", keys]]
        sales: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for sale in await self._catalogue.gather("sale.sale", wanted, SALE_FIELDS):
            if not is_sale(sale):
                raise EndedError(Doubtful(reason="a sale that was read has no state that is known"))
            sales[sale["web_id"]].append(sale)
        return sales

    async def _look_at(self, members: Sequence[Member]) -> None:
        """Note the states of their sales; raises EndedError."""
        wanted = [["id", "in", [member.sale_id for member in members]]]
        states = {
            sale["id"]: sale.get("state") for sale in await self._catalogue.gather("sale.sale", wanted, ["state"])
        }
        for member in members:
            state = states.get(member.sale_id)
            member.state = state if state in RANK else "cancelled"

    def _recognise(self, members: Sequence[Member], sales: Mapping[str, list[dict[str, Any]]]) -> None:
        """Note whose sale is there, if it is what was sent."""
        for member in members:
            found = sales.get(member.delivery.key)
            if not found:
                continue
            difference = member.bars.reason if member.bars is not None else member.judge(found)
            if difference:
                member.outcome = Doubtful(reason=plain(f"sale {found[0]['id']} has its key: {difference}"))
            else:
                member.sale_id, member.state = found[0]["id"], found[0]["state"]


def _is_list_of_ids(answer: Answer) -> bool:
    body = answer.json
    return answer.status == 200 and isinstance(body, list) and all(isinstance(one, int) for one in body)


def _halves(group: list[Member]) -> list[list[Member]]:
    middle = (len(group) + 1) // 2
    return [half for half in (group[:middle], group[middle:]) if half]


def _conclude(members: Iterable[Member], outcome: Outcome) -> None:
    """Give that outcome to those who have none."""
    for member in members:
        if member.outcome is None:
            member.outcome = outcome


def _conclude_there(members: Iterable[Member]) -> None:
    for member in members:
        _conclude([member], Delivered(backend_ref=str(member.sale_id)))
