"""What types cannot say: addresses, rates, secrets, and names that must fit each other."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from flashd.config.problem import Review, did_you_mean, one_of, shown
from flashd.config.secret import SOURCES, Secret, is_closed, locate, reveal, world_readable
from flashd.config.shape import AlertsConfig, BackendConfig, ChannelConfig, Config, StoreConfig, Token
from flashd.domain.rate import Rate
from flashd.errors import ConfigError

_STORES = (
    "write embedded, redis://host:6379/0, rediss://host:6379/0, unix:///run/valkey/valkey.sock, "
    "sentinel://a:26379,b:26379,c:26379/service or cluster://a:6379,b:6379,c:6379"
)
_LISTEN = "write host:port, such as 127.0.0.1:8787 or [::1]:8787, or unix:/run/flashd/name.sock"


def check(config: Config, data: dict[str, Any], review: Review, *, base: Path, environ: Mapping[str, str]) -> None:
    """Review what was decoded; *data* still holds the names of sections that could not be."""
    _check_store(config.store, review)
    _check_listeners(config, review)
    _check_files(config, review, base)
    pools = _names(data, "pools") or list(config.pools)
    for name, channel in config.channels.items():
        _check_channel(f"channels.{name}", channel, pools, review)
    for name, backend in config.backends.items():
        _check_backend(f"backends.{name}", backend, review)
    for name, pool in config.pools.items():
        if pool.hold_ttl_s > pool.hold_max_s:
            key = f"pools.{name}.hold_ttl_s"
            review.report(key, str(pool.hold_ttl_s), f"write at most hold_max_s, which is {pool.hold_max_s}")
    _check_alerts(config.alerts, review)
    _check_tokens("admin.tokens", config.admin.tokens, review)
    _check_routes(config, data, review)
    for key, secret in secrets_in(config):
        _check_secret(key, secret, review, base, environ)


def secrets_in(value: object, key: str = "") -> Iterator[tuple[str, Secret]]:
    """Hand out every secret of a configuration with its key path."""
    if isinstance(value, Secret):
        yield key, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from secrets_in(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from secrets_in(member, f"{key}.{name}")
    elif isinstance(value, tuple | list):
        for number, member in enumerate(value):
            yield from secrets_in(member, f"{key}[{number}]")


def split_listen(text: str) -> tuple[str, int]:
    """
    Return host and port; for ``unix:/path`` the path and 0.

    Raises:
        ValueError: It is neither.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(text)
        return path, 0
    host, colon, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not bare or not port.isascii() or not port.isdigit() or int(port) > 65535:  # a port
        raise ValueError(text)
    if ":" in bare and (host == bare or not _is_address(bare)):
        raise ValueError(text)
    return bare, int(port)


def is_local(text: str) -> bool:
    """Say whether only this machine can reach that listen address."""
    if text.startswith("unix:"):
        return True
    host, _ = split_listen(text)
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _names(data: dict[str, Any], table: str) -> list[str]:
    raw = data.get(table)
    return list(raw) if isinstance(raw, dict) else []


def _check_store(store: StoreConfig, review: Review) -> None:
    if store.durability != "fsync":
        review.warn(
            "store.durability", f'"{store.durability}": an order answered with 2xx may be lost when power fails'
        )
    if store.url == "embedded":
        if store.replicas:
            what = "an embedded server has none: write 0, or name servers of yours, sentinel://... for one"
            review.report("store.replicas", str(store.replicas), what)
        return
    try:
        parts = urlsplit(store.url)
        whole = _is_whole(parts)
    except ValueError:
        parts, whole = urlsplit(""), False
    if parts.password or "password=" in parts.query:
        review.report("store.url", shown(store.url), 'holds a password; write password = { file = "..." } beside it')
    elif not whole:
        review.report("store.url", shown(store.url), _STORES)


def _is_whole(parts: SplitResult) -> bool:
    """Say whether a store's address names what its scheme needs. Raises ValueError where a port is none."""
    path = bool(parts.path.strip("/"))
    if parts.scheme in ("sentinel", "cluster"):
        return bool(parts.netloc.rpartition("@")[2].strip(",")) and path == (parts.scheme == "sentinel")
    if parts.scheme == "unix":
        return path
    return parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0


