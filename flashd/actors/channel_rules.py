"""The words around the actors of a channel's figures: what they obey, and how the channels of a pool show stock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from flashd.config import ChannelConfig
from flashd.domain.listing import WriteMode
from flashd.domain.publication import PublishMode
from flashd.domain.rate import Rate
from flashd.domain.terms import SellingTerms
from flashd.ports import ChannelBook, Listings, Sales, StockLedger


@dataclass(frozen=True, kw_only=True)
class Display:
    """How one channel shows stock: what the rebalancer must know of each channel at the table."""

    channel: str
    write: WriteMode
    terms: SellingTerms

    @property
    def mode(self) -> PublishMode:
        """What its figure follows."""
        return self.terms.mode


@dataclass(frozen=True, kw_only=True)
class PoolBooks:
    """What a publisher asks of the store: one pool."""

    listings: Listings
    ledger: StockLedger
    sales: Sales
    book: ChannelBook


@dataclass(frozen=True, kw_only=True)
class PublisherRules:
    """
    The operator's profile of one channel's figures; a reload may replace it while the actor runs.

    Args:
        display: This channel.
        table: All channels of the pool whose figures are published, this one too.
        tune: The factor of the buffer that tunes itself; 0: off.
        revisions_per_day: Of one listing; 0: no budget.
        doubt_s: So long may a lost write still land.
        polled: Orders are polled, so that listings settle by what was seen; else by the time alone.
    """

    display: Display
    table: tuple[Display, ...]
    tune: float = 0.0
    revisions_per_day: int = 0
    doubt_s: float = 30.0
    polled: bool = True
    calls_in_flight: int = 4
    poll_s: float = 0.1
    sweep_s: float = 300.0
    hungry_s: float = 2.0  # after so long a channel that should have more asks again

    @classmethod
    def of(cls, channel: str, config: ChannelConfig, table: tuple[Display, ...], *, polls: bool) -> PublisherRules:
        """Take the rules out of a channel's configuration; *polls* says whether its API can list orders."""
        return cls(
            display=next(one for one in table if one.channel == channel),
            table=table,
            tune=config.publish.tune,
            revisions_per_day=config.publish.revisions_per_day,
            doubt_s=config.publish.doubt_s,
            polled=polls and config.poll_s > 0,
        )

    @property
    def escrow(self) -> bool:
        """Whether the channel's figure is backed."""
        return self.display.mode == "escrow"

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """All channels that hear of a change."""
        return tuple(one.channel for one in self.table)

    @cached_property
    def partners(self) -> tuple[Display, ...]:
        """The escrow channels that share units with this one, itself too."""
        return tuple(one for one in self.table if one.mode == "escrow")


@dataclass(frozen=True, kw_only=True)
class PollerRules:
    """The operator's profile of the polling of one channel."""

    poll_s: float = 60.0
    since_ms: int = 0  # the cut-over: the first poll starts there
    check_s: float = 300.0  # how often subscriptions are looked at
    grace_ms: int = 20_000  # an order younger than this is not missed: its webhook may be on the way
    overlap_ms: int = 10_000


def publish_rate(config: ChannelConfig) -> Rate:
    """Return how fast requests may leave for a channel; ValueError where the text is no rate."""
    return Rate.parse(config.publish.rate)
