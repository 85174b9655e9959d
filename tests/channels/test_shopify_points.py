from __future__ import annotations

from flashd.channels.shopify.points import Cost, Points, Throttle


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now += seconds


def cost(requested: float, available: float) -> Cost:
    throttle = Throttle(maximum_available=1000, currently_available=available, restore_rate=50)
    return Cost(requested_query_cost=requested, throttle_status=throttle)


async def taken(points: Points, kind: str, size: int = 1) -> float:
    found = await points.take(kind, size)
    assert found is not None
    return found


async def test_nothing_is_known_before_the_first_answer_so_nothing_waits() -> None:
    time = Time()
    points = Points(clock=time.clock, sleep=time.sleep)
    assert await points.take("write", 10) == 0
    assert time.slept == []


async def test_a_call_waits_until_the_bucket_holds_what_such_a_call_cost() -> None:
    time = Time()
    points = Points(clock=time.clock, sleep=time.sleep)
    points.settle("write", 4, await taken(points, "write", 4), cost(40, available=30))
    assert await points.take("write", 10) == 100
    assert time.slept == [1.4]  # 70 points at 50 a second
    assert await points.take("write", 1) == 10
    assert time.slept == [1.4, 0.2]  # what is on its way counts as gone


async def test_what_is_on_its_way_is_gone_although_the_answer_to_another_call_shows_it() -> None:
    time = Time()
    points = Points(clock=time.clock, sleep=time.sleep)
    points.settle("write", 1, await taken(points, "write"), cost(100, available=300))
    first = await taken(points, "write", 2)
    second = await taken(points, "write")
    points.settle("write", 1, second, cost(100, available=300))  # made before the first was counted
    assert points.wait_s(100, spare=False) == 0
    assert points.wait_s(101, spare=False) > 0
    points.settle("write", 2, first, None)  # its reply was lost: the points are gone all the same
    assert points.wait_s(101, spare=False) > 0


async def test_listings_leave_a_quarter_of_the_bucket_to_stock() -> None:
    time = Time()
    points = Points(clock=time.clock, sleep=time.sleep)
    points.settle("orders", 1, await taken(points, "orders"), cost(10, available=200))
    assert await points.take("orders", 1) == 10
    assert time.slept == []
    assert await points.take("orders", 1, spare=True) == 10
    assert time.slept == [1.4]  # 190 are there, and 260 must be


async def test_a_call_that_costs_more_than_the_bucket_holds_goes_out_when_it_is_full() -> None:
    time = Time()
    points = Points(clock=time.clock, sleep=time.sleep)
    points.settle("orders", 1, await taken(points, "orders"), cost(5000, available=900))
    await points.take("orders", 1)
    assert time.slept == [2.0]


async def test_who_has_no_patience_is_told_at_once_and_takes_nothing() -> None:
    time = Time()
    points = Points(clock=time.clock, sleep=time.sleep)
    points.settle("write", 1, await taken(points, "write"), cost(100, available=50))
    assert await points.take("write", 2, patience_s=2.5) is None
    assert time.slept == []
    assert await points.take("write", 1, patience_s=2.5) == 100
    assert time.slept == [1.0]
