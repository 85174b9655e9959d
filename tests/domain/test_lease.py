from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flashd.domain.lease import Lease, Term, give_up, take_lease


def test_another_owner_waits_until_the_term_ends() -> None:
    lease, leads = take_lease(Lease(), "a", 1000, 50)
    assert leads
    assert take_lease(lease, "b", 1049, 50) == (lease, False)
    lease, leads = take_lease(lease, "b", 1050, 50)
    assert (leads, lease.owner) == (True, "b")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 80), st.booleans()), max_size=60))
def test_no_epoch_is_ever_given_to_two_terms(steps: list[tuple[str, int, bool]]) -> None:
    lease, now = Lease(), 1000
    owners: dict[int, str] = {}
    for owner, pause, leaves in steps:
        now += pause
        if leaves:
            lease = give_up(lease, owner)
            continue
        before = lease
        lease, leads = take_lease(lease, owner, now, 50)
        if leads:
            assert owners.setdefault(lease.epoch, owner) == owner
            renewed = before.owner == owner and before.until_ms > now
            assert lease.epoch == before.epoch if renewed else lease.epoch > before.epoch


def test_the_epoch_goes_on_from_the_time_of_day_where_the_store_forgot_it() -> None:
    lease, _ = take_lease(Lease(), "a", 1_790_000_000_000, 50)
    assert lease.epoch == 1_790_000_000_000


def test_sending_stops_at_half_of_the_term() -> None:
    term = Term(7, asked_s=100.0, ttl_s=15.0)
    assert term.may_send(107.4)
    assert not term.may_send(107.5)
