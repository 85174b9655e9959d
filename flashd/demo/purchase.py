"""What the simulated customers do: purchases, each a short life of one or more versions, planned from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum

import msgspec

BLOCKED = "RECALLED-01"  # an article that the simulated ERP refuses for good


class Shop(StrEnum):
    """The sales channels of the demo, by the names they have in its flashd.toml."""

    SHOPIFY = "shop"
    WOOCOMMERCE = "woo"
    STANDARD = "store"
    TILL = "till"


class Stage(StrEnum):
    """What one version of a purchase says."""

    PENDING = "pending"  # ordered, not paid
    PAID = "paid"
    CANCELLED = "cancelled"


class Article(msgspec.Struct, frozen=True):
    """Something to buy."""

    sku: str
    title: str
    price: int  # cents


CATALOGUE = (
    Article("TEE-BLK-M", "T-shirt, black, M", 1990),
    Article("TEE-BLK-L", "T-shirt, black, L", 1990),
    Article("MUG-0.3L", "Mug 0.3 l", 1250),
    Article("HOODIE-GRY", "Hoodie, grey", 5900),
    Article("POSTER A2", "Poster A2 (signed)", 2400),
)
RECALLED = Article(BLOCKED, "Lamp (recalled)", 3300)


class BasketLine(msgspec.Struct, frozen=True):
    """Units of one article in a basket."""

    article: Article
    quantity: int
    discount: int = 0  # cents, of the whole line


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a purchase, as its shop tells it."""

    number: int  # rises with every change
    stage: Stage
    after_s: int  # seconds between the order and this change, as the shop's clock tells
    lines: tuple[BasketLine, ...]
    shipping: int
    tax: int

    @property
    def total(self) -> int:
        """What the customer pays, in cents."""
        goods = sum(line.article.price * line.quantity - line.discount for line in self.lines)
        return goods + self.shipping + self.tax


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """One customer's order, and how its news travels."""

    shop: Shop
    number: int
    versions: tuple[Version, ...]
    sequence: tuple[int, ...]  # indexes into versions, in the order of sending: repeated, and not always oldest first
    together: bool = False  # the repeats arrive at the same moment
    think_s: float = 0.0
    abandons: bool = False  # till: leaves the basket (its hold runs out)
    releases: bool = False  # till: puts everything back


def plan(seed: int, count: int, *, with_blocked: bool = False) -> list[Purchase]:
    """Return *count* purchases; the same seed plans the same."""
    dice = random.Random(f"purchases {seed}")  # noqa: S311  # repeatable on purpose
    shops = [Shop.SHOPIFY] * 4 + [Shop.WOOCOMMERCE] * 2 + [Shop.STANDARD] * 2 + [Shop.TILL] * 3
    purchases = [_purchase(dice, dice.choice(shops), number) for number in range(1, count + 1)]
    if with_blocked:
        for place in dice.sample(range(count), k=min(2, count)):
            old = purchases[place]
            lines = (BasketLine(RECALLED, 1),)
            version = Version(number=1, stage=Stage.PAID, after_s=0, lines=lines, shipping=0, tax=0)
            purchases[place] = Purchase(shop=old.shop, number=old.number, versions=(version,), sequence=(0,))
    return purchases


def _purchase(dice: random.Random, shop: Shop, number: int) -> Purchase:
    lines = _basket(dice, with_discount=shop is Shop.SHOPIFY)
    versions = tuple(_versions(dice, shop, lines))
    if shop is Shop.TILL:
        fate = dice.random()
        return Purchase(
            shop=shop,
            number=number,
            versions=versions,
            sequence=(0,) * dice.choice((1, 1, 1, 2)),
            think_s=dice.uniform(0.05, 0.6),
            abandons=fate < 0.12,
            releases=0.12 <= fate < 0.2,
        )
    sequence = [index for index in range(len(versions)) for _ in range(dice.choice((1, 1, 2, 3)))]
    if dice.random() < 0.4:
        dice.shuffle(sequence)
    return Purchase(
        shop=shop,
        number=number,
        versions=versions,
        sequence=tuple(sequence),
        together=dice.random() < 0.3,
        think_s=dice.uniform(0.0, 0.4),
    )


def _basket(dice: random.Random, *, with_discount: bool) -> tuple[BasketLine, ...]:
    articles: Sequence[Article] = dice.sample(CATALOGUE, dice.choice((1, 1, 2, 3)))
    discount = 100 if with_discount and dice.random() < 0.2 else 0
    return tuple(
        BasketLine(article, dice.choice((1, 1, 1, 2, 3)), discount if index == 0 else 0)
        for index, article in enumerate(articles)
    )


def _versions(dice: random.Random, shop: Shop, lines: tuple[BasketLine, ...]) -> list[Version]:
    shipping = dice.choice((0, 495))
    tax = 135 if shop is Shop.WOOCOMMERCE else 0
    first = Version(number=1, stage=Stage.PAID, after_s=0, lines=lines, shipping=shipping, tax=tax)
    fate = dice.random()
    if shop is Shop.TILL or fate < 0.7:
        return [first]
    if fate < 0.8:  # paid a moment later
        pending = msgspec.structs.replace(first, stage=Stage.PENDING)
        return [pending, msgspec.structs.replace(first, number=2, after_s=2)]
    if fate < 0.88:  # changed before it was paid
        pending = msgspec.structs.replace(
            first,
            stage=Stage.PENDING,
            lines=(*(msgspec.structs.replace(line, quantity=line.quantity + 1) for line in lines[:1]), *lines[1:]),
        )
        return [pending, msgspec.structs.replace(first, number=2, after_s=2)]
    # cancelled later, or within the second of its payment: the platforms' times are whole seconds
    return [first, msgspec.structs.replace(first, number=2, stage=Stage.CANCELLED, after_s=dice.choice((0, 3)))]
