"""The simulated Shopify does what the vendor documents; its bodies have what the recorded ones have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from flashd.channels import shopify
from flashd.channels.shopify import orders
from flashd.demo.signatures import shop_signature
from flashd.domain.order import Effect, Incoming
from tests.channels.bodies import recorded
from tests.shops.receiver import Receiver
from tests.shops.shopify import SimulatedShopify
from tests.until import until

SET = """
mutation($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { createdAt changes { delta } } userErrors { code field message }
  }
}
"""


@asynccontextmanager
async def shop(tmp_path: Path, *switches: str) -> AsyncIterator[SimulatedShopify]:
    made = SimulatedShopify(tmp_path, *switches).start()
    try:
        async with made:
            yield made
    finally:
        made.close()


def quantity(made: dict[str, Any], place: int, units: int, was: int | None) -> dict[str, Any]:
    return {
        "inventoryItemId": f"gid://shopify/InventoryItem/{made['products'][place]['item']}",
        "locationId": f"gid://shopify/Location/{made['locations'][0]}",
        "quantity": units,
        "changeFromQuantity": was,
    }


async def put(shop: SimulatedShopify, key: str, *quantities: dict[str, Any]) -> Any:
    told = {"name": "available", "reason": "correction", "quantities": list(quantities)}
    answer = await shop.graphql(SET, {"input": told, "key": key})
    return answer["data"]["inventorySetQuantities"] if answer.get("data") else answer


def codes(payload: dict[str, Any]) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


async def test_it_sells_from_its_own_stock_and_never_below_zero(tmp_path: Path) -> None:
    async with shop(tmp_path, "--locations", "2") as there:
        await there.create({"sku": "A", "stock": [1, 2]}, {"sku": "LOOSE", "stock": 0, "policy": "CONTINUE"})
        sold = await asyncio.gather(*(there.sell("A") for _ in range(8)))
        assert sum(order is not None for order in sold) == 3
        assert await there.sell("LOOSE", 2) is not None
        books = await there.books()
    levels = {(level["sku"], level["location"] % 10): level for level in books["levels"]}
    assert {key: level["available"] for key, level in levels.items()} == {
        ("A", 1): 0,
        ("A", 2): 0,
        ("LOOSE", 1): 0,
        ("LOOSE", 2): -2,
    }
    assert levels["A", 2]["committed"] == 2
    assert [entry[2:] for entry in levels["A", 2]["history"]] == [[0, 2], [2, 1], [1, 0]]
    assert len({order["id"] for order in books["orders"]}) == 4


async def test_a_stale_compare_changes_nothing_of_the_whole_call(tmp_path: Path) -> None:
    async with shop(tmp_path) as there:
        made = await there.create({"sku": "A", "stock": 5}, {"sku": "B", "stock": 5})
        stale = await put(there, "k1", quantity(made, 0, 9, 5), quantity(made, 1, 9, 4))
        assert (codes(stale), stale["userErrors"][0]["field"]) == (
            ["CHANGE_FROM_QUANTITY_STALE"],
            ["input", "quantities", "1", "changeFromQuantity"],
        )
        assert [await there.available(sku) for sku in "AB"] == [5, 5]
        fine = await put(there, "k2", quantity(made, 0, 9, 5), quantity(made, 1, 2, None))
        assert codes(fine) == []
        assert [change["delta"] for change in fine["inventoryAdjustmentGroup"]["changes"]] == [4, -3]
        assert [await there.available(sku) for sku in "AB"] == [9, 2]


async def test_the_same_key_applies_once_and_tells_the_same_again(tmp_path: Path) -> None:
    async with shop(tmp_path) as there:
        made = await there.create({"sku": "A", "stock": 5})
        first = await put(there, "k1", quantity(made, 0, 10, 5))
        assert [await there.sell("A") is not None for _ in range(5)] == [True] * 5
        again = await put(there, "k1", quantity(made, 0, 10, 5))
        assert again == first
        assert await there.available("A") == 5  # and not 10: five of the ten were sold meanwhile
        assert codes(await put(there, "k1", quantity(made, 0, 10, 6))) == ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH"]
        assert codes(await put(there, "k3", quantity(made, 0, 1, 9))) == ["CHANGE_FROM_QUANTITY_STALE"]
        assert codes(await put(there, "k3", quantity(made, 0, 1, 9))) == ["IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"]


async def test_a_lost_reply_was_applied_and_a_reset_was_not(tmp_path: Path) -> None:
    async with shop(tmp_path) as there:
        made = await there.create({"sku": "A", "stock": 5})
        await there.faults(lose_next=1)
        with pytest.raises(aiohttp.ClientError):
            await put(there, "k1", quantity(made, 0, 7, 5))
        assert await there.available("A") == 7
        await there.faults(reset_next=1)
        with pytest.raises(aiohttp.ClientError):
            await put(there, "k2", quantity(made, 0, 8, 7))
        assert await there.available("A") == 7
        assert codes(await put(there, "k1", quantity(made, 0, 7, 5))) == []
        assert (await there.stats())["calls"]["repeated"] == 1


async def test_cost_is_counted_and_an_empty_bucket_throttles(tmp_path: Path) -> None:
    query = "{ productVariants(first: 40) { nodes { id } } }"
    async with shop(tmp_path, "--points", "60", "--restore", "20") as there:
        await there.create(*({"sku": f"S{n}", "stock": 1} for n in range(3)))
        answer = await there.graphql(query)
        cost = answer["extensions"]["cost"]
        assert (cost["requestedQueryCost"], cost["actualQueryCost"]) == (42, 4)
        assert cost["throttleStatus"] == {"maximumAvailable": 60.0, "currentlyAvailable": 56, "restoreRate": 20.0}
        made = await there.create({"sku": "A", "stock": 1})
        while "errors" not in (answer := await put(there, "k", quantity(made, 0, 1, None))):
            pass
        assert answer["errors"] == [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]
        assert answer["extensions"]["cost"]["actualQueryCost"] is None
        dear = await there.graphql(
            "{ orders(first: 250, sortKey: UPDATED_AT) { nodes { lineItems(first: 9) { nodes { id }}}}}"
        )
        assert dear["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"


WRONG = {
    "{ shop { nmae } }": "Field 'nmae' doesn't exist on type 'Shop'",
    "{ shop(x: 1) { name } }": "Field 'shop' doesn't accept argument 'x'",
    "{ orders { nodes { id } } }": "you must provide `first` of 1 to 250 to 'orders'",
    "{ shop { name }": "syntax error, unexpected end of file",
    "query($id: ID!) { node(id: $id) { id } }": "Variable $id was provided invalid value",
    "{ shop { ...Some } }": "Fragment Some was used, but not defined",
    "{ shop }": "Field must have selections (field 'shop' returns Shop)",
}


async def test_what_is_not_in_the_schema_is_an_error_of_graphql(tmp_path: Path) -> None:
    async with shop(tmp_path) as there:
        told = {query: (await there.graphql(query))["errors"][0]["message"] for query in WRONG}
        assert told == WRONG
        refused = await there.graphql("{ shop { name } }", token="wrong")
        assert refused["errors"].startswith("[API] Invalid API key or access token")


async def test_an_unknown_field_of_a_mutation_is_noticed_before_anything_is_changed(tmp_path: Path) -> None:
    async with shop(tmp_path) as there:
        made = await there.create({"sku": "A", "stock": 5})
        told = {"name": "available", "reason": "correction", "quantities": [quantity(made, 0, 9, 5)]}
        answer = await there.graphql(SET.replace("delta", "dalte"), {"input": told, "key": "k"})
        assert "doesn't exist" in answer["errors"][0]["message"]
        assert await there.available("A") == 5


async def test_orders_are_listed_by_their_last_change_page_by_page(tmp_path: Path) -> None:
    query = """query($q: String, $after: String) { orders(first: 2, sortKey: UPDATED_AT, query: $q, after: $after) {
        nodes { legacyResourceId updatedAt } pageInfo { hasNextPage endCursor } } }"""
    async with shop(tmp_path, "--distinct-times") as there:
        await there.create({"sku": "A", "stock": 9})
        orders = [await there.sell("A") for _ in range(3)]
        ids = [str(order["id"]) for order in orders if order]
        assert len(ids) == 3
        await there.mark(int(ids[0]), tags=["late"])
        first = (await there.graphql(query))["data"]["orders"]
        after = {"after": first["pageInfo"]["endCursor"]}
        second = (await there.graphql(query, after))["data"]["orders"]
        last = second["nodes"][-1]
        since = (await there.graphql(query, {"q": f"updated_at:>='{last['updatedAt']}'"}))["data"]["orders"]
    assert [node["legacyResourceId"] for node in first["nodes"] + second["nodes"]] == [ids[1], ids[2], ids[0]]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert since["nodes"] == [last]


# ------------------------------------------------------------------------------------------------------------ webhooks


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


async def settled(there: SimulatedShopify) -> dict[str, Any]:
    """Wait until no webhook is on its way; one that is dropped four times in a row waits for seconds."""
    async with asyncio.timeout(60):
        while True:
            told: dict[str, Any] = (await there.stats())["webhooks"]
            if not told["on_their_way"]:
                return told
            await asyncio.sleep(0.01)


async def test_a_sale_is_told_in_a_signed_webhook(tmp_path: Path, receiver: Receiver) -> None:
    async with shop(tmp_path) as there:
        await there.create({"sku": "A", "stock": 5})
        await there.subscribe(receiver.url, ["orders/create", "inventory_levels/update"])
        sold = await there.sell("A", 2)
        await until(lambda: len(receiver.messages) == 2, "both webhooks")
        told = {message.headers["x-shopify-topic"]: message for message in receiver.messages}
        secret = there.secret
    assert msgspec.json.decode(told["orders/create"].body) == sold
    assert msgspec.json.decode(told["inventory_levels/update"].body)["available"] == 3
    for message in told.values():
        assert message.headers["x-shopify-hmac-sha256"] == shop_signature(secret, message.body)
        assert message.headers["x-shopify-api-version"] == "2026-10"
        assert message.headers["x-shopify-webhook-id"] != message.headers["x-shopify-event-id"]


async def test_after_eight_repeats_the_subscription_is_deleted(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 500
    async with shop(tmp_path, "--shrink", "0") as there:
        await there.create({"sku": "A", "stock": 5})
        await there.subscribe(receiver.url, ["orders/create"])
        await there.sell("A")
        await until(lambda: len(receiver.messages) == 9, "nine attempts")
        told = await settled(there)
    assert (
        told["failed"],
        told["deleted"],
        told["subscriptions"],
        len({message.body for message in receiver.messages}),
    ) == (9, 1, [], 1)


async def test_webhooks_are_dropped_and_doubled_as_the_dice_say_and_sold_is_sold(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with shop(tmp_path, "--seed", "4", "--shrink", "0.01") as there:
        await there.create({"sku": "A", "stock": 100})
        await there.subscribe(receiver.url, ["orders/create"])
        await there.faults(webhooks={"drop": 0.2, "double": 0.2, "delay_ms": [0, 20]})
        await asyncio.gather(*(there.sell("A") for _ in range(60)))
        told = await settled(there)
        await there.faults(webhooks={"off": True})
        await there.sell("A")
        assert await there.available("A") == 39
    assert told["dropped"] > 0
    assert told["doubled"] > 0
    assert told["delivered"] == len(receiver.messages) == 60 - told["dropped"] + told["doubled"]


async def test_subscriptions_are_made_and_listed_by_the_api(tmp_path: Path) -> None:
    create = """mutation($topic: WebhookSubscriptionTopic!, $it: WebhookSubscriptionInput!) {
        webhookSubscriptionCreate(topic: $topic, webhookSubscription: $it) {
          webhookSubscription { id } userErrors { field message } } }"""
    told = {"topic": "ORDERS_CREATE", "it": {"uri": "https://flashd.example.com/webhooks/shop"}}
    async with shop(tmp_path) as there:
        for errors in ([], ["Address for this topic has already been taken"]):
            made = (await there.graphql(create, told))["data"]["webhookSubscriptionCreate"]
            assert [error["message"] for error in made["userErrors"]] == errors
        listed = await there.graphql("{ webhookSubscriptions(first: 9) { nodes { topic uri } } }")
        assert listed["data"]["webhookSubscriptions"]["nodes"] == [{"topic": "ORDERS_CREATE", "uri": told["it"]["uri"]}]  # type: ignore[index]  # a dict


# ----------------------------------------------------------------------------------- against what was really recorded


def shape(value: Any) -> str:
    """Return the kind of a JSON value; numbers are whole, and null may stand for anything."""
    return type(value).__name__


def differences(path: str, ours: Any, theirs: Any) -> list[str]:
    """Return which members of *ours* the recorded body lacks, or has of another kind."""
    if ours is None or theirs is None:
        return []
    if shape(ours) != shape(theirs):
        return [f"{path}: {shape(ours)}, recorded {shape(theirs)}"]
    found = []
    if isinstance(ours, dict):
        for name, value in ours.items():
            if name not in theirs:
                found.append(f"{path}.{name} is not in the recorded body")
            else:
                found += differences(f"{path}.{name}", value, theirs[name])
    if isinstance(ours, list) and ours and theirs:
        found += differences(f"{path}[]", ours[0], theirs[0])
    return found


async def test_its_bodies_have_the_members_and_kinds_of_the_recorded_ones(tmp_path: Path) -> None:
    async with shop(tmp_path) as there:
        await there.create({"sku": "A", "stock": 5, "price": 1990})
        order = await there.sell(lines=[{"sku": "A", "quantity": 2, "discount": 100}], shipping=490, tags=["x"])
        assert order is not None
        order = await there.refund(order["id"], {"A": 1})
        wanted = recorded("shopify-docs/orders__create.json")
        wanted["line_items"] = [line for line in wanted["line_items"] if line["sku"]]
        assert differences("$", order, wanted) == []
        read = {field.encode_name for field in msgspec.structs.fields(orders._Order)}
        assert read - set(order) == set(), "what flashd reads must be there"
        assert {name: shape(order[name]) for name in ("id", "total_price", "tags", "created_at")} == {
            "id": "int",
            "total_price": "str",
            "tags": "str",
            "created_at": "str",
        }


async def test_flashd_understands_every_state_of_an_order(tmp_path: Path) -> None:
    def read(order: dict[str, Any] | None) -> Incoming:
        assert order is not None
        found = shopify.decode_order(msgspec.json.encode(order), "shop", shopify.Config(kind="shopify"))
        assert isinstance(found, Incoming)
        assert found.reason == ""
        return found

    async with shop(tmp_path, "--distinct-times") as there:
        await there.create({"sku": "A", "stock": 9, "price": 1990}, {"sku": "B", "stock": 9, "price": 333})
        lines = [{"sku": "A", "quantity": 3, "discount": 100}, {"sku": "B", "quantity": 1}]
        placed = await there.sell(lines=lines, shipping=490, status="pending", buyer="Noor Vance")
        assert placed is not None
        told = [
            read(placed),
            read(await there.mark(placed["id"], status="paid")),
            read(await there.refund(placed["id"], {"A": 1})),
            read(await there.edit(placed["id"], {"B": 2})),
            read(await there.cancel(placed["id"])),
        ]
        assert [await there.available(sku) for sku in "AB"] == [9, 9]
    assert [one.effect for one in told] == [
        Effect.WAIT,
        Effect.DELIVER,
        Effect.DELIVER,
        Effect.DELIVER,
        Effect.CANCEL,
    ]
    assert [one.version for one in told] == sorted({one.version for one in told})
    assert [line.quantity for line in told[3].order.lines] == [1, 2]
    assert (told[0].order.total, told[3].order.total) == (3 * 1990 - 100 + 333 + 490, 1990 - 33 + 666 + 490)
