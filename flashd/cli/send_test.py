"""`flashd send-test`: sign a webhook as the platform would, and send it to your own daemon."""

from __future__ import annotations

import functools
import http.client
import os
import ssl
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

import click

from flashd.cli.client import UnixConnection, reachable
from flashd.cli.session import config_option, load_config
from flashd.cli.terminal import say
from flashd.config import Loaded, reveal
from flashd.plugins import CHANNELS, pick
from flashd.ports import Channel

_TIMEOUT_S = 30.0


@click.command("send-test")
@click.argument("channel")
@click.option(
    "--order",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The body, as the platform would send it.",
)
@click.option("--to", metavar="URL", help="The intake listener, http(s)://host:port [default: the configuration's].")
@config_option
def send_test(channel: str, file: Path, to: str | None, config: str | None) -> None:
    """Sign FILE with the secret of CHANNEL and send it as a webhook; print status and answer. Exit 1 unless 2xx."""
    loaded = load_config(config)
    section = loaded.config.channels.get(channel)
    if section is None:
        known = ", ".join(sorted(loaded.config.channels)) or "none"
        raise click.BadParameter(f"there is no channel {channel!r} in {loaded.path}; there are: {known}")
    record = pick(CHANNELS, section.kind)
    if record.connect is None or not section.secrets:
        raise click.ClickException(f"{channel} takes no signed webhooks: call POST /v1/orders with its token instead")
    adapter = cast(
        "Channel", record.connect(channel, section, functools.partial(reveal, base=loaded.base, environ=os.environ))
    )
    body = file.read_bytes()
    signed = adapter.sign(body, now_s=time.time(), delivery_id=str(uuid.uuid4()))
    headers = {"content-type": "application/json"} | {name.lower(): value for name, value in signed.items()}
    connection = _to(to) if to else _to_own(loaded)
    status, answer = _post(connection, to or loaded.config.intake.listen, channel, body, headers)
    say(f"{status} {answer}")
    if not 200 <= status < 300:
        raise SystemExit(1)


def _to_own(loaded: Loaded) -> http.client.HTTPConnection:
    """Return a connection to the configuration's own listener; its certificate is trusted because it stands there."""
    intake = loaded.config.intake
    if intake.listen.startswith("unix:"):
        return UnixConnection(intake.listen.removeprefix("unix:"), _TIMEOUT_S)
    host, _, port = intake.listen.rpartition(":")
    host = reachable(host.strip("[]"))
    if intake.tls is None:
        return http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)
    try:
        trust = ssl.create_default_context(cafile=str(loaded.base / intake.tls.cert))
    except (OSError, ssl.SSLError) as error:
        raise click.ClickException(f"intake.tls.cert = {intake.tls.cert!r} cannot be read: {error}") from None
    trust.check_hostname = False  # it is called by its address, and the certificate names the public host
    trust.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return http.client.HTTPSConnection(host, int(port), timeout=_TIMEOUT_S, context=trust)


def _to(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == -1:
        raise click.BadParameter(f"{url!r} is no address: write http://host:port or https://host", param_hint="--to")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=_TIMEOUT_S)


def _post(
    connection: http.client.HTTPConnection, place: str, channel: str, body: bytes, headers: dict[str, str]
) -> tuple[int, str]:
    path = urlsplit(place).path.rstrip("/") if "://" in place else ""
    with closing(connection):
        try:
            connection.request("POST", f"{path}/webhooks/{quote(channel, safe='')}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except ssl.SSLError as error:
            raise click.ClickException(f"{place} has a certificate that is not trusted here: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise click.ClickException(
                f"no daemon answers at {place} ({error}).\n  Start it with `flashd run`, or name its address with --to."
            ) from None
