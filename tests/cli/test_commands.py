"""The commands that need no daemon."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from flashd.cli import cli
from flashd.cli.client import ApiError, reachable


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


def every_parameter() -> list[tuple[str, click.Parameter]]:
    """Return the options and arguments of every command, each with the words of its command."""
    return [(" ".join(path), parameter) for path in every_command() for parameter in command_at(path).params]


def command_at(path: tuple[str, ...]) -> click.Command:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return command


@pytest.mark.parametrize("path", every_command(), ids=" ".join)
def test_every_command_has_help_that_says_what_it_does(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name="flashd")
    assert result.exit_code == 0, result.output
    body = result.output.partition("\n\n")[2].strip()
    assert re.match(r"^[A-Z].*", body), result.output
    silent = [option.opts for option in command_at(path).params if isinstance(option, click.Option) and not option.help]
    assert silent == []


@pytest.mark.parametrize("path", [(), ("stock",), ("sale",), ("orders",), ("channel",)], ids=" ".join)
def test_the_list_of_commands_says_of_each_what_it_does_and_is_not_cut_off(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name="flashd")
    listed = result.output.partition("Commands:\n")[2]
    assert len(listed.splitlines()) > 6
    assert "..." not in listed


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


def test_init_where_nothing_may_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    refused = flashd("init", "-o", "taken/flashd.toml", cwd=tmp_path)
    assert refused.returncode == 1
    assert "choose a folder that you may write to" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_audit_of_a_store_that_is_away_is_not_a_difference(tmp_path: Path) -> None:
    flashd("init", "--channel", "native", cwd=tmp_path)
    audit = flashd("audit", cwd=tmp_path, FLASHD__STORE__URL="redis://127.0.0.1:9")
    assert audit.returncode == 75
    assert "the store redis://127.0.0.1:9 cannot be audited" in audit.stderr
    assert "start it" in audit.stderr
    assert "Traceback" not in audit.stderr


def on_a_terminal(width: int, code: str) -> list[str]:
    """Run code whose stdout is a terminal of this width, and return what stood on it."""
    terminal, child = os.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=child,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": str(width), "TERM": "xterm"},
    )
    os.close(child)
    text = b""
    with contextlib.suppress(OSError):  # EIO: its other end is closed
        while piece := os.read(terminal, 4096):
            text += piece
    os.close(terminal)
    assert run.wait(20) == 0
    return click.unstyle(text.decode()).replace("\r", "").rstrip("\n").split("\n")


TABLE = """
from flashd.cli.session import print_table
columns = ("ORDER", "STATE", "#SENDS", "CHANGED (UTC)", "REASON")
why = "unknown SKU: " + ", ".join(f"SKU-{n}" for n in range(20))
rows = [("shop:820982911946154508", "parked", 0, "2026-11-27 08:00:00", why), ("till:1", "delivered", 12, "", "")]
print_table(columns, rows, empty="none")
"""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_breaks_no_id_and_no_line_on_a_terminal(width: int) -> None:
    lines = on_a_terminal(width, TABLE)
    assert all(len(line) <= max(width, 70) for line in lines), lines
    assert lines[0].split() == ["ORDER", "STATE", "SENDS", "CHANGED", "(UTC)", *(["REASON"] if width == 120 else [])]
    assert lines[1].startswith("shop:820982911946154508  parked")
    assert " ".join(" ".join(lines[1:-1]).split()).endswith("SKU-18, SKU-19")
    assert lines[-1].split() == ["till:1", "delivered", "12"]
    assert lines[0].index("SENDS") + 5 == lines[-1].index("12") + 2


def test_a_table_in_a_pipe_is_one_line_a_row() -> None:
    piped = subprocess.run([sys.executable, "-c", TABLE], capture_output=True, text=True, check=True, timeout=20)
    assert len(piped.stdout.splitlines()) == 3
    assert piped.stdout.splitlines()[1].endswith("SKU-18, SKU-19")


def test_a_state_is_asked_for_as_it_is_printed(tmp_path: Path) -> None:
    asked = flashd("orders", "list", "--state", "in_doubt", "--url", "127.0.0.1:9", cwd=tmp_path)
    assert "no daemon answers" in asked.stderr, asked.stderr


def test_a_warning_is_not_marked_as_fine(tmp_path: Path) -> None:
    flashd("init", "--channel", "native", cwd=tmp_path)
    (tmp_path / "native.token").chmod(0o644)
    checked = flashd("check", cwd=tmp_path)
    assert checked.returncode == 0
    assert "warn flashd.toml: channels.native.tokens[0]" in checked.stdout
    assert "chmod" in checked.stdout


@pytest.mark.parametrize("backend", ["http", "tryton", "odoo"])
def test_init_says_what_is_to_do_on_the_side_of_the_backend(tmp_path: Path, backend: str) -> None:
    made = flashd("init", "--backend", backend, "-o", "etc/flashd.toml", cwd=tmp_path)
    assert "erp: write" in made.stdout
    assert "etc/flashd.toml" in made.stdout
    if backend != "http":
        assert f"etc/{backend}.key" in made.stdout


@pytest.mark.parametrize(
    ("status", "problem", "path", "said"),
    [
        (400, {"detail": "name the pool: ?pool=main|outlet"}, "/admin/v1/orders", ["main|outlet", "--pool NAME"]),
        (404, {"type": "about:blank", "detail": "no such order"}, "/admin/v1/orders/a/1", ["flashd orders list"]),
        (404, {"detail": "Not Found"}, "/admin/v1/status", ["is this flashd's admin listener?"]),
        (401, {"detail": "no"}, "/admin/v1/status", ["FLASHD_TOKEN"]),
        (
            404,
            {"type": "about:blank", "detail": "/admin/v1/status: there is no such path here"},
            "/admin/v1/status",
            ["is this flashd's admin listener?"],
        ),
        (
            503,
            {"detail": "nothing is known now"},
            "/admin/v1/stock",
            ["nothing is known now", "`flashd status` says why"],
        ),
        (421, {"detail": "see [admin] hosts"}, "/admin/v1/status", ["--url 127.0.0.1:PORT"]),
    ],
)
def test_a_refusal_of_the_daemon_says_what_to_do(
    status: int, problem: dict[str, str], path: str, said: list[str]
) -> None:
    words = ApiError(status, problem, path).message
    assert all(word in words for word in said), words
    assert "?pool" not in words


@pytest.mark.parametrize(
    ("host", "reached"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.0.0.7", "10.0.0.7")],  # noqa: S104  # nothing is bound
)
def test_a_listener_on_every_address_is_called_over_loopback(host: str, reached: str) -> None:
    assert reachable(host) == reached


def test_an_address_with_https_is_never_called_in_the_clear(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        heard: list[bytes] = []

        def listen() -> None:
            caller, _ = door.accept()
            with caller:
                heard.append(caller.recv(3))

        ear = threading.Thread(target=listen)
        ear.start()
        flashd("status", "--url", f"https://127.0.0.1:{port}", cwd=tmp_path, FLASHD_TOKEN="a-secret")
        ear.join(10)
    assert heard[0][:1] == b"\x16"  # a TLS handshake


class _Taker(BaseHTTPRequestHandler):
    """Says yes to every webhook."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def address_string(self) -> str:
        return "somebody"


