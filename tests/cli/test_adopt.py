"""`flashd adopt` and `flashd backend ask-first`: what they say, and what they do not do unasked."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from flashd.cli import cli, main
from tests.cli.test_exit_codes import RUNNABLE
from tests.servers import Server


@pytest.fixture
def path(tmp_path: Path, server: Server) -> Path:
    (tmp_path / "till.token").write_text("till-token-of-the-test")
    (tmp_path / "till.token").chmod(0o600)
    file = tmp_path / "flashd.toml"
    file.write_text(RUNNABLE.replace("STORE", server.url).replace("STATE", str(tmp_path / "state")))
    return file


def test_whoever_does_not_say_yes_adopts_nothing(path: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["adopt", "-c", str(path)], input="n\n")
    assert done.exit_code == 1
    assert "Go on?" in done.output
    assert "asked before" not in done.output


def test_adopting_says_who_is_asked_first_and_what_was_forgotten(path: Path) -> None:
    for _ in range(2):
        done = CliRunner().invoke(cli, ["adopt", "-c", str(path), "--yes"])
        assert done.exit_code == 0, done.output
        assert "asked before anything is sent: erp" in done.output
        assert "nothing; it was not met before" in done.output


def test_an_embedded_store_that_never_was_is_78(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "flashd.toml"
    (tmp_path / "till.token").write_text("till-token-of-the-test")
    (tmp_path / "till.token").chmod(0o600)
    file.write_text(RUNNABLE.replace("STORE", "embedded").replace("STATE", str(tmp_path / "none")))
    monkeypatch.setattr(sys, "argv", ["flashd", "adopt", "-c", str(file), "--yes"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 78
    assert "no embedded store was ever started there" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("words", [[], ["--reason", "x", "--off"]])
def test_asking_first_wants_a_reason_or_an_end(words: list[str]) -> None:
    done = CliRunner().invoke(cli, ["backend", "ask-first", "erp", *words, "--url", "http://127.0.0.1:9"])
    assert done.exit_code == 2
    assert "say --reason TEXT, or --off" in done.output
