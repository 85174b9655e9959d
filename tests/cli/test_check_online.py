"""`flashd check` refuses what the daemon would refuse, and with --online logs in to the platforms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.cli.daemon import Daemon
from tests.cli.test_commands import flashd
from tests.servers import Server
from tests.shops.shopify import SimulatedShopify

SHOP = """
[store]
url = "embedded"
state_dir = "{folder}/state"
[channels.shop]
kind = "shopify"
secrets = [{{ file = "shop.secret" }}]
{more}
[backends.erp]
kind = "http"
url = "http://127.0.0.1:{port}/orders"
[[routes]]
backend = "erp"
"""


def written(folder: Path, more: str, secrets: Mapping[str, str] = {}, port: int = 9) -> None:
    (folder / "flashd.toml").write_text(SHOP.format(folder=folder, more=more, port=port))
    for name, text in {"shop.secret": "of-the-test", **secrets}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)


def test_a_shop_that_figures_cannot_be_written_to_is_refused_before_the_daemon_starts(tmp_path: Path) -> None:
    written(tmp_path, 'publish = { mode = "escrow" }')
    checked = flashd("check", cwd=tmp_path)
    assert checked.returncode == 78, checked.stdout
    assert '[channels.shop] publish.mode = "escrow": no address of its API is configured' in checked.stderr


def test_a_token_that_the_daemon_would_refuse_is_refused_before_it_starts(tmp_path: Path) -> None:
    written(
        tmp_path,
        '[channels.till]\nkind = "native"\ntokens = [{ name = "till-1", secret = { file = "till.token" } }]',
        {"till.token": "short"},
    )
    checked = flashd("check", cwd=tmp_path)
    assert checked.returncode == 78, checked.stdout
    assert "flashd.toml: token 'till-1' has 5 characters: give it 16 or more" in checked.stderr


def test_an_address_of_the_store_that_the_daemon_could_not_use_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "")
    path = tmp_path / "flashd.toml"
    path.write_text(path.read_text().replace('"embedded"', '"sentinel://a:26379,b:port/shop"'))
    checked = flashd("check", cwd=tmp_path)
    assert checked.returncode == 78, checked.stdout
    assert "'b:port' is not host:port" in checked.stderr


@pytest.mark.parametrize("right", [True, False], ids=["its own token", "another token"])
def test_a_check_online_logs_in_to_the_platform(
    daemon: Daemon,
    tmp_path: Path,
    right: bool,  # noqa: FBT001  # a case
) -> None:
    shop = SimulatedShopify(tmp_path).start()
    try:
        token, port = shop.token if right else "shpat_of-nobody", daemon.server.server_port
        api = f'url = "{shop.url}"\naccess_token = {{ file = "shop.token" }}'
        written(tmp_path, api, {"shop.token": token}, port)
        checked = flashd("check", "--online", "--json", cwd=tmp_path)
    finally:
        shop.close()
    said = {finding["what"]: finding for finding in json.loads(checked.stdout)["findings"]}
    assert said["channel shop"]["ok"] is right, checked.stdout
    assert said["backend erp"]["ok"] is True  # this one answers anything
    assert checked.returncode == (0 if right else 1)
    assert ("Shopify" in said["channel shop"]["said"]) is right or "token" in said["channel shop"]["said"]
    assert "shpat_of-nobody" not in checked.stdout


def test_what_a_server_should_be_set_to_is_not_marked_as_fine(server: Server, tmp_path: Path) -> None:
    written(tmp_path, "")
    path = tmp_path / "flashd.toml"
    path.write_text(path.read_text().replace('"embedded"', f'"{server.url}"'))
    checked = flashd("check", "--online", cwd=tmp_path)
    of_store = [line for line in checked.stdout.splitlines() if " store " in line]
    assert of_store[0].startswith("ok   store "), checked.stdout
    assert of_store[0].endswith("durability fsync")
    assert {line.split()[0] for line in of_store[1:]} <= {"warn", "note"}
    assert any(line.startswith("warn") and "maxmemory" in line for line in of_store[1:]), checked.stdout
