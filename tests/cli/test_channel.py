"""`flashd channel`, `flashd stock kit` and `flashd stock exposure` against the real admin listener over fakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace
from structlog.testing import capture_logs

from flashd.cli import cli
from flashd.config import AdminConfig
from flashd.domain.flow import PollFlow
from flashd.domain.listing import Listing
from flashd.errors import StoreUnavailable
from flashd.ports import StoreHealth
from flashd.web.admin import admin_app
from flashd.web.limits import ClientLimits
from flashd.web.server import Listener, open_socket
from tests.fakes.doors import DoorHouse


class Served:
    """The admin listener in a thread of its own: the commands block theirs."""

    def __init__(self) -> None:
        self.house = DoorHouse(tokens=False)
        self.port = 0
        self._up = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._live()), daemon=True)
        self._thread.start()
        assert self._up.wait(10)

    async def _live(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        listener = Listener("admin", admin_app(self.house.doors, AdminConfig()), ClientLimits(stop_s=2.0))
        await listener.start(open_socket("127.0.0.1:0"))
        self.port = listener.port
        self._up.set()
        await self._over.wait()
        await listener.stop()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, [*arguments, "--url", f"127.0.0.1:{self.port}"], prog_name="flashd")


@pytest.fixture
def daemon() -> Iterator[Served]:
    with capture_logs():  # the listener's, which would stand between the words of the commands
        served = Served()
        yield served
        served.stop()


def pool(*arguments: str) -> tuple[str, ...]:
    return (*arguments, "--pool", "main")


def test_an_import_is_shown_before_it_is_written_and_done_twice_is_done_once(daemon: Served) -> None:
    daemon.house.api.stock = {"TEE": 7, "HAT": 0}
    dry = daemon.run("channel", "import", "shop", "--stock", "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "2 products read; 2 would be mapped" in dry.output
    assert "2 SKUs would be counted, 7 units on hand in all" in dry.output
    assert "TO DO cut-over of [channels.shop]: write since = " in dry.output
    assert "nothing was written" in dry.output
    assert daemon.house.main.stock == {}
    done = daemon.run("channel", "import", "shop", "--stock")
    assert "2 products read; 2 mapped, 0 unchanged" in done.output
    daemon.house.since_ms = daemon.house.clock.now_ms() // 1000 * 1000
    again = daemon.run("channel", "import", "shop", "--stock")
    assert "0 mapped, 2 unchanged" in again.output
    assert "left as it was: TEE, HAT: it is counted already" in again.output
    assert "cut-over of [channels.shop]: as configured" in again.output
    assert "TO DO" not in again.output


def test_without_stock_what_the_pool_does_not_know_is_a_gap(daemon: Served) -> None:
    daemon.house.api.stock = {"TEE": 7}
    daemon.house.count("CAP", 1)
    said = daemon.run("channel", "import", "shop").output
    assert "0 mapped" in said
    assert "GAP 1: TEE: the pool does not know them" in said
    assert "GAP 1: CAP: the pool sells them and the map lacks them" in said


def test_a_report_for_scripts_is_json_and_nothing_else(daemon: Served) -> None:
    daemon.house.api.stock = {"TEE": 7}
    done = daemon.run("channel", "import", "shop", "--stock", "--json")
    assert json.loads(done.stdout)["plan"]["counts"] == [{"sku": "TEE", "units": 7}]


def test_an_import_that_breaks_off_says_why_and_ends_with_1(daemon: Served) -> None:
    daemon.house.api.down = True
    refused = daemon.run("channel", "import", "shop")
    assert (refused.exit_code, "shop does not answer" in refused.output) == (1, True)
    daemon.house.api.down = False
    daemon.house.api.stock = {"TEE": 7}
    daemon.house.listings["main"].failing.add("place")
    broken = daemon.run("channel", "import", "shop", "--stock")
    assert (broken.exit_code, "nothing is known" in broken.output) == (1, True)
    assert broken.exception is None or isinstance(broken.exception, SystemExit)


def test_a_map_comes_from_csv_and_is_shown(daemon: Served, tmp_path: Path) -> None:
    daemon.house.count("TEE", 5)
    file = tmp_path / "map.csv"
    file.write_text("sku,product,title\nTEE,17,Tee\n")
    assert "1 rows read; 1 mapped" in daemon.run("channel", "import", "shop", "--csv", str(file)).output
    shown = daemon.run("channel", "map", "shop").output
    assert "product=17" in shown
    assert "csv" in shown
    assert daemon.run("channel", "import", "shop", "--csv", str(file), "--stock").exit_code == 2
    file.write_text("sku,product\nTEE\n")
    assert daemon.run("channel", "import", "shop", "--csv", str(file)).exit_code == 1


def test_one_sku_is_mapped_and_unmapped_by_hand(daemon: Served) -> None:
    done = daemon.run("channel", "map", "shop", "TEE", "--set", "product=17", "--set", "variation=4")
    assert done.exit_code == 0, done.output
    assert "TEE is product=17 variation=4 on shop" in done.output
    assert "warning: pool main does not know TEE" in done.output
    daemon.house.listings["main"].state.listings["shop", "TEE"] = Listing(sku="TEE", figure=2)
    kept = daemon.run("channel", "map", "shop", "TEE", "--remove")
    assert (kept.exit_code, "still sells 2" in kept.output) == (1, True)
    assert daemon.run("channel", "map", "shop", "TEE", "--remove", "--force").exit_code == 0
    assert "is not in the map" in daemon.run("channel", "map", "shop", "TEE").output


@pytest.mark.parametrize(
    "wrong",
    [
        ("channel", "map", "shop", "--set", "product=17"),
        ("channel", "map", "shop", "TEE", "--set", "product"),
        ("channel", "map", "shop", "TEE", "--set", "a=b", "--remove"),
        ("stock", "kit", "set", "SET", "TEE"),
        ("stock", "kit", "set", "SET", "TEE=0"),
        ("stock", "kit", "set", "SET", "TEE=1", "TEE=2"),
        ("stock", "kit", "set", "SET"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_told_how_to_write_it(daemon: Served, wrong: tuple[str, ...]) -> None:
    refused = daemon.run(*wrong)
    assert refused.exit_code == 2, refused.output
    assert daemon.house.changes == []


def test_a_channel_is_paused_resumed_and_shown(daemon: Served) -> None:
    assert daemon.run("channel", "pause", "shop", "--reason", "stock-taking").exit_code == 0
    listed = daemon.run("channel", "list").output
    assert "paused" in listed
    assert "stock-taking" in listed
    assert daemon.run("channel", "resume", "shop").exit_code == 0
    shown = daemon.run("channel", "show", "shop").output
    assert "shop: fake, pool main, mirror, publishing" in shown
    assert "cut-over    none" in shown
    refused = daemon.run("channel", "pause", "till", "--reason", "x")
    assert (refused.exit_code, "calls no API of till" in refused.output) == (1, True)
    unknown = daemon.run("channel", "show", "none")
    assert (unknown.exit_code, "flashd channel list" in unknown.output) == (1, True)


def test_silent_webhooks_are_said_in_the_list(daemon: Served) -> None:
    daemon.house.polling = PollFlow(name="shop", polls=1, silent="the platform switched them off")
    assert "WEBHOOKS SILENT: the platform switched them off" in daemon.run("channel", "list").output


def test_one_trouble_of_publishing_and_polling_is_said_once(daemon: Served) -> None:
    daemon.house.flow = replace(daemon.house.flow, last_error="the token was refused")
    daemon.house.polling = PollFlow(name="shop", polls=1, last_error="the token was refused")
    assert daemon.run("channel", "show", "shop").output.count("the token was refused") == 1


def test_kits_are_defined_listed_imported_and_removed(daemon: Served, tmp_path: Path) -> None:
    daemon.house.count("TEE", 5)
    done = daemon.run(*pool("stock", "kit", "set", "SET", "TEE=2", "a=b=1"))
    assert "SET is 2 x TEE + 1 x a=b; not counted yet: a=b" in done.output
    assert "2 x TEE + 1 x a=b" in daemon.run(*pool("stock", "kits")).output
    file = tmp_path / "kits.csv"
    file.write_text("kit,component,quantity\nSET,TEE,2\n")
    assert "1 kits checked" in daemon.run(*pool("stock", "kit", "import", str(file), "--dry-run")).output
    assert "SET is 2 x TEE (was 2 x TEE + 1 x a=b)" in daemon.run(*pool("stock", "kit", "import", str(file))).output
    assert "no kit any more" in daemon.run(*pool("stock", "kit", "remove", "SET")).output
    assert daemon.run(*pool("stock", "kit", "remove", "SET")).exit_code == 1


def test_the_exposure_is_shown_with_its_total(daemon: Served) -> None:
    daemon.house.count("TEE", 5)
    daemon.house.listings["main"].state.listings["shop", "TEE"] = Listing(sku="TEE", figure=6, exposed=8)
    shown = daemon.run(*pool("stock", "exposure")).output
    assert "shop 6 (exposed 8)" in shown
    assert "8 are shown by mirrors, 3 could be sold twice" in shown
    assert json.loads(daemon.run(*pool("stock", "exposure", "TEE", "--json")).stdout)["total"]["twice"] == 3
    assert daemon.run(*pool("stock", "exposure", "NONE")).exit_code == 1


def test_the_status_says_why_nothing_comes_in_while_the_store_is_away(daemon: Served) -> None:
    daemon.house.main.error = StoreUnavailable("away")
    daemon.house.health = StoreHealth(ok=False, reason="no connection to /run/redis.sock")
    found = daemon.run("status")
    assert found.exit_code == 1
    assert found.output.splitlines() == ["flashd: NOT READY", "  store: no connection to /run/redis.sock"]
    told = json.loads(daemon.run("status", "--json").stdout)
    assert (told["ready"], told["reasons"]) == (False, ["store: no connection to /run/redis.sock"])


def test_the_status_tells_how_channels_do(daemon: Served) -> None:
    shown = daemon.run("status").output
    line = next(line for line in shown.splitlines() if line.startswith("shop"))
    assert line.split() == ["shop", "mirror", "publishing", "-", "3", "1", "alive"]
    daemon.house.polling = PollFlow(name="shop", polls=1, silent="switched off")
    assert "SILENT" in daemon.run("status").output
