"""`flashd init`: a first configuration, and what to do next on each platform."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click

CHANNELS = ("shopify", "woocommerce", "standard_webhooks", "native")
BACKENDS = ("http", "tryton", "odoo")

_STEPS = {
    "shopify": """\
Shopify: put the app's client secret (Dev Dashboard -> your app -> Settings -> Client secret) into {file}
(mode 0600), then subscribe the topics orders/create, orders/updated, orders/paid, orders/cancelled to
    {address}
and name it for the compliance webhooks (customers/data_request, customers/redact, shop/redact) and app/uninstalled.
Webhooks made in the shop's admin (Settings -> Notifications -> Webhooks) are signed with the key shown there.""",
    "woocommerce": """\
WooCommerce: Settings -> Advanced -> Webhooks -> Add webhook, once each for "Order created" and "Order updated":
status Active, API version WP REST API Integration v3, secret the content of {file} (made for you),
delivery URL
    {address}
WooCommerce never repeats a webhook. Cancel orders before you delete them: a deletion does not say of what.""",
    "standard_webhooks": """\
{name}: sign each order as https://www.standardwebhooks.com says, with the secret
in {file} (made for you), and POST it to
    {address}""",
    "native": """\
{name}: your storefront or till calls POST /v1/holds and POST /v1/orders on {listen} with
    Authorization: Bearer <the content of {file}> (made for you)""",
}

_BACKEND = {
    "http": """\
url = "http://127.0.0.1:9000/orders"      # POST, JSON, with an Idempotency-Key
# Without a look-up, what became of a lost answer needs an idempotent backend or a human.
lookup_url = "http://127.0.0.1:9000/orders?key={key}"
""",
    "tryton": """\
url = "http://127.0.0.1:8000/erp"         # the server and its database
secret = { file = "tryton.key" }          # a user application key of the application "rest"
shop = 1                                  # the record number of the web shop
party = 1                                 # of who buys; not the shop's guest party
""",
    "odoo": """\
url = "https://erp.example.com"           # Odoo 19 or newer
database = "erp"
secret = { file = "odoo.key" }            # an API key
partner = 1                               # the database id of who buys
currency = "EUR"                          # of the partner's price list
""",
}

_LOGIN = {
    "http": "erp: write its address into {output}, and a look-up if it has one; a login is secret = {{ file = ... }}.",
    "tryton": """\
erp: write Tryton's address, web shop and party into {output}, and put the key of a user application "rest"
into {folder}tryton.key (mode 0600).""",
    "odoo": """\
erp: write Odoo's address, database and partner into {output}, and put an API key into {folder}odoo.key (mode 0600).""",
}

_HEAD = """\
# flashd: the configuration. Every key with its default and its reason: config/flashd.toml in the source, or
# `flashd config schema`. Secrets never stand here, only where they lie.

[store]
url = "embedded"            # a server of flashd's own; or redis://, rediss://, unix://

[intake]
listen = "127.0.0.1:8787"   # platforms want HTTPS: put a proxy in front, or give tls = { cert, key }

[admin]
listen = "127.0.0.1:8788"   # loopback only

[pools.main]
safety_stock = 0            # units that are never promised
"""


@click.command("init")
@click.option(
    "--channel",
    "channels",
    type=click.Choice(CHANNELS),
    multiple=True,
    default=("shopify",),
    show_default=True,
    help="A platform that sells; several times for several.",
)
@click.option(
    "--backend", type=click.Choice(BACKENDS), default="http", show_default=True, help="What must get every order."
)
@click.option(
    "--public-url",
    default="https://flashd.example.com",
    show_default=True,
    help="Where the platforms reach the intake listener.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("flashd.toml"),
    show_default=True,
    help="The file to write; secrets lie beside it.",
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(channels: tuple[str, ...], backend: str, public_url: str, output: Path, *, force: bool) -> None:
    """Write a commented flashd.toml and say what to do on each platform."""
    _check_address(public_url)
    if output.exists() and not force:
        raise click.ClickException(f"{output} exists: choose another name with -o, or overwrite it with --force")
    names = {kind: "shop" if kind == "shopify" else kind.replace("_", "-") for kind in dict.fromkeys(channels)}
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        for kind, name in names.items():
            _make_secret(kind, output.parent / _file_of(kind, name))
        output.write_text(_toml(names, backend))
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or output}: {error.strerror}; choose a folder that you may write to with -o"
        ) from None
    click.echo(f"Wrote {output}.\n")
    for kind, name in names.items():
        address = f"{public_url.rstrip('/')}/webhooks/{name}"
        file = output.parent / _file_of(kind, name)
        click.echo(_STEPS[kind].format(address=address, file=file, name=name, listen="127.0.0.1:8787") + "\n")
    folder = "" if output.parent == Path() else f"{output.parent}/"
    click.echo(_LOGIN[backend].format(output=output, folder=folder) + "\n")
    click.echo(f"Then: flashd check -c {output} --online, and flashd run -c {output}")


def _check_address(public_url: str) -> None:
    try:
        parts = urlsplit(public_url)
        fine = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:  # brackets that hold no IPv6 address
        fine = False
    if not fine:
        raise click.BadParameter(
            f"{public_url!r} is no address: write https://host, as the platforms call it", param_hint="--public-url"
        )


def _file_of(kind: str, name: str) -> str:
    return f"{name}.token" if kind == "native" else f"{name}.secret"


def _make_secret(kind: str, path: Path) -> None:
    """Make a secret where it is ours to choose; Shopify gives its own."""
    if kind == "shopify" or path.exists():
        return
    text = secrets.token_urlsafe(32)
    if kind == "standard_webhooks":
        import base64  # noqa: PLC0415  # one kind needs it

        text = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    path.touch(mode=0o600)
    path.write_text(text + "\n")


def _toml(names: dict[str, str], backend: str) -> str:
    since = datetime.now(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
    parts = [_HEAD]
    for kind, name in names.items():
        file = f'{{ file = "{_file_of(kind, name)}" }}'
        proof = f'tokens = [{{ name = "{name}", secret = {file} }}]' if kind == "native" else f"secrets = [{file}]"
        parts += [
            f'\n[channels.{name}]\nkind = "{kind}"\npool = "main"\n',
            f"since = {since}   # cut-over: older orders never reserve\n{proof}\n",
        ]
    parts += [
        f'\n[backends.erp]\nkind = "{backend}"\n{_BACKEND[backend]}',
        'rate = "60/min"             # what it can take; never more\n',
        '\n[[routes]]\nbackend = "erp"             # first match wins; the last one catches all\n',
    ]
    return "".join(parts)
