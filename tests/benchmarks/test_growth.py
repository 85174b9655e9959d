from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from benchmarks.growth import filling, plot
from benchmarks.growth.__main__ import CURVES, _findings
from benchmarks.growth.curve import HEAD, Curve, Point, Sample
from benchmarks.site import Site
from benchmarks.traffic import numbered


def sample(per_s: float, mib: float) -> Sample:
    return Sample(per_s=per_s, p99_us=9000, refused=0, flashd_us=100.0, store_us=50.0, calls=0.05, mib=mib)


def grown(key: str, per_s: list[float], mib: float) -> Curve:
    curve = next(curve for curve in CURVES if curve.key == key).up_to(1_000_000)
    for size in curve.sizes[1:]:
        here = [sample(figure, mib) for figure in per_s]
        curve.points.append(Point(size, here=here, smallest=[sample(1000.0, 60.0) for _ in per_s], store_mib=7.0))
    return curve


def test_a_point_is_a_share_of_the_smallest_size_of_the_same_round() -> None:
    point = Point(
        100, here=[sample(900.0, 61.0), sample(400.0, 63.0)], smallest=[sample(1000.0, 60.0), sample(500.0, 60.5)]
    )
    assert point.share.text(".2f") == "0.85 (0.80-0.90)"
    assert point.more_mib == 2.5
    assert len(point.cells()) == len(HEAD)


def test_the_cpu_of_an_order_is_that_of_flashd_and_its_store_beside_the_smallest() -> None:
    dear = msgspec.structs.replace(sample(900.0, 61.0), flashd_us=120.0, store_us=60.0)
    point = Point(100, here=[dear, sample(400.0, 63.0)], smallest=[sample(1000.0, 60.0), sample(500.0, 60.5)])
    assert point.cpu_share.text(".2f") == "1.10 (1.00-1.20)"


def test_the_worst_curve_is_judged_at_its_large_end() -> None:
    good, bad = grown("backends", [1000.0] * 3, 62.0), grown("channels", [700.0, 800.0, 900.0], 130.0)
    intake, memory = _findings([good, bad])
    assert (intake.goal, intake.met) == ("growth-intake", False)
    assert "0.80 (0.70-0.90) at 100 channels" in intake.measured
    assert (memory.goal, memory.met) == ("growth-memory", False)
    assert "+70 MiB at 100 channels" in memory.measured
    assert all(finding.met for finding in _findings([good]))


def test_a_shorter_run_leaves_out_the_large_sizes_and_keeps_the_smallest() -> None:
    skus = next(curve for curve in CURVES if curve.key == "skus")
    assert skus.up_to(1000).sizes == (10, 1000)
    assert skus.up_to(1).sizes == (10,)


def test_a_curve_becomes_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for key in ("backlog", "processes"):
        name = plot.draw(grown(key, [900.0, 1000.0, 1100.0], 62.0), tmp_path)
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
        assert 5_000 < (tmp_path / name).stat().st_size < 100_000


@pytest.mark.slow
def test_skus_and_orders_are_filled_in_by_the_daemons_own_scripts(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site:
        site.count(numbered(10))
        filling.skus(site, 10, 1000)
        filling.backlog(site, 0, 600)
        filling.rest(site)
        with site.store() as client:
            assert client.hlen("fd:{main}:stock") == 1000
            assert client.zcard("fd:{main}:q:sink-00") == 600
            level = client.hget("fd:{main}:stock", f"{numbered(1000)[-1]}\x1fmain")
            assert level is not None
            assert level.startswith(b"1000000000 ")
            assert client.xlen("fd:{main}:j") == 1000, "no million events are left to be read and trimmed"