def _configured(folder: Path, listen: str) -> None:
    flashd("init", "--channel", "standard_webhooks", cwd=folder)
    file = folder / "flashd.toml"
    file.write_text(re.sub(r'listen = "127.0.0.1:8787"[^\n]*', listen, file.read_text()))
    (folder / "order.json").write_text("{}")


def test_send_test_trusts_the_certificate_of_its_own_configuration(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem"]
    made += ["-days", "2", "-subj", "/CN=shop.example", "-addext", "subjectAltName=DNS:shop.example"]
    subprocess.run(made, cwd=tmp_path, capture_output=True, check=True, timeout=60)
    (tmp_path / "k.pem").chmod(0o600)
    server = HTTPServer(("127.0.0.1", 0), _Taker)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    listen = f'listen = "127.0.0.1:{server.server_port}"\ntls = {{ cert = "c.pem", key = "k.pem" }}'
    _configured(tmp_path, listen)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sent = flashd("send-test", "standard-webhooks", "--order", "order.json", cwd=tmp_path)
        to = f"https://127.0.0.1:{server.server_port}"
        foreign = flashd("send-test", "standard-webhooks", "--order", "order.json", "--to", to, cwd=tmp_path)
        asked = flashd("status", "--url", to, cwd=tmp_path)
        server.shutdown()
    assert sent.stdout == "200 /webhooks/standard-webhooks\n", sent.stderr
    assert "a certificate that is not trusted here" in foreign.stderr
    assert "SSL_CERT_FILE" in asked.stderr


@pytest.mark.parametrize("to", ["http://shop:99999", "http://shop:http", "shop:8787", "http://"])
def test_send_test_says_what_is_no_address(tmp_path: Path, to: str) -> None:
    _configured(tmp_path, 'listen = "127.0.0.1:1"')
    refused = flashd("send-test", "standard-webhooks", "--order", "order.json", "--to", to, cwd=tmp_path)
    assert f"--to: '{to}' is no address: write http://host:port or https://host" in refused.stderr
    assert (refused.returncode, "Traceback" in refused.stderr) == (2, False)


def test_send_test_reaches_an_intake_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "intake.sock"
    _configured(tmp_path, f'listen = "unix:{path}"')
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server = HTTPServer(("127.0.0.1", 0), _Taker)
    server.socket.close()
    door.bind(str(path))
    door.listen(1)
    server.socket = door
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sent = flashd("send-test", "standard-webhooks", "--order", "order.json", cwd=tmp_path)
        server.shutdown()
    assert sent.stdout == "200 /webhooks/standard-webhooks\n", sent.stderr