def _check_listeners(config: Config, review: Review) -> None:
    fine = []
    for key, listen in (("intake.listen", config.intake.listen), ("admin.listen", config.admin.listen)):
        try:
            fine.append(split_listen(listen))
        except ValueError:
            review.report(key, shown(listen), _LISTEN)
    if len(fine) < 2:  # intake and admin
        return
    if fine[0] == fine[1] and (fine[0][1] or "/" in fine[0][0]):
        review.report("admin.listen", shown(config.admin.listen), "write another address than that of [intake]")
    if not is_local(config.admin.listen) and not config.admin.tokens:
        what = "others can reach it: write a loopback address or unix:/path, or add [[admin.tokens]]"
        review.report("admin.listen", shown(config.admin.listen), what)
    if not is_local(config.intake.listen) and config.intake.tls is None and not config.intake.trusted_proxies:
        review.warn(
            "intake.listen", "others can reach it without HTTPS: add tls, or trusted_proxies if a proxy speaks it"
        )
    for number, proxy in enumerate(config.intake.trusted_proxies):
        try:
            ipaddress.ip_network(proxy)
        except ValueError:
            what = "write an address or a network, such as 10.0.0.7 or 10.0.0.0/8"
            review.report(f"intake.trusted_proxies[{number}]", shown(proxy), what)


def _check_files(config: Config, review: Review, base: Path) -> None:
    tls = config.intake.tls
    named = [("store.ca_file", config.store.ca_file)] if config.store.ca_file else []
    named += [("intake.tls.cert", tls.cert), ("intake.tls.key", tls.key)] if tls else []
    for key, name in named:
        path = base / Path(name).expanduser()
        if not path.is_file():
            review.report(key, shown(name), f"write a PEM file that exists; there is no {path}")


def _check_channel(key: str, channel: ChannelConfig, pools: list[str], review: Review) -> None:
    if channel.pool not in pools:
        what = f"there is no such pool{did_you_mean(channel.pool, pools)}; write one of {one_of(pools)}"
        review.report(f"{key}.pool", shown(channel.pool), f"{what}, or add [pools.{channel.pool}]")
    for needed in channel.proven_by:
        if not getattr(channel, needed):
            form = '[{ file = "..." }]' if needed == "secrets" else '[{ name = "...", secret = { file = "..." } }]'
            what = f"a {channel.kind} channel needs them, else anybody could send orders; write {needed} = {form}"
            review.report(f"{key}.{needed}", "(none)", what)
    _check_publishing(f"{key}.publish", channel, review)
    if channel.publish.mode == "escrow" and channel.poll_s == 0:
        what = "escrow learns from polls what was sold, else units stay taken for ever; write poll_s = 60, or mirror"
        review.report(f"{key}.poll_s", "0", what)
    try:
        Rate.parse(channel.publish.rate)
    except ValueError as error:
        review.report(f"{key}.publish.rate", shown(channel.publish.rate), str(error).partition(": ")[2])
    for number, location in enumerate(channel.locations):
        if not location or not location.isprintable() or location in channel.locations[:number]:
            review.report(f"{key}.locations[{number}]", shown(location), "write the name of a location, each once")
    _check_tokens(f"{key}.tokens", channel.tokens, review)


def _check_publishing(key: str, channel: ChannelConfig, review: Review) -> None:
    publish = channel.publish
    if publish.mode == "mirror" and not channel.asks and not publish.buffer and not publish.tune:
        what = (
            "every unit is shown everywhere: two channels may sell the last one; write buffer, tune, or mode = escrow"
        )
        review.warn(key, what)
    if publish.mode == "escrow" and channel.asks:
        what = (
            "what is granted to it is not free any more, not even for its own holds: write mode = mirror, as it asks"
            " before it sells"
        )
        review.warn(f"{key}.mode", what)


