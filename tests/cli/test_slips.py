"""What a person gives by a slip is refused with what was given, and no command passes over it in silence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.daemon import Daemon
from tests.cli.test_check_online import written
from tests.cli.test_commands import flashd

LEVEL = {"sku": "TEE", "location": "main", "on_hand": 5, "held": 0, "sold": 0, "exposed": 0, "safety": 0, "free": 5}


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_sku_that_there_is_not_is_named_and_ends_with_1(daemon: Daemon, more: tuple[str, ...]) -> None:
    daemon.answer = {"pool": "main", "levels": [LEVEL]}
    assert daemon.run("stock", "show", "TEE", *more).exit_code == 0
    shown = daemon.run("stock", "show", "TEE", "CAP", "CAP", *more)
    assert (shown.exit_code, shown.stderr) == (1, "Error: no such SKU: CAP\n")
    if more:
        assert json.loads(shown.stdout)["levels"] == [LEVEL]
    else:
        assert shown.stdout.splitlines()[1].startswith("TEE ")


def test_an_exposure_of_a_sku_that_there_is_not_ends_with_1(daemon: Daemon) -> None:
    daemon.answer = {"skus": [], "total": {"backed": 0, "unbacked": 0, "twice": 0}, "next_offset": None}
    shown = daemon.run("stock", "exposure", "CAP")
    assert (shown.exit_code, shown.stderr) == (1, "Error: no such SKU: CAP\n")
    assert daemon.run("stock", "exposure").exit_code == 0


@pytest.mark.parametrize(
    "line", [("stock", "set", "", "5"), ("backend", "pause", "", "--reason", "x"), ("quarantine", "show", "")]
)
def test_an_empty_name_is_said_to_be_empty_and_nobody_is_asked(daemon: Daemon, line: tuple[str, ...]) -> None:
    refused = daemon.run(*line)
    assert (refused.exit_code, 'an empty name was given: ""' in refused.stderr) == (2, True), refused.output
    assert daemon.asked == []


def test_erasing_everything_wants_a_channel(daemon: Daemon) -> None:
    refused = daemon.run("forget", "--everything", "--yes")
    assert (refused.exit_code, "--channel" in refused.stderr) == (2, True)
    assert daemon.asked == []


def test_where_no_dead_letter_matches_none_is_to_be_confirmed(daemon: Daemon) -> None:
    daemon.answer = {"matching": 0, "replayed": 0, "reasons": {}}
    assert daemon.run("dead", "replay", "--dry-run").stdout == "none match, so there is nothing to send\n"


@pytest.mark.parametrize("address", ["", "shop.example.com", "ftp://shop.example.com", "https://", "https://[shop"])
def test_init_prints_no_address_that_no_platform_could_call(tmp_path: Path, address: str) -> None:
    refused = flashd("init", "--public-url", address, cwd=tmp_path)
    assert (refused.returncode, "write https://host" in refused.stderr) == (2, True), refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_variable_that_is_not_set_is_told_with_the_file_and_the_key(tmp_path: Path) -> None:
    written(tmp_path, "")
    path = tmp_path / "flashd.toml"
    path.write_text(path.read_text().replace('{ file = "shop.secret" }', '{ env = "NOT_SET" }'))
    for command in ("check", "run"):
        refused = flashd(command, cwd=tmp_path)
        assert refused.returncode == 78
        assert "flashd.toml: channels.shop.secrets[0]: secret env = 'NOT_SET'" in refused.stderr


def test_what_an_adapter_refuses_is_told_with_the_file(tmp_path: Path) -> None:
    written(tmp_path, "")
    path = tmp_path / "flashd.toml"
    path.write_text(path.read_text().replace('/orders"', '/orders"\nlookup_url = "http://127.0.0.1:9/?key={kee}"', 1))
    refused = flashd("check", cwd=tmp_path)
    assert (refused.returncode, "flashd.toml: backends.erp.lookup_url = " in refused.stderr) == (78, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [("config", "schema"), ("check",)])
def test_an_output_that_cannot_be_written_is_said_without_a_traceback(tmp_path: Path, command: tuple[str, ...]) -> None:
    written(tmp_path, "")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "flashd", *command], cwd=tmp_path, stdout=full, stderr=-1, text=True, check=False
        )
    assert ended.returncode == os.EX_IOERR
    assert ended.stderr == "flashd: the output cannot be written: No space left on device\n"
