from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parent.parent / "systemd"
SERVICE = (UNITS / "flashd.service").read_text()

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing: install Debian's package systemd"
)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The units with another program in flashd's place, which need not be installed to judge them."""
    shutil.copy(UNITS / "flashd.socket", tmp_path)
    stub, replaced = re.subn(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", SERVICE)
    assert replaced == 1
    (tmp_path / "flashd.service").write_text(stub)
    return tmp_path


def _analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, timeout=60, check=False
    )


@needs_analyze
def test_systemd_finds_nothing_wrong_with_the_units(copied: Path) -> None:
    done = _analyze("verify", "--man=no", str(copied / "flashd.service"), str(copied / "flashd.socket"))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_analyze
def test_systemd_finds_a_misspelt_line(copied: Path) -> None:
    (copied / "flashd.service").write_text((copied / "flashd.service").read_text().replace("UMask", "UMsk"))
    assert "UMsk" in _analyze("verify", "--man=no", str(copied / "flashd.service")).stderr


@needs_analyze
def test_the_sandbox_leaves_an_exposure_of_at_most_1_5(copied: Path) -> None:
    done = _analyze("security", "--offline=true", "--threshold=15", str(copied / "flashd.service"))
    last = done.stdout.strip().splitlines()[-1]
    found = re.search(r"exposure level for flashd\.service: ([0-9.]+)", last)
    assert found is not None, done.stdout + done.stderr
    print(last)
    assert float(found[1]) <= 1.5
    assert done.returncode == 0


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "NotifyAccess=main",
        'ExecReload=/bin/sh -c "kill -HUP $MAINPID"',
        "KillMode=mixed",
        "RestartPreventExitStatus=2 78",
        "LimitCORE=0",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ],
)
def test_the_service_keeps_what_the_daemon_relies_on(line: str) -> None:
    assert line in SERVICE.splitlines()


def test_no_secret_stands_in_a_unit() -> None:
    for line in SERVICE.splitlines():
        assert not re.match(r"(SetCredential|Environment=.*(SECRET|TOKEN|PASSWORD))", line)