def _check_alerts(alerts: AlertsConfig, review: Review) -> None:
    if not alerts.url:
        return
    try:
        parts = urlsplit(alerts.url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, fine = urlsplit(""), False
    if not fine or parts.password:
        review.report("alerts.url", shown(alerts.url), "write https://host/path, without a login in it")
    elif alerts.secret is None:
        what = 'whoever is told must be able to trust it; write secret = { file = "alerts.secret" }'
        review.report("alerts.secret", "(none)", what)


def _check_backend(key: str, backend: BackendConfig, review: Review) -> None:
    try:
        Rate.parse(backend.rate, unlimited=True)
    except ValueError as error:
        review.report(f"{key}.rate", shown(backend.rate), str(error).partition(": ")[2])
    if not backend.url_schemes:
        return
    form = f"write its address, {backend.url_schemes[0]}://host:port/path"
    try:
        parts = urlsplit(backend.url)
        fine = parts.scheme in backend.url_schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, fine = urlsplit(""), False
    if parts.username or parts.password:
        review.report(f"{key}.url", shown(backend.url), "holds a login; secrets have keys of their own")
    elif not fine:
        schemes = " or ".join(f"{scheme}://" for scheme in backend.url_schemes)
        review.report(f"{key}.url", shown(backend.url), f"{form} ({schemes})")


def _check_tokens(key: str, tokens: tuple[Token, ...], review: Review) -> None:
    for name, times in Counter(token.name for token in tokens).items():
        if times > 1:
            review.report(
                f"{key}.name", shown(name), f"stands there {times} times; each name once, for the audit trail"
            )


def _check_routes(config: Config, data: dict[str, Any], review: Review) -> None:
    backends, channels = _names(data, "backends"), _names(data, "channels")
    if len(config.routes) != len(data.get("routes", ())) or not (backends or config.routes):
        return  # not understood, which is reported already; or nothing to route to
    ends = 0
    for number, route in enumerate(config.routes):
        key = f"routes[{number}]"
        if ends:
            review.warn(key, f"is never reached: routes[{ends - 1}] catches all")
        if route.backend not in backends:
            what = f"there is no such backend{did_you_mean(route.backend, backends)}; write one of {one_of(backends)}"
            review.report(f"{key}.backend", shown(route.backend), what)
        if route.channel and route.channel not in channels:
            what = f"there is no such channel{did_you_mean(route.channel, channels)}; write one of {one_of(channels)}"
            review.report(f"{key}.channel", shown(route.channel), what)
        if not ends and not (route.channel or route.sku or route.country or route.tag):
            ends = number + 1
    if not ends:
        what = (
            f'the last one must catch all; add [[routes]] with backend = "{backends[0] if backends else "NAME"}" alone'
        )
        review.report("routes", f"({len(config.routes)} of them)", what)
    for name in backends:
        if all(route.backend != name for route in config.routes):
            review.warn(f"backends.{name}", "no route leads to it, so it gets no orders")


def _check_secret(key: str, secret: Secret, review: Review, base: Path, environ: Mapping[str, str]) -> None:
    name = next((name for name in SOURCES if getattr(secret, name) is not None), "")
    value = shown(getattr(secret, name))
    if secret.env is not None:
        if secret.env not in environ:
            review.warn(key, f"the environment variable {secret.env} is not set here")
        elif not environ[secret.env].strip():
            review.report(
                f"{key}.env", value, "that variable is empty, which would let anybody in; set it to the secret"
            )
        return
    try:
        path = locate(secret, base=base, environ=environ)
    except ConfigError as error:
        if secret.credential is not None and "CREDENTIALS_DIRECTORY" in str(error):
            review.warn(key, f"the credential {secret.credential} can only be checked in the service itself")
        else:
            review.report(key, shown(str(secret)), str(error))
        return
    if is_closed(path):  # of no concern to who only asks a running daemon
        review.warn(f"{key}.{name}", f"you may not read {path}, so it is not checked; who runs flashd must be able to")
    elif not path.is_file():
        review.report(f"{key}.{name}", value, f"write a file that exists and holds the secret; there is no {path}")
    else:
        try:
            reveal(secret, base=base, environ=environ)
        except ConfigError as error:
            review.report(f"{key}.{name}", value, str(error))
        if secret.file is not None and world_readable(path):
            review.warn(f"{key}.file", f"everybody on this machine may read {path}; chmod 640 it")
