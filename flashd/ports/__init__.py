"""
The doors between rooms: what actors, web and the composition root may ask of each other, as small Protocols.

A port's conformance suite stands in tests/conformance, and the fakes of the tests pass it too. `Eraser`, `Intake`,
`Feed` and `StoreWatch` have one implementation each, held by tests of their own rooms.
"""

from flashd.ports.alerts import AlertBook, AlertChange, AlertPage, Messenger, Sent, SentCode
from flashd.ports.backend import Backend, BatchingBackend, CountingBackend
from flashd.ports.channel import Channel, Intake, NativeChannel, Receipt, Unreadable, Unrelated
from flashd.ports.channel_api import (
    ApiTraits,
    ChannelApi,
    Figure,
    FigureWrite,
    FigureWritten,
    OrderPage,
    Polled,
    Price,
    PriceWrite,
    RestoringApi,
    Subscription,
    WriteCode,
)
from flashd.ports.channel_book import ChannelBook, PollMark
from flashd.ports.clock import Clock
from flashd.ports.feed import Announcer, Feed, Skimmed, Skimmer, StoreHealth, StoreWatch
from flashd.ports.ledger import Headcount, OrderBook, Quarantined, StockLedger
from flashd.ports.listings import Dirty, Listings
from flashd.ports.outflow import BackendGate, Depth, Drop, GateStatus, Outbox
from flashd.ports.privacy import Eraser
from flashd.ports.sales import PriceBook, Sales
from flashd.ports.soon import Soon
from flashd.ports.stockroom import Stockroom

__all__ = [
    "AlertBook",
    "AlertChange",
    "AlertPage",
    "Announcer",
    "ApiTraits",
    "Backend",
    "BackendGate",
    "BatchingBackend",
    "Channel",
    "ChannelApi",
    "ChannelBook",
    "Clock",
    "CountingBackend",
    "Depth",
    "Dirty",
    "Drop",
    "Eraser",
    "Feed",
    "Figure",
    "FigureWrite",
    "FigureWritten",
    "GateStatus",
    "Headcount",
    "Intake",
    "Listings",
    "Messenger",
    "NativeChannel",
    "OrderBook",
    "OrderPage",
    "Outbox",
    "PollMark",
    "Polled",
    "Price",
    "PriceBook",
    "PriceWrite",
    "Quarantined",
    "Receipt",
    "RestoringApi",
    "Sales",
    "Sent",
    "SentCode",
    "Skimmed",
    "Skimmer",
    "Soon",
    "StockLedger",
    "Stockroom",
    "StoreHealth",
    "StoreWatch",
    "Subscription",
    "Unreadable",
    "Unrelated",
    "WriteCode",
]
