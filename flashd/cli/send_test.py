"""`flashd send-test`: sign a webhook as the platform would, and send it to your own daemon."""

from __future__ import annotations

import functools
import http.client
import os
import time
import uuid
from pathlib import Path
from typing import cast
from urllib.parse import quote, urlsplit

import click

from flashd.cli.session import config_option, load_config
from flashd.config import reveal
from flashd.plugins import CHANNELS, pick
from flashd.ports import Channel


@click.command("send-test")
@click.argument("channel")
@click.option(
    "--order",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The body, as the platform would send it.",
)
@click.option("--to", metavar="URL", help="The intake listener [default: the configuration's].")
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
    status, answer = _post(
        to or _address(loaded.config.intake.listen, tls=loaded.config.intake.tls is not None), channel, body, headers
    )
    click.echo(f"{status} {answer}")
    if not 200 <= status < 300:
        raise SystemExit(1)


def _address(listen: str, *, tls: bool) -> str:
    host, _, port = listen.rpartition(":")
    return f"{'https' if tls else 'http'}://{'127.0.0.1' if host in {'0.0.0.0', '[::]'} else host}:{port}"  # noqa: S104  # reached over loopback


def _post(url: str, channel: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=30)
    try:
        connection.request("POST", f"{parts.path}/webhooks/{quote(channel, safe='')}", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")
    except OSError as error:
        raise click.ClickException(f"no daemon answers at {url} ({error}); start it with `flashd run`") from None
    finally:
        connection.close()
