"""Buyers at a real Vendure shop: the calls of its shop API that a storefront makes between the cart and the payment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

ADD = """mutation ($variant: ID!, $units: Int!) { addItemToOrder(productVariantId: $variant, quantity: $units) {
  __typename ... on Order { code } ... on ErrorResult { errorCode message } } }"""
WHO = """mutation ($email: String!) { setCustomerForOrder(
  input: { firstName: "Ada", lastName: "Buyer", emailAddress: $email }) {
  __typename ... on ErrorResult { errorCode message } } }"""
WHERE = """mutation { setOrderShippingAddress(
  input: { fullName: "Ada Buyer", streetLine1: "Lane 1", city: "Springfield", postalCode: "1", countryCode: "US" }) {
  __typename ... on ErrorResult { errorCode message } } }"""
HOW = "query { eligibleShippingMethods { id } }"
SHIP = """mutation ($method: ID!) { setOrderShippingMethod(shippingMethodId: [$method]) {
  __typename ... on ErrorResult { errorCode message } } }"""
READY = """mutation { transitionOrderToState(state: "ArrangingPayment") {
  __typename ... on OrderStateTransitionError { errorCode message transitionError } } }"""
BACK = """mutation { transitionOrderToState(state: "AddingItems") {
  __typename ... on OrderStateTransitionError { errorCode message transitionError } } }"""
PAY = """mutation { addPaymentToOrder(input: { method: "demo", metadata: {} }) {
  __typename ... on Order { code state } ... on ErrorResult { errorCode message }
  ... on IneligiblePaymentMethodError { eligibilityCheckerMessage } } }"""


@dataclass
class Rush:
    """What became of everybody who went to the till."""

    took_s: float = 0.0
    codes: list[str] = field(default_factory=list)  # of the orders that the shop said were paid
    refused: Counter[str] = field(default_factory=Counter)  # by what the buyer was told
    errors: Counter[str] = field(default_factory=Counter)  # what no buyer should see


class RefusedError(Exception):
    """The shop said no, in words for the buyer."""


class Buyer:
    """One visitor with a session of the shop's own."""

    def __init__(self, session: aiohttp.ClientSession, url: str, number: int) -> None:
        self._session = session
        self._url = f"{url}/shop-api"
        self._token = ""
        self._email = f"buyer-{number}@example.com"
        self.code = ""  # of the order, as soon as there is a cart

    async def fill_cart(self, variant: str, units: int = 1) -> None:
        self.code = (await self._change(ADD, variant=variant, units=units))["code"]
        await self._change(WHO, email=self._email)
        await self._change(WHERE)
        methods = (await self._ask(HOW))["eligibleShippingMethods"]
        await self._change(SHIP, method=methods[0]["id"])

    async def go_to_the_till(self) -> None:
        await self._change(READY)

    async def go_back(self) -> None:
        await self._change(BACK)

    async def pay(self) -> str:
        """Return the code of the paid order."""
        paid = await self._change(PAY)
        if paid.get("state") != "PaymentSettled":
            raise RuntimeError(f"the order is in state {paid.get('state')}")
        return str(paid["code"])

    async def _change(self, mutation: str, **variables: Any) -> dict[str, Any]:
        (answer,) = (await self._ask(mutation, **variables)).values()
        if "errorCode" in answer:
            raise RefusedError(
                answer.get("transitionError") or answer.get("eligibilityCheckerMessage") or answer["message"]
            )
        return dict(answer)

    async def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self._token}"} if self._token else {}
        body = {"query": query, "variables": variables}
        async with self._session.post(self._url, json=body, headers=headers) as response:
            answer = await response.json()
            self._token = response.headers.get("vendure-auth-token", self._token)
        if answer.get("errors"):
            raise RuntimeError(answer["errors"][0]["message"])
        return dict(answer["data"])


async def rush(url: str, variant: str, count: int, *, within_s: float = 180) -> Rush:
    """Let *count* buyers go from an empty cart to the payment, all at once."""
    seen = Rush()
    timeout = aiohttp.ClientTimeout(total=within_s)
    # Node closes an idle connection after five seconds; a browser would notice and ask again, aiohttp does not.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    began_s = time.monotonic()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        buyers = [Buyer(session, url, number) for number in range(count)]
        await asyncio.gather(*(_check_out(buyer, variant, seen) for buyer in buyers))
    seen.took_s = time.monotonic() - began_s
    return seen


async def _check_out(buyer: Buyer, variant: str, seen: Rush) -> None:
    try:
        await buyer.fill_cart(variant)
        await buyer.go_to_the_till()
        seen.codes.append(await buyer.pay())
    except RefusedError as no:
        seen.refused[str(no)] += 1
    except (aiohttp.ClientError, TimeoutError, RuntimeError, ValueError) as error:
        seen.errors[f"{type(error).__name__}: {error}"[:200]] += 1
