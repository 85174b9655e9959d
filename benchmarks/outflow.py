"""Outflow: how close to its rate flashd sends while there is a backlog, and how many in the busiest second."""

from __future__ import annotations

import bisect
import time

import msgspec

from benchmarks.site import Site
from benchmarks.traffic import Kind, bearer, native_order

SECOND_US = 1_000_000
_RISE_S = 2  # the slow start after a pause is none of the figure
_START_S = 10.0


class Outflow(msgspec.Struct, frozen=True):
    """What arrived at one ERP."""

    rate: int
    seconds: int
    average: float
    busiest: int  # in any half-open second
    twice: int  # orders that arrived more than once

    @property
    def share(self) -> float:
        return self.average / self.rate


def measure(site: Site, rate: int, *, seconds: int) -> Outflow:
    """Let a backlog flow for some seconds; the ERP's ledger says when the kernel saw each request arrive."""
    order = Kind(name="", target="", body=native_order(), headers=bearer(""))
    count = rate * (seconds + _RISE_S + 3)
    made = site.batch(order.bodies(count), site.secrets[rate])
    if made != count:
        raise RuntimeError(f"only {made} of {count} orders came into being")
    backend, erp = f"/admin/v1/backends/erp-{rate}", site.erps[rate]
    site.ask("POST", f"{backend}/resume")
    deadline = time.monotonic() + _START_S
    while not erp.entries("request") and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(_RISE_S + seconds + 0.5)
    site.ask("POST", f"{backend}/pause", {"reason": "the bench"})
    requests = erp.entries("request")
    if not requests:
        raise RuntimeError(f"nothing arrived at the ERP that takes {rate}/s")
    stamps = sorted(int(entry["at_us"]) for entry in requests)
    since = stamps[0] + _RISE_S * SECOND_US
    seen = [at for at in stamps if since <= at < since + seconds * SECOND_US]
    keys = [entry["key"] for entry in requests]
    return Outflow(rate, seconds, len(seen) / seconds, busiest(seen), len(keys) - len(set(keys)))


def busiest(stamps: list[int]) -> int:
    """Return the most of the sorted *stamps* (us) that lie in one half-open second."""
    return max((bisect.bisect_left(stamps, at + SECOND_US) - index for index, at in enumerate(stamps)), default=0)
