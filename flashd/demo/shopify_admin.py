"""
The Admin GraphQL API of the simulated Shopify: what it answers, what a call costs, and what it does only once.

Facts: shopify.dev/docs/api/admin-graphql (objects, error codes), .../usage/implementing-idempotency (the same key and
the same variables give the first answer again), .../graphql-admin/rate-limits (cost, ``throttleStatus``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flashd.demo.graphql import MUTATION_COST, Field, GraphqlError, Operation, execute, parse
from flashd.demo.shopify_body import gid, graph_time, number_of
from flashd.demo.shopify_books import Books, Level
from flashd.demo.shopify_reading import Reading, subscription
from flashd.demo.shopify_schema import SCHEMA
from flashd.demo.shopify_webhooks import Webhooks

QUERY_AT_MOST = 1000  # points of one query, whatever is in the bucket
QUANTITIES_AT_MOST = 250  # members of an input array
_REASONS = frozenset(
    {"correction", "cycle_count_available", "other", "received", "restock", "safety_stock", "shrinkage"}
)


class Bucket:
    """The leaky bucket of points: filled with ``restoreRate`` a second, up to ``maximumAvailable``."""

    def __init__(self, maximum: float, restore: float) -> None:
        self.maximum = maximum
        self.restore = restore
        self._there = maximum
        self._at = time.monotonic()

    def _fill(self) -> None:
        now = time.monotonic()
        self._there = min(self.maximum, self._there + (now - self._at) * self.restore)
        self._at = now

    def holds(self, points: float) -> bool:
        """Say whether a call of that cost may run now."""
        self._fill()
        return self._there >= min(points, self.maximum)

    def take(self, points: float) -> None:
        """Take what a call has cost."""
        self._there = max(0.0, self._there - points)

    def status(self) -> dict[str, float]:
        """Return the ``throttleStatus``."""
        self._fill()
        there = int(self._there)
        return {"maximumAvailable": self.maximum, "currentlyAvailable": there, "restoreRate": self.restore}


class Admin:
    """The API over the shop's books."""

    def __init__(self, books: Books, webhooks: Webhooks, bucket: Bucket) -> None:
        self._books = books
        self._webhooks = webhooks
        self._bucket = bucket
        self.reading = Reading(books, webhooks)
        self._once: dict[str, tuple[bytes, dict[str, Any]]] = {}  # key -> (variables, answer)
        self._groups = 0
        self.calls: Counter[str] = Counter()

    def answer(self, query: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call; errors of GraphQL are answers too."""
        try:
            operation, cost = _understood(query, variables)
        except GraphqlError as refusal:
            self.calls["refused"] += 1
            return {"errors": [refusal.shown()]}
        if not self._bucket.holds(cost):
            self.calls["throttled"] += 1
            errors = [GraphqlError("Throttled", "THROTTLED").shown()]
            return {"errors": errors, "extensions": self._extensions(cost, None)}
        self.calls.update(field.name for field in operation.selection)
        try:
            data, spent = self._run(operation)
        except GraphqlError as error:
            return {"data": None, "errors": [error.shown()], "extensions": self._extensions(cost, 0)}
        actual = MUTATION_COST * len(operation.selection) if operation.kind == "mutation" else spent
        self._bucket.take(actual)
        return {"data": data, "extensions": self._extensions(cost, actual)}

    def _extensions(self, requested: int, actual: int | None) -> dict[str, Any]:
        status = self._bucket.status()
        return {"cost": {"requestedQueryCost": requested, "actualQueryCost": actual, "throttleStatus": status}}

    def _run(self, operation: Operation) -> tuple[dict[str, Any], int]:
        spent = [0]
        if operation.kind == "query":
            return execute(operation.selection, self.reading.root(), spent), spent[0]
        found: dict[str, Any] = {}
        for field in operation.selection:
            payload = self._mutate(field)
            found[field.alias or field.name] = execute(field.selection, payload, spent)
        return found, spent[0]

    # ------------------------------------------------------------------------------------------------------ mutations

    def _mutate(self, field: Field) -> dict[str, Any]:
        does: dict[str, Callable[..., dict[str, Any]]] = {
            "inventorySetQuantities": self._set_quantities,
            "productVariantsBulkUpdate": self._update_variants,
            "webhookSubscriptionCreate": self._subscribe,
        }
        directive = field.directives.get("idempotent")
        if directive is None:
            return does[field.name](**field.arguments)
        key, asked = str(directive.get("key", "")), msgspec.json.encode(field.arguments, order="sorted")
        if not key:
            raise GraphqlError("Directive 'idempotent' is missing required arguments: key", "missingRequiredArguments")
        known = self._once.get(key)
        if known is None:
            answer = does[field.name](**field.arguments)
            self._once[key] = (asked, answer)
            return answer
        if known[0] != asked:
            return _refusal(
                "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
                "The same idempotency key cannot be used with different operation parameters.",
            )
        if known[1]["userErrors"]:
            return _refusal(
                "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "A previous request with this idempotency key failed."
            )
        self.calls["repeated"] += 1
        return known[1]

    def _set_quantities(self, input: Mapping[str, Any]) -> dict[str, Any]:  # noqa: A002  # the vendor's name
        """Set stock: every quantity of the call, or none."""
        wanted = input.get("quantities", [])
        if len(wanted) > QUANTITIES_AT_MOST:
            raise GraphqlError(f"The input array size of {len(wanted)} is greater than the maximum allowed of 250.")
        if input.get("name") != "available":
            return _refusal("INVALID_NAME", "The quantity name must be 'available'.", "name")
        if input.get("reason") not in _REASONS:
            return _refusal("INVALID_REASON", "The specified reason is invalid.", "reason")
        if len({(one["inventoryItemId"], one["locationId"]) for one in wanted}) < len(wanted):
            return _refusal("NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR", "The combination must be unique.")
        checked = [self._checked(place, one) for place, one in enumerate(wanted)]
        errors = [found for found in checked if isinstance(found, dict)]
        if errors:
            return {"inventoryAdjustmentGroup": None, "userErrors": errors}
        changes = []
        for level, one in zip(checked, wanted, strict=True):
            assert isinstance(level, Level)  # noqa: S101  # no error among them
            before = level.available
            self._books.set_available(level.item, level.location, one["quantity"], "api")
            changes.append({"name": "available", "delta": one["quantity"] - before, "quantityAfterChange": None})
            self._webhooks.level_changed(level)
        self._groups += 1
        group = {
            "id": gid("InventoryAdjustmentGroup", self._groups),
            "createdAt": graph_time(self._books.now()),
            "reason": input["reason"],
            "referenceDocumentUri": input.get("referenceDocumentUri"),
            "changes": changes,
        }
        return {"inventoryAdjustmentGroup": group, "userErrors": []}

    def _checked(self, place: int, one: Mapping[str, Any]) -> Level | dict[str, Any]:
        """Return the level that one quantity is about, or its user error."""
        where = ["input", "quantities", str(place)]
        item, location = number_of(one["inventoryItemId"], "InventoryItem"), number_of(one["locationId"], "Location")
        if "changeFromQuantity" not in one:
            raise GraphqlError("changeFromQuantity must be given to each quantity, if only as null", "BAD_USER_INPUT")
        if self._books.variant_of_item(item) is None:
            return _error(
                "INVALID_INVENTORY_ITEM",
                "The specified inventory item could not be found.",
                [*where, "inventoryItemId"],
            )
        if location not in self._books.locations:
            return _error("INVALID_LOCATION", "The specified location could not be found.", [*where, "locationId"])
        if one["quantity"] < 0:
            return _error("INVALID_QUANTITY_NEGATIVE", "The quantity can't be negative.", [*where, "quantity"])
        level = self._books.levels[item, location]
        if one["changeFromQuantity"] not in (None, level.available):
            return _error(
                "CHANGE_FROM_QUANTITY_STALE",
                "The changeFromQuantity argument no longer matches the persisted quantity.",
                [*where, "changeFromQuantity"],
            )
        return level

    def _update_variants(
        self,
        productId: str,  # noqa: N803  # the vendor's name
        variants: list[Mapping[str, Any]],
        allowPartialUpdates: bool = False,  # noqa: ARG002, FBT001, FBT002, N803  # as above; it is all or nothing
    ) -> dict[str, Any]:
        product = number_of(productId, "Product")
        found = [self._books.variants.get(number_of(one["id"], "ProductVariant")) for one in variants]
        for place, variant in enumerate(found):
            if variant is None or variant.product != product:
                errors = [_error("INVALID_INPUT", "Product variant does not exist", ["variants", str(place), "id"])]
                return {"product": None, "productVariants": [], "userErrors": errors}
        for variant, one in zip(found, variants, strict=True):
            assert variant is not None  # noqa: S101  # just looked
            if "price" in one:
                variant.price = _cents(one["price"])
            if "compareAtPrice" in one:
                variant.compare_at = None if one["compareAtPrice"] is None else _cents(one["compareAtPrice"])
            variant.policy = one.get("inventoryPolicy", variant.policy)
        changed = [self.reading.variant(variant) for variant in found if variant is not None]
        return {"product": self.reading.product(product), "productVariants": changed, "userErrors": []}

    def _subscribe(self, topic: str, webhookSubscription: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803  # as above
        made = self._webhooks.subscribe(topic, str(webhookSubscription.get("uri", "")))
        if made is None:
            errors = [
                _error("INVALID", "Address for this topic has already been taken", ["webhookSubscription", "uri"])
            ]
            return {"webhookSubscription": None, "userErrors": errors}
        return {"webhookSubscription": subscription(made), "userErrors": []}


def _understood(query: str, variables: Mapping[str, Any]) -> tuple[Operation, int]:
    operation = parse(query, variables)
    cost = SCHEMA.requested_cost(operation)
    if cost > QUERY_AT_MOST:
        raise GraphqlError(
            f"Query cost is {cost}, which exceeds the single query max cost limit ({QUERY_AT_MOST}).",
            "MAX_COST_EXCEEDED",
        )
    return operation, cost


def _cents(text: str) -> int:
    whole, _, fraction = str(text).partition(".")
    return int(whole) * 100 + int(fraction.ljust(2, "0")[:2])


def _error(code: str, message: str, field: list[str] | None) -> dict[str, Any]:
    return {"code": code, "field": field, "message": message}


def _refusal(code: str, message: str, *field: str) -> dict[str, Any]:
    errors = [_error(code, message, ["input", *field] if field else None)]
    return {"inventoryAdjustmentGroup": None, "product": None, "productVariants": None, "userErrors": errors}
