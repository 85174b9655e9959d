"""
Every key name of flashd, its type and what it holds.

All keys of a pool carry the hash tag ``{<pool>}`` and so stand in one slot; those of a backend carry ``{b:<backend>}``,
those of a channel's own API ``{c:<channel>}``, those of whoever leads the sales of a pool ``{s:<pool>}``, those of
whoever tells alerts ``{a:<pool>}``, by the first pool of the configuration.
Pool, channel and backend names are ``[a-z0-9_-]+``; ids and SKUs may hold anything from 0x20 up, so 0x1d to 0x1f
separate what is packed into one value.

Every order record stands in **exactly one** index, the one its state names: that is what `flashd audit` counts.

====================  ======  ==========================================================================================
key                   type    holds
====================  ======  ==========================================================================================
stock                 HASH    ``<sku> 0x1f <location>`` -> ``on_hand held sold exposed safety seq``, and
                              behind it what paid orders lack (owed), where there is some
hold                  HASH    hold id -> packed reservation, see includes/reservation.lua; terminal = tombstone
hold:due              ZSET    live hold id -> deadline ms
hold:end              ZSET    ended hold id -> when its tombstone may go, ms
ord:<ch>:<id>         HASH    one outbox item, see includes/record.lua: s i o b n t x r h w d p k u
wait                  ZSET    waiting orders -> accepted ms
q:<backend>           ZSET    queued orders -> not before ms
fl:<backend>          ZSET    sending -> end of the in-flight lease ms; in doubt -> next look-up ms
desk                  ZSET    orders a human must decide (parked, shortfall, manual) -> since ms
backorder             ZSET    orders that wait for goods -> accepted ms
owing                 ZSET    who waits for which SKU and location, first come first; see includes/owing.lua
countable             ZSET    delivered orders whose units a count may lack, by place; see includes/countable.lua
counts                HASH    ``<sku> 0x1f <location>`` -> the last count: ``kind as_of source``
locations             SET     every location that some level stands at, from its first count or receipt on
splits                ZSET    what was split off orders -> ms, kept 30 days
forget                ZSET    orders whose customer is to be forgotten -> when they are looked at again, ms
forget:mark           HASH    ``upto`` (done orders up to there were erased); ``erased``, ``asked``, ``scrubbed``: when
                              that last happened, ms
demand                HASH    id -> what a platform demands about customers, JSON, see domain/privacy.py
receipts              ZSET    receipt id -> ms when it came, kept 30 days
dead                  ZSET    dead letters -> since ms
done                  ZSET    delivered, cancelled, ignored -> since ms
pending               ZSET    orders with a newer version that waits (field n) -> since ms
fence:<backend>       STRING  highest epoch seen: a lower one is refused
dirty                 ZSET    SKU whose stock changed -> since ms, until it is spread to the channels
kit                   HASH    SKU -> its components, ``<sku> 0x1f <quantity>`` joined by 0x1e
exp:<channel>         HASH    SKU -> what the channel shows of it and may have sold unseen, see includes/listing_row.lua
settling:<channel>    ZSET    SKUs of exp:<channel> that settle -> platform's ms up to which all orders must be seen
dirty:<channel>       ZSET    SKU that the channel must look at -> since ms, half a ms more once it was seen
map:<channel>         HASH    SKU -> the ids under which it is known there, JSON
poll:<channel>        HASH    ``seen_ms polled_ms``: how far the channel's orders were polled, and when
rev:<channel>         HASH    SKU -> revisions used: ``<last ms> <hour>:<count> ...``, see domain/revision.py
quarantine            HASH    id -> packed body that was not understood
quarantine:at         ZSET    the same ids -> ms when they came
sale                  HASH    sale -> its newest version, packed; ``<sale> 0x1f <version>`` -> that version
rule                  HASH    SKU -> what scripts must know of its sales, see includes/rule_parts.lua
sale:told             HASH    ``<sale> 0x1f opened|over 0x1f <its instant ms>`` -> when that was said, ms
price:<channel>       HASH    ``<sale> 0x1f <sku>`` -> what is kept of a pushed price, JSON, see domain/price.py
use                   HASH    units held or sold: ``q 0x1f <sale> 0x1f <sku>`` (quota), ``c 0x1f <sale> 0x1f <sku> 0x1f
                              <customer>`` and ``t 0x1f <sale> 0x1f <customer>`` (limits)
alert                 HASH    what a human must see to: ``<kind>:<subject>`` -> a standing alert, JSON, see
                              domain/alert.py
alert:mark            HASH    ``cursor`` (up to which entry of j alerts were made), ``epoch``, ``token`` of the last
                              step, ``quota`` (when messages left lately)
j                     STREAM  journal and change feed: fields k (kind), d (JSON members)
checkpoint            HASH    ``upto``: id of the last entry trimmed from j; ``<sku> 0x1f <location>`` -> sums of the
                              trimmed moves, ``on_hand held sold exposed safety lacked``; with 0x1d before it -> units
                              of purged orders
probe                 STRING  when the store was last written by the watch, ms
witness               STRING  nothing: written behind calls that replicas must have, see flashd/store/proof.py
meta                  HASH    schema, generation, created_ms, backends ever used
====================  ======  ==========================================================================================
"""

from __future__ import annotations

from flashd.domain.order import OrderRef

SCHEMA = "1"


def pool_key(pool: str, name: str) -> str:
    """Return the key *name* of *pool*."""
    return f"fd:{{{pool}}}:{name}"


def order_key(pool: str, ref: OrderRef) -> str:
    """Return the key of one outbox item; its text behind ``:ord:`` is the member in every index."""
    return f"fd:{{{pool}}}:ord:{ref}"


def backend_key(backend: str, name: str) -> str:
    """Return the key *name* of *backend*: lease, epoch, tat, pause, rate or first (why it is asked first)."""
    return f"fd:{{b:{backend}}}:{name}"


def channel_key(channel: str, name: str) -> str:
    """Return the key *name* of a channel's own API: lease, epoch, tat, pause or rate."""
    return f"fd:{{c:{channel}}}:{name}"


def sale_key(pool: str, name: str) -> str:
    """Return the key *name* of the sales of *pool*, led by one process: lease or epoch."""
    return f"fd:{{s:{pool}}}:{name}"


def alert_key(pool: str, name: str) -> str:
    """Return the key *name* of the alerts of a deployment, told by one process: lease or epoch."""
    return f"fd:{{a:{pool}}}:{name}"


def event_channel(pool: str, topic: str) -> str:
    """Return the pub/sub channel of a topic."""
    return f"fd:events:{pool}:{topic}"


def generation_key(pool: str) -> str:
    """Return the key that says which life of the store this is."""
    return pool_key(pool, "meta")
