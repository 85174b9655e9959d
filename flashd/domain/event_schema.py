"""Every kind of event with its members: the contract with subscribers, as a table and as JSON Schema."""

from __future__ import annotations

from typing import Any

import msgspec

from flashd.domain.event import VERSION, Topic


class Fact(msgspec.Struct, frozen=True):
    """One kind of event: what it says, the members that it always has, and those it may have."""

    says: str
    always: tuple[str, ...]
    maybe: tuple[str, ...] = ()


_LEVEL = ("sku", "location", "on_hand", "held", "sold", "exposed", "safety", "seq", "free")
_ITEM = ("order", "item", "state", "backend", "version")
_OUTCOME = (*_ITEM, "backend_ref", "sends")
_SALE = ("sale", "version", "state", "by")
_PRICES = ("sale", "channel", "skus")
_EXPOSURES = ("channel", "exposures")
_HOLD = ("hold", "channel", "moves")
_ALERT = ("alert_id", "trouble", "subject", "severity", "text", "mend", "since_ms", "facts")

KINDS: dict[str, Fact] = {
    "stock.changed": Fact("The counters of these SKUs are these now.", ("levels",)),
    "stock.sold_out": Fact("The counters of a SKU are these now, and nothing is free any more.", _LEVEL),
    "stock.came_back": Fact("The counters of a SKU are these now, and something is free again.", _LEVEL),
    "stock.recounted": Fact("On hand or safety stock was set to a count.", ("sku", "location", "seq", "by", "moves")),
    "stock.netted": Fact(
        "A count took units of orders that left the store long ago out of sold.", ("sku", "location", "moves")
    ),
    "stock.received": Fact("Goods came in.", ("sku", "location", "receipt", "by", "moves")),
    "stock.fell_negative": Fact("A count found fewer units than are promised.", ("sku", "location", "deficit")),
    "stock.granted": Fact(
        "A channel may sell more: its exposure was backed before it was told.", _EXPOSURES, ("moves",)
    ),
    "stock.returned": Fact("A channel surely sells less now: what backed it is free again.", _EXPOSURES, ("moves",)),
    "stock.drifted": Fact("A channel shows more than flashd gave it: a human's edit.", _EXPOSURES, ("moves",)),
    "stock.kit_changed": Fact("A kit was put together anew, or is none any more.", ("sku", "by", "components")),
    "hold.held": Fact("Stock was set aside.", (*_HOLD, "expires_ms"), ("uses",)),
    "hold.extended": Fact("A hold ends later.", ("hold", "channel", "expires_ms")),
    "hold.released": Fact("A hold was given back.", _HOLD, ("reason", "uses")),
    "hold.expired": Fact("A hold ended without an order.", _HOLD, ("uses",)),
    "hold.sold": Fact("A hold became an order's.", _HOLD, ("order", "uses")),
    "order.accepted": Fact("An order is durable, its stock taken.", _ITEM, ("reason", "moves", "uses")),
    "order.parked": Fact("Durable, stock taken, doubtful: a human must look.", _ITEM, ("reason", "moves", "uses")),
    "order.fell_short": Fact("Durable, and not all units could be taken.", _ITEM, ("reason", "moves", "uses")),
    "order.ignored": Fact("Recorded, and none of ours: a test, or before the cut-over.", _ITEM, ("reason", "moves")),
    "order.updated": Fact("A newer version was applied, or a human mended it.", _ITEM, ("reason", "moves", "uses")),
    "order.cancelled": Fact("Cancelled, its stock given back.", _ITEM, ("reason", "moves", "uses")),
    "order.followed_up": Fact("What must follow after delivery is an item now.", _ITEM, ("reason", "moves", "uses")),
    "order.requeued": Fact(
        "It waits for the backend again.", _ITEM, ("reason", "moves", "uses", "backend_ref", "sends")
    ),
    "order.delivered": Fact("The backend has it.", (*_ITEM, "backend_ref"), ("reason", "moves", "sends")),
    "order.doubted": Fact("Sent, outcome unknown: it will be looked up.", _OUTCOME, ("reason",)),
    "order.buried": Fact("Refused for good: a dead letter.", _OUTCOME, ("reason",)),
    "order.left_to_human": Fact("A human must say whether the backend has it.", _OUTCOME, ("reason",)),
    "order.backordered": Fact("It waits for goods, first come, first served.", _ITEM, ("reason", "moves")),
    "order.split": Fact(
        "What is covered goes; the rest is an order of its own, or given up.", _ITEM, ("reason", "moves")
    ),
    "order.counted": Fact("A count lacks its units: they left sold, and on hand; or came back.", (*_ITEM, "moves")),
    "order.shipped": Fact("Its goods are gone.", _ITEM),
    "order.purged": Fact("Settled long ago; its record has left the store.", ("order",)),
    "order.erased": Fact("Its customer was forgotten; SKUs, amounts and the order's id stay.", ("order", "by")),
    "sale.changed": Fact("A version of a sale was written.", (*_SALE, "start_ms", "end_ms")),
    "sale.stopped": Fact("A human stopped a sale: nothing more of it is sold.", _SALE),
    "sale.resumed": Fact("A human lets a stopped sale go on.", _SALE),
    "sale.ended": Fact("A human ended a sale for good.", _SALE),
    "sale.opened": Fact("A sale's window opened.", ("sale", "version", "start_ms", "end_ms")),
    "sale.over": Fact("A sale's window is over.", ("sale", "version", "start_ms", "end_ms")),
    "sale.price_pushed": Fact("A channel asks the sale's prices; they were read back.", _PRICES),
    "sale.price_restored": Fact("A channel asks the former prices again; they were read back.", _PRICES),
    "sale.price_kept": Fact("Somebody changed a price meanwhile: it is left alone.", (*_PRICES, "reason")),
    "sale.price_failed": Fact("A price is not what it should be; it is tried again.", (*_PRICES, "reason")),
    "channel.quarantined": Fact("A proven body was not understood.", ("channel", "quarantine", "reason")),
    "channel.unquarantined": Fact("A human settled a quarantined body.", ("quarantine", "by")),
    "channel.mapped": Fact("SKUs were mapped to the channel's own ids.", ("channel", "by", "entries")),
    "channel.unmapped": Fact("SKUs left the channel's map.", ("channel", "by", "entries")),
    "channel.figure_edited": Fact(
        "A platform shows a figure that neither flashd nor any sale explains.", ("channel", "sku", "before", "after")
    ),
    "channel.order_missed": Fact("A poll found an order that no webhook had told of.", ("channel", "order")),
    "channel.webhooks_silent": Fact("A channel's webhooks do not come any more.", ("channel", "reason", "alert")),
    "channel.webhooks_returned": Fact("A channel's webhooks come again.", ("channel",)),
    "channel.webhooks_restored": Fact(
        "flashd put webhooks back that the platform had deleted or switched off.", ("channel", "reason", "alert")
    ),
    "channel.went_away": Fact("A channel's own API does not answer, or refuses us.", ("channel", "reason")),
    "channel.came_back": Fact("A channel's own API answers again.", ("channel",)),
    "channel.paused": Fact(
        "A human paused publishing to a channel and polling it.", ("channel", "by", "before", "after")
    ),
    "channel.resumed": Fact("A human let publishing and polling go on.", ("channel", "by", "before", "after")),
    "channel.demanded": Fact("A platform demands something about customers.", ("channel", "demand", "demand_id")),
    "channel.demand_met": Fact(
        "A platform's demand was met; reason says how.", ("channel", "demand", "demand_id", "by", "reason")
    ),
    "backend.throttled": Fact("A backend asked for a pause.", ("backend", "reason", "wait_ms")),
    "backend.went_away": Fact("A backend does not answer, or refuses us.", ("backend", "reason", "alert")),
    "backend.came_back": Fact("A backend answers again.", ("backend",)),
    "backend.paused": Fact("A human paused a backend.", ("backend", "by", "before", "after")),
    "backend.resumed": Fact("A human let a backend go on.", ("backend", "by", "before", "after")),
    "backend.asked_first": Fact(
        "A human had a backend asked for each order before that is sent, or ended that.",
        ("backend", "by", "before", "after"),
    ),
    "backend.rate_set": Fact("A human changed a backend's rate.", ("backend", "by", "before", "after")),
    "alert.raised": Fact("A human must see to something.", _ALERT),
    "alert.cleared": Fact("It is over.", _ALERT),
}

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_NUMBER = {"type": "integer"}

