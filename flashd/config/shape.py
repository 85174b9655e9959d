"""
The shapes of the configuration: one strict Struct per room, every default in one place.

Adapters bring their own Structs, extending :class:`ChannelConfig` or :class:`BackendConfig`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from flashd.config.secret import Secret
from flashd.domain.publication import PublishMode, Threshold
from flashd.domain.triage import TriageRule

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Port = Annotated[int, Meta(ge=0, le=65535)]
PositiveInt = Annotated[int, Meta(ge=1, le=10**12)]  # what counters and intervals can hold
NotNegative = Annotated[int, Meta(ge=0, le=10**12)]


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who may call: a name for the audit trail and where the token lies. Only its hash stays in memory."""

    name: str
    secret: Secret
    scopes: tuple[Literal["read", "operate", "admin"], ...] = ("read",)


class TlsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Certificate and key files, PEM."""

    cert: str
    key: str


class StoreConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where Redis or Valkey is, and how durable it must be."""

    url: str = "embedded"  # embedded | redis:// | rediss:// | unix:// | sentinel:// | cluster://
    durability: Literal["fsync", "everysec", "none"] = "fsync"
    replicas: Annotated[int, Meta(ge=0, le=16)] = 0  # so many must have a write before it is answered for
    state_dir: str = ""  # default: $STATE_DIRECTORY, else ~/.local/state/flashd
    password: Secret | None = None
    username: str = ""
    sentinel_password: Secret | None = None  # of the Sentinels themselves, where they ask for one
    sentinel_username: str = ""
    ca_file: str = ""
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    connections: Annotated[int, Meta(ge=2, le=1000)] = 32
    journal_entries: Annotated[int, Meta(ge=1000)] = 1_000_000
    retention_days: Annotated[int, Meta(ge=30, le=36_500)] = 30
    customer_days: Annotated[int, Meta(ge=0, le=36_500)] = (
        30  # so long after it was settled an order keeps its customer
    )


class IntakeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The listener that sales channels call."""

    listen: str = "127.0.0.1:8787"
    tls: TlsConfig | None = None
    trusted_proxies: tuple[str, ...] = ()
    body_bytes: PositiveInt = 262_144  # native bodies
    webhook_bytes: PositiveInt = 4_194_304
    budget_bytes: PositiveInt = 268_435_456  # of all bodies in flight together
    header_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    body_timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    connections: PositiveInt = 4096


class AdminConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The listener of the operator: loopback or a unix socket (``unix:/run/flashd/admin.sock``)."""

    listen: str = "127.0.0.1:8788"
    tokens: tuple[Token, ...] = ()
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")  # Host headers that are answered


class PoolConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SKUs whose stock changes together."""

    safety_stock: NotNegative = 0
    location: str = "main"
    hold_ttl_s: PositiveInt = 600
    hold_max_s: PositiveInt = 1800
    count_margin_s: Annotated[float, Meta(ge=0, le=3600)] = 2.0  # so near to a count an order is not yet in it
    customer_key: Secret | None = None  # keys the hash that limits count a customer by, over all channels of the pool


class PublishConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the channel is told of stock; buffer, floor, cap and percent also bind new holds of the channel."""

    mode: PublishMode = "none"
    percent: Annotated[int, Meta(ge=0, le=100)] = 100
    buffer: NotNegative = 0
    floor: NotNegative = 0
    cap: NotNegative = 0
    skus: dict[str, Threshold] = {}  # instead of the channel's own, by SKU
    tune: Annotated[float, Meta(ge=0, le=100)] = 0.0  # buffer of at least sell rate x p99 lag x this factor; 0: off
    rate: str = "2/s"  # calls to the platform
    revisions_per_day: NotNegative = 0  # of one listing; 0: no budget
    doubt_s: Annotated[float, Meta(gt=0, le=604_800)] = 30.0  # so long may a lost write still land

    @property
    def threshold(self) -> Threshold:
        """Return what is kept from sight of a SKU without a threshold of its own."""
        return Threshold(percent=self.percent, buffer=self.buffer, floor=self.floor, cap=self.cap)


class ChannelConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every sales channel has; an adapter's own Struct extends it."""

    proven_by: ClassVar[tuple[str, ...]] = ("secrets",)  # which of secrets and tokens must be there

    kind: str
    pool: Name = "main"
    secrets: Annotated[tuple[Secret, ...], Meta(max_length=3)] = ()
    tokens: tuple[Token, ...] = ()  # native API calls; scopes are not used there
    since: datetime | None = None  # cut-over: older orders never reserve
    locations: tuple[str, ...] = ()  # where its orders take stock, in this order; (): the pool's location
    split: bool = True  # an order may take from several locations
    restocks: bool = True  # the platform puts units of a cancelled order back on its own shelf
    publish: PublishConfig = PublishConfig()
    poll_s: Annotated[float, Meta(ge=0, le=86_400)] = 60.0  # how often orders are polled; 0: never

    @property
    def asks(self) -> bool:
        """Say whether it holds units before it sells them; a token of a kind that only sends webhooks may just read."""
        return "tokens" in self.proven_by and bool(self.tokens)


class BackendConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every backend has; an adapter's own Struct extends it."""

    url_schemes: ClassVar[tuple[str, ...]] = ("http", "https")  # of url, which is then needed; () if it has none

    kind: str
    url: str = ""
    rate: str = "60/min"
    burst: PositiveInt = 1
    batch: Annotated[int, Meta(ge=1, le=200)] = 1  # new orders in one request, where the kind can
    max_in_flight: PositiveInt = 4
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    settle_s: Annotated[float, Meta(ge=0, le=604_800)] = 60.0
    max_refusals: PositiveInt = 5
    slow_start_s: Annotated[float, Meta(gt=0, le=86_400)] = (
        10.0  # after an outage a tenth of the rate, doubled every so often
    )
    at_least_once: bool = False
    counts_s: Annotated[float, Meta(ge=0, le=604_800)] = 0.0  # how often its stock is counted, if told; 0: never
    counts_repair: Literal["safe", "all", "none"] = (
        "safe"  # which counts are set: those that make no deficit, all, none
    )


class RouteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """First match wins; a filter that is left out matches all."""

    backend: Name
    channel: str = ""
    sku: str = ""  # a shell pattern; matches if every line's SKU does
    country: str = ""
    tag: str = ""


class AlertsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who is told when a human is needed: a webhook, signed as Standard Webhooks are."""

    url: str = ""  # "": nobody
    secret: Secret | None = None  # whsec_...
    repeat_s: Annotated[float, Meta(gt=0, le=604_800)] = 900.0  # the same trouble is told again no sooner than that
    per_hour: PositiveInt = 60  # at most so many; what is over is summed up in the next
    in_doubt_s: Annotated[float, Meta(gt=0, le=604_800)] = 300.0  # an order in doubt for longer is told


class TriageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What becomes of paid orders that cannot be covered; what no rule decides, a human does."""

    rules: tuple[TriageRule, ...] = ()  # the first that matches decides
    substitutes: dict[str, tuple[str, ...]] = {}  # SKU = what may go instead, the best first


class LogConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much is said."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file. Channels and backends are decoded by their adapters' own Structs."""

    store: StoreConfig = StoreConfig()
    intake: IntakeConfig = IntakeConfig()
    admin: AdminConfig = AdminConfig()
    logs: LogConfig = LogConfig()
    alerts: AlertsConfig = AlertsConfig()
    triage: TriageConfig = TriageConfig()
    pools: dict[str, PoolConfig] = {}
    channels: dict[str, ChannelConfig] = {}
    backends: dict[str, BackendConfig] = {}
    routes: tuple[RouteConfig, ...] = ()


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A checked configuration, and where it comes from."""

    config: Config
    path: str
    origins: dict[str, str]  # key path -> the file, or the environment variable; a default where it is not here
    warnings: tuple[str, ...] = ()

    @property
    def base(self) -> Path:
        """The folder that relative paths of the file start from."""
        return Path(self.path).resolve().parent
