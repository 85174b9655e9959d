from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from benchmarks import traffic
from benchmarks.erp import busiest
from benchmarks.plan import Outlet, Plan
from benchmarks.sections import intake, outflow
from benchmarks.spread import Spread, percentile
from benchmarks.traffic import Kind, bearer, shopify
from flashd.channels import native
from flashd.cli.session import load_config


def test_the_busiest_second_may_begin_anywhere() -> None:
    evenly = [index * 200_000 for index in range(50)]
    assert busiest(evenly) == 5
    assert busiest(sorted([*evenly, 1_100_000])) == 6
    assert busiest([0, 999_999, 1_000_000]) == 2
    assert busiest([]) == 0


def test_departures_are_read_from_the_senders_own_log() -> None:
    log = '{"event":"order.accepted"}\n{"event":"request.sent","backend":"a","at_us":7}\nnoise\n'
    assert outflow.departures(log + '{"event":"request.sent","backend":"b","at_us":9}\n') == {"a": [7], "b": [9]}


def test_a_share_of_a_rate_is_written_for_each_second_where_it_can_be() -> None:
    assert [outflow.written(rate, 100) for rate in outflow.RATES] == ["5/s", "50/s", "500/s"]
    assert [outflow.written(rate, 96) for rate in outflow.RATES] == ["24/5s", "48/s", "480/s"]


def test_a_spread_is_a_median_between_two_extremes() -> None:
    assert Spread.of([3.0, 1.0, 2.0]).text(".1f") == "2.0 (1.0-3.0)"
    assert Spread.of([3000.0]).over(1000).median == 3.0
    assert [percentile(list(range(100)), share) for share in (0.5, 0.99, 1.0)] == [50, 99, 99]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        (intake.SMALL, traffic.small_order()),
        (intake.NATIVE, traffic.native_order()),
        (intake.HOLD, traffic.native_hold()),
        (intake.LARGE, traffic.recorded_order()),
    ],
)
def test_the_name_of_a_kind_tells_its_size(name: str, body: bytes) -> None:
    told, unit = name.rpartition(", ")[2].split()
    assert float(told) * {"B": 1, "kB": 1000}[unit] == pytest.approx(len(body), rel=0.02)


def test_all_requests_of_a_file_have_one_length_and_ids_of_their_own(tmp_path: Path) -> None:
    targets = ("/webhooks/shop-000", "/webhooks/shop-001")
    kind = Kind(name="", target=targets, body=traffic.small_order(), headers=shopify("secret"), skus=1000)
    written = kind.write(tmp_path / "requests", 2000)
    text = written.path.read_bytes()
    assert len(text) == 2000 * written.size
    requests = {text[at : at + written.size] for at in range(0, len(text), written.size)}
    assert len(requests) == 2000
    assert all(any(target.encode() in request for request in requests) for target in targets)
    bought = {request[request.index(b"BENCH-") :][:13] for request in requests}
    assert 800 < len(bought) < 1000  # by chance, of a thousand


def test_a_native_order_of_the_bench_is_one_that_flashd_reads() -> None:
    order = Kind(name="", target="", body=traffic.native_order(), headers=bearer(""))
    first, second = (native.decode_order(body, "till") for body in order.bodies(2))
    assert first.order.id != second.order.id
    assert first.order.lines[0].sku == traffic.SKU


def test_every_plan_is_a_configuration_that_flashd_takes(tmp_path: Path) -> None:
    outlet = Outlet(name="erp", url="http://127.0.0.1:9/erp", rate="288/min", max_in_flight=3)
    for number, plan in enumerate((Plan(), Plan(channels=100, backends=50, outlets=(outlet,), level="debug"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("secret", "till", "till-erp"):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(f"a-secret-of-the-bench-{name}")
        path = folder / "flashd.toml"
        path.write_text(plan.text(store="embedded", intake=0, admin=0))
        loaded = load_config(str(path))
        assert len(loaded.config.channels) == plan.channels + 1 + len(plan.outlets)
        assert len(loaded.config.backends) == plan.backends + len(plan.outlets)
        assert loaded.config.routes[-1].backend == "sink-00"


def test_orders_of_many_backends_are_spread_by_the_end_of_the_sku() -> None:
    plan = Plan(backends=50)
    text = plan.text(store="embedded", intake=0, admin=0)
    assert all(f'sku = "*{number:02}"\nbackend = "sink-{number:02}"' in text for number in range(1, 50))
    names = traffic.numbered(50)
    assert len(set(names)) == 50
    assert [name[-2:] for name in itertools.islice(names, 2)] == ["00", "01"]
