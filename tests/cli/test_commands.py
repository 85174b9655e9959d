"""The commands that need no daemon."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from flashd.cli import cli


def flashd(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run flashd as a person would, in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "flashd", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), **environ},
        timeout=60,
        check=False,
    )


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(group: click.Group, path: tuple[str, ...]) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            found.append((*path, name))
            if isinstance(command, click.Group):
                walk(command, (*path, name))

    walk(cli, ())
    return found


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name="flashd")
    assert result.exit_code == 0, result.output
    body = result.output.partition("\n\n")[2].strip()
    assert re.match(r"^[A-Z].*", body), result.output


def test_a_mistyped_command_is_told_what_was_meant() -> None:
    result = CliRunner().invoke(cli, ["statsu"], prog_name="flashd")
    assert result.exit_code == 2
    assert "did you mean status?" in result.output


@pytest.mark.parametrize("channel", ["shopify", "woocommerce", "standard_webhooks", "native"])
@pytest.mark.parametrize("backend", ["http", "tryton", "odoo"])
def test_what_init_writes_is_a_right_configuration(tmp_path: Path, channel: str, backend: str) -> None:
    made = flashd("init", "--channel", channel, "--backend", backend, "--public-url", "https://s.example", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert ("https://s.example/webhooks/" in made.stdout) is (channel != "native")
    for name in ("shop.secret", "tryton.key", "odoo.key"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text("a-secret-of-the-test")
    checked = flashd("check", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "warning" not in checked.stdout


def test_init_overwrites_nothing_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "flashd.toml").write_text("# mine\n")
    refused = flashd("init", cwd=tmp_path)
    assert refused.returncode == 1
    assert "--force" in refused.stderr
    assert (tmp_path / "flashd.toml").read_text() == "# mine\n"


def test_secrets_that_init_makes_are_for_their_owner_only(tmp_path: Path) -> None:
    flashd("init", "--channel", "native", cwd=tmp_path)
    assert (tmp_path / "native.token").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("command", [("run",), ("check",), ("audit",), ("status",), ("config", "show")])
def test_a_wrong_file_ends_every_command_with_78_and_says_what_to_mend(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "flashd.toml").write_text('[backends.erp]\nkind = "http"\nurl = "http://x"\nrate = "fast"\n')
    refused = flashd(*command, cwd=tmp_path)
    assert refused.returncode == 78, refused.stderr
    assert "flashd.toml" in refused.stderr
    assert "backends.erp.rate" in refused.stderr
    assert "fast" in refused.stderr
    assert "120/min" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_without_a_configuration_the_way_to_one_is_shown(tmp_path: Path) -> None:
    refused = flashd("status", cwd=tmp_path)
    assert refused.returncode == 78
    assert "flashd init" in refused.stderr


def test_without_a_daemon_it_is_said_where_none_answers(tmp_path: Path) -> None:
    refused = flashd("status", "--url", "127.0.0.1:9", cwd=tmp_path)
    assert refused.returncode == 1
    assert "no daemon answers at 127.0.0.1:9" in refused.stderr
    assert "flashd run" in refused.stderr


def test_config_show_says_where_each_value_comes_from_and_hides_secrets(tmp_path: Path) -> None:
    flashd("init", "--channel", "native", cwd=tmp_path)
    shown = flashd("config", "show", "--origin", cwd=tmp_path, FLASHD__BACKENDS__ERP__RATE="5/s")
    assert shown.returncode == 0, shown.stderr
    rate = next(line for line in shown.stdout.splitlines() if line.startswith("backends.erp.rate"))
    assert '"5/s"' in rate
    assert "FLASHD__BACKENDS__ERP__RATE" in rate
    assert (tmp_path / "native.token").read_text().strip() not in shown.stdout


def test_config_schema_is_the_one_in_the_tree(tmp_path: Path) -> None:
    shown = flashd("config", "schema", cwd=tmp_path)
    committed = Path(__file__).parent.parent.parent / "config" / "flashd.schema.json"
    assert json.loads(shown.stdout) == json.loads(committed.read_text())
