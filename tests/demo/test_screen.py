from __future__ import annotations

import io

from rich.console import Console

from flashd.demo.admin_api import Flow
from flashd.demo.oracle import Verdict
from flashd.demo.screen import Screen, View


def shown(*, is_terminal: bool, view: View, verdict: Verdict) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=is_terminal, width=100, color_system=None)
    with Screen(console, orders=600, limit=40) as screen:
        screen.say("flashd is ready: http://127.0.0.1:1/")
        screen.show(view)
    screen.close(verdict, {"daemon_killed": 1})
    return out.getvalue()


VIEW = View(
    purchases=300,
    acknowledged=512,
    booked=99,
    sends_per_s=38,
    flow=Flow(queued=200, in_flight=3, in_doubt=1, eta_s=5.2),
    stock={"MUG": (7, 200)},
)


def test_a_terminal_sees_orders_stock_backlog_and_eta() -> None:
    text = shown(is_terminal=True, view=VIEW, verdict=Verdict())
    for figure in ("300 of 600", "512", "99", "38/s of 40/s", "200 queued, 3 in flight, 1 in doubt", "ETA 5 s"):
        assert figure in text
    assert "7 left of 200" in text
    assert "http://127.0.0.1:1/" in text


def test_a_daemon_that_was_killed_is_not_shown_as_an_empty_backlog() -> None:
    text = shown(is_terminal=True, view=View(flow=None), verdict=Verdict())
    assert "flashd does not answer" in text
    assert "0 queued" not in text


def test_elsewhere_there_are_plain_lines_and_no_control_characters() -> None:
    text = shown(is_terminal=False, view=VIEW, verdict=Verdict(problems=["lost: order [x]:1"], lost=1))
    assert "\x1b" not in text
    assert text.splitlines()[-2:] == [
        "lost: order [x]:1",
        "oversold 0  lost 1  duplicated 0  over limit 0  FAIL",
    ]
    assert "300 of 600" not in text
    assert "faults: daemon_killed 1" in text
