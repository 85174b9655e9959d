"""Whatever is wrong with the file or the store: exit 78, one message, no traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flashd.cli import main
from tests.cli.test_commands import flashd
from tests.config.test_wrong import WRONG
from tests.servers import Server, find_server, missing

OF_A_MADE_UP_ADAPTER = {"a key that an adapter needs", "a bad member of an adapter's table"}
CASES = {name: case[:3] for name, case in WRONG.items() if name not in OF_A_MADE_UP_ADAPTER}

RUNNABLE = """
[store]
url = "STORE"
state_dir = "STATE"
[intake]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:0"
[channels.till]
kind = "native"
tokens = [{ name = "till", secret = { file = "till.token" } }]
[backends.erp]
kind = "http"
url = "http://127.0.0.1:9/orders"
[[routes]]
backend = "erp"
"""


@pytest.mark.parametrize(("text", "key", "value"), CASES.values(), ids=CASES)
def test_every_wrong_configuration_ends_in_78_and_names_file_key_and_value(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    key: str,
    value: str,
) -> None:
    path = tmp_path / "flashd.toml"
    path.write_text(text)
    for name in ("shop.secret", "woo.secret", "till.token", "admin.token"):
        (tmp_path / name).write_text(f"{name}-of-the-test")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setattr(sys, "argv", ["flashd", "check", "-c", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr().err
    assert ended.value.code == 78, told
    assert str(path) in told
    assert key in told
    assert value in told
    assert "Traceback" not in told


@pytest.mark.parametrize("text", ["", '[logs]\nlevel = "debug"\n', "# all of it is a comment\n"])
def test_a_configuration_with_nothing_to_do_is_refused_by_check_in_the_words_of_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "flashd.toml").write_text(text)
    checked, ran = flashd("check", cwd=tmp_path), flashd("run", cwd=tmp_path)
    assert (checked.returncode, ran.returncode) == (78, 78), checked.stdout
    assert checked.stderr == ran.stderr
    assert "channels = (none): orders come from nowhere; add [channels.NAME]" in checked.stderr
    assert "backends = (none): orders go nowhere; add [backends.NAME]" in checked.stderr


@pytest.mark.parametrize(
    ("setting", "value", "mend"),
    [
        ("appendonly", "no", "CONFIG SET appendonly yes"),
        ("appendfsync", "everysec", "CONFIG SET appendfsync always"),
        ("no-appendfsync-on-rewrite", "yes", "CONFIG SET no-appendfsync-on-rewrite no"),
        ("maxmemory-policy", "allkeys-lru", "CONFIG SET maxmemory-policy noeviction"),
    ],
)
def test_a_daemon_refuses_a_server_that_is_not_durable_with_78_and_the_mend(
    tmp_path: Path, setting: str, value: str, mend: str
) -> None:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    server = Server("valkey", settings={setting: value}).start()
    try:
        (tmp_path / "till.token").touch(mode=0o600)
        (tmp_path / "till.token").write_text("till-token-of-the-test")
        text = RUNNABLE.replace("STORE", server.url).replace("STATE", str(tmp_path / "state"))
        (tmp_path / "flashd.toml").write_text(text)
        refused = flashd("run", cwd=tmp_path)
        assert refused.returncode == 78, refused.stderr
        assert mend in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        server.close()
