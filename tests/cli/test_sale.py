"""`flashd sale`, against an admin listener with fakes behind its doors."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flashd.cli import cli
from flashd.config import AdminConfig
from flashd.domain.catalogue import Entry
from flashd.domain.listing import Listing, ListingState
from flashd.domain.sale import SaleState
from flashd.web.admin import admin_app
from flashd.web.limits import ClientLimits
from flashd.web.server import Listener, open_socket
from tests.fakes.doors import OPERATE, READ, DoorHouse
from tests.fakes.sales import FakeSales

START = datetime.fromtimestamp(1_790_003_600, UTC)  # an hour from the fakes' now
TOML = f"""
name = "friday"
pool = "main"
start = {START.isoformat()}
end = {(START + timedelta(hours=1)).isoformat()}
[[products]]
sku = "TEE"
quota = 10
price = "9.90"
"""


class Desk:
    """The listener in a thread with a loop of its own, and the command line before it."""

    def __init__(self, folder: Path) -> None:
        self.house = DoorHouse()
        self.folder = folder
        self.loop = asyncio.new_event_loop()
        self._listener = Listener("admin", admin_app(self.house.doors, AdminConfig()), ClientLimits(stop_s=1.0))
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @property
    def sales(self) -> FakeSales:
        return self.house.sales["main"]

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listener.start(open_socket("127.0.0.1:0")), self.loop).result(10)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._listener.stop(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def run(self, *words: str, token: str = OPERATE, text: str = "") -> Result:
        environ = {"FLASHD_URL": f"127.0.0.1:{self._listener.port}", "FLASHD_TOKEN": token}
        return CliRunner().invoke(cli, ["sale", *words], env=environ, input=text or None, prog_name="flashd")

    def open(self, text: str = TOML, *words: str) -> Result:
        path = self.folder / "sale.toml"
        path.write_text(text)
        return self.run("open", str(path), "--pool", "main", *words)

    def show(self, figure: int, state: ListingState = ListingState.IDLE) -> None:
        pool = self.house.listings["main"].state
        pool.entries["shop"] = {"TEE": Entry(sku="TEE", ids={"item": "TEE"})}
        pool.listings["shop", "TEE"] = Listing(sku="TEE", figure=figure, state=state)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    made.start()
    yield made
    made.close()


def test_a_document_is_opened_listed_and_shown(desk: Desk) -> None:
    opened = desk.open()
    assert opened.exit_code == 0, opened.output
    assert "sale friday: version 1 is written; 1 product, before" in opened.output
    assert "the pool does not count: TEE" in opened.output
    assert "flashd check --sale friday" in opened.output
    assert "version 1 stands there already" in desk.open().output
    listed = desk.run("list", "--pool", "main", token=READ).output
    assert listed.splitlines()[1].split()[:2] == ["friday", "before"]
    desk.sales.counted["friday", "TEE"] = 4
    shown = desk.run("show", "friday", "--pool", "main", token=READ).output
    assert [line.split() for line in shown.splitlines() if line.startswith("TEE")] == [["TEE", "10", "4", "6", "9.90"]]
    versions = desk.run("show", "friday", "--versions", "--pool", "main").output
    assert versions.splitlines()[1].split()[0] == "1"


def test_what_is_shown_as_a_document_can_be_opened_again(desk: Desk) -> None:
    desk.open()
    text = desk.run("show", "friday", "--document", "--pool", "main").output
    again = desk.run("put", "-", "--pool", "main", "--json", text=text)
    assert again.exit_code == 0, again.output
    assert json.loads(again.output)["changed"] is False


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    dry = desk.open(TOML, "--dry-run")
    assert "version 1 would be written" in dry.output
    assert desk.sales.versions == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is not valid TOML"),
        ('{"name": ', "is not valid JSON"),
        ("start = 2026-11-27T08:00:00Z", "name is needed"),
        (TOML.replace("quota", "qouta"), 'products[0].qouta: there is no such key; did you mean "quota"?'),
        (TOML.replace('"9.90"', "9.90"), "products[0].price = 9.9: write an amount as decimal text in quotes"),
    ],
)
def test_a_document_with_faults_is_refused_in_words(desk: Desk, text: str, said: str) -> None:
    refused = desk.open(text)
    assert refused.exit_code == 1
    assert said in refused.output
    assert "Traceback" not in refused.output


def test_the_template_is_the_example_and_a_right_document(desk: Desk) -> None:
    text = desk.run("template").output
    assert text == (Path(__file__).parents[2] / "config" / "sale.example.toml").read_text()
    assert desk.open(text).exit_code == 0


def test_the_template_is_written_into_a_file_and_over_none(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "friday.toml"
    assert "flashd sale open" in desk.run("template", str(path)).output
    path.write_text("mine")
    again = desk.run("template", str(path))
    assert (again.exit_code, "is there already" in again.output, path.read_text()) == (1, True, "mine")
    assert "cannot be written" in desk.run("template", str(tmp_path / "no" / "folder.toml")).output


def test_a_version_that_is_not_the_newest_is_refused(desk: Desk) -> None:
    desk.open()
    desk.open(TOML.replace("10", "20"))
    late = desk.open(TOML.replace("10", "30"), "--version", "1")
    assert (late.exit_code, "is at version 2" in late.output) == (1, True)


def when_stopped(desk: Desk, seconds: float, then: Callable[[], None]) -> None:
    """Do something so many seconds after the sale was stopped, however long that takes to come about."""

    def look() -> None:
        is_stopped = desk.sales.versions["friday"][-1].state is SaleState.STOPPED
        desk.loop.call_later(seconds if is_stopped else 0.01, then if is_stopped else look)

    desk.loop.call_soon_threadsafe(look)


def test_stop_waits_for_zero_and_says_after_how_long(desk: Desk) -> None:
    desk.open()
    desk.show(5)
    when_stopped(desk, 0.3, lambda: desk.show(0, ListingState.SETTLING))
    stopped = desk.run("stop", "friday", "--pool", "main")
    assert stopped.exit_code == 0, stopped.output
    *progress, last = stopped.output.splitlines()
    head, _, seconds = last.removesuffix(" s").rpartition(" ")
    assert head == "zero on 1 channel, 1 SKU, after"
    assert 0.2 <= float(seconds) < 100
    assert any(line.startswith("  till: asks before it sells: closed") for line in progress)
    assert any(line.startswith("  shop: zero, 1 SKU") for line in progress)
    assert any(line.startswith("  hooks: NOT stopped: flashd writes it no figures") for line in progress)
    assert desk.sales.versions["friday"][-1].state is SaleState.STOPPED


def test_stop_says_what_is_not_at_zero_when_the_time_is_over(desk: Desk) -> None:
    desk.open()
    desk.show(5, ListingState.IN_DOUBT)
    stopped = desk.run("stop", "friday", "--pool", "main", "--wait", "0.2")
    assert stopped.exit_code == 1
    assert "NOT at zero" in stopped.output
    assert "shop: 1 of 1 SKU not at zero" in stopped.output
    assert "TEE: 5, in doubt" in stopped.output
    told = desk.run("stop", "friday", "--pool", "main", "--wait", "0", "--json")
    answer: dict[str, Any] = json.loads(told.output)
    assert (told.exit_code, answer["zero"], answer["state"]) == (1, False, "stopped")


def test_resume_and_close_say_what_is_in_force_then(desk: Desk) -> None:
    desk.open()
    desk.run("stop", "friday", "--pool", "main")
    assert "sale friday goes on; its window stands: before" in desk.run("resume", "friday", "--pool", "main").output
    assert "sale friday is over" in desk.run("close", "friday", "--pool", "main").output
    again = desk.run("resume", "friday", "--pool", "main")
    assert again.exit_code == 1


def test_a_sale_that_is_not_there_says_where_to_look(desk: Desk) -> None:
    missing = desk.run("stop", "monday", "--pool", "main")
    assert (missing.exit_code, "see `flashd sale list`" in missing.output) == (1, True)