MEMBERS: dict[str, dict[str, Any]] = {
    "sku": _TEXT | {"description": "as the channels call it"},
    "location": _TEXT | {"description": "where the units are"},
    "on_hand": _NUMBER | {"description": "units counted, and moved since"},
    "held": _COUNT | {"description": "units that holds keep"},
    "sold": _COUNT | {"description": "units that orders took and no count lacks yet"},
    "exposed": _COUNT | {"description": "units granted to escrow channels"},
    "safety": _COUNT | {"description": "units kept back"},
    "seq": _COUNT | {"description": "sequence number of the last count, 0 for none"},
    "free": _COUNT | {"description": "units that a hold may take"},
    "levels": {
        "type": "array",
        "description": "counters as they are now, of all SKUs that one step changed, a hundred at most in a message: "
        "[sku, location, on_hand, held, sold, exposed, safety, seq, free]",
        "items": {
            "type": "array",
            "prefixItems": [_TEXT, _TEXT, _NUMBER, *[_COUNT] * 6],
            "items": False,
            "minItems": 9,
        },
    },
    "sale": _TEXT | {"description": "the sale's name"},
    "start_ms": _COUNT | {"description": "from when on, ms since 1970"},
    "end_ms": _COUNT | {"description": "until before when, ms since 1970"},
    "exposures": {
        "type": "array",
        "description": "what the channel may have sold unseen or may still sell: [sku, units before, units now]",
        "items": {"type": "array", "prefixItems": [_TEXT, _COUNT, _COUNT], "items": False, "minItems": 3},
    },
    "components": {
        "type": "array",
        "description": "what a kit consists of: [sku, units]; none: it is no kit any more",
        "items": {"type": "array", "prefixItems": [_TEXT, _COUNT], "items": False, "minItems": 2},
    },
    "skus": {"type": "array", "description": "which SKUs", "items": _TEXT},
    "entries": _COUNT | {"description": "how many SKUs"},
    "receipt": _TEXT | {"description": "id of the receipt"},
    "deficit": _COUNT | {"description": "units promised beyond the count"},
    "hold": _TEXT | {"description": "the hold's id"},
    "channel": _TEXT | {"description": "the sales channel's name"},
    "expires_ms": _COUNT | {"description": "when the hold ends, ms since 1970"},
    "order": {
        "type": "object",
        "description": "which order",
        "properties": {"channel": _TEXT, "id": _TEXT},
        "required": ["channel", "id"],
    },
    "item": {"enum": ["create", "cancel", "amend"], "description": "the order itself, or what followed its delivery"},
    "state": _TEXT | {"description": "where the item stands now; see docs/lifecycle.md"},
    "backend": _TEXT | {"description": "the backend's name"},
    "backend_ref": _TEXT | {"description": "the backend's own id of the order, where it told one"},
    "version": _COUNT | {"description": "which version of the order or sale is known"},
    "sends": _COUNT | {"description": "how often it was sent"},
    "reason": _TEXT | {"description": "why, in words"},
    "by": _TEXT | {"description": "which human, by the name of the token"},
    "demand": {
        "enum": ["disclose", "erase", "erase_shop", "uninstall"],
        "description": "what is demanded; see docs/privacy.md",
    },
    "demand_id": _TEXT | {"description": "id of the demand"},
    "quarantine": _TEXT | {"description": "id of the quarantined body"},
    "wait_ms": _COUNT | {"description": "how long it is left alone"},
    "alert": {"type": "boolean", "description": "whether a human must mend something"},
    "alert_id": _TEXT | {"description": "the same from an alert's beginning to its end"},
    "trouble": _TEXT | {"description": "what is wrong, in one word; see docs/alerts.md"},
    "subject": _TEXT | {"description": "what it is about: a backend, a channel, a SKU, a pool ..."},
    "severity": {"enum": ["critical", "warning"], "description": "how soon somebody should look"},
    "text": _TEXT | {"description": "what is wrong, in words"},
    "mend": _TEXT | {"description": "what to do"},
    "since_ms": _COUNT | {"description": "since when, ms since 1970"},
    "facts": {"type": "object", "description": "what more is known of it"},
    "before": {"description": "what it was"},
    "after": {"description": "what it is"},
    "uses": {
        "type": "array",
        "description": "changes of what counts against quotas and limits of sales: [field, units]; the field is q (a "
        "sale and a SKU), c (with a customer's keyed hash) or t (a sale and that hash), its parts separated by 0x1f",
        "items": {"type": "array", "prefixItems": [_TEXT, _NUMBER], "items": False, "minItems": 2},
    },
    "moves": {
        "type": "array",
        "description": "changes of counters: [sku, location, on_hand, held, sold, exposed, safety]; all moves of all "
        "events add up to the counters",
        "items": {
            "type": "array",
            "prefixItems": [_TEXT, _TEXT, *[_NUMBER] * 5],
            "items": False,
            "minItems": 7,
        },
    },
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of every message; subscribers must tolerate members and kinds that are new to them."""
    kinds = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {
                "description": fact.says,
                "properties": {name: MEMBERS[name] for name in (*fact.always, *fact.maybe)},
                "required": list(fact.always),
            },
        }
        for kind, fact in KINDS.items()
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of flashd",
        "type": "object",
        "properties": {
            "v": {"const": VERSION},
            "id": {"type": "string", "pattern": r"^\d+-\d+$", "description": "id in the stream fd:{<pool>}:j"},
            "at": {"type": "string", "format": "date-time"},
            "kind": {"type": "string", "pattern": rf"^({'|'.join(Topic)})\.[a-z_]+$"},
            "pool": {"type": "string"},
        },
        "required": ["v", "id", "at", "kind", "pool"],
        "allOf": kinds,
    }
