"""
The configuration: one strict Struct per room, read from TOML, overridden by FLASHD__ variables.

It is checked before anything starts. Adapters bring their own Structs, extending :class:`ChannelConfig` or
:class:`BackendConfig`; :func:`load` is handed them.
"""

from flashd.config.load import load, require_runnable
from flashd.config.rules import secrets_in
from flashd.config.secret import Secret, SecretText, reveal
from flashd.config.shape import (
    AdminConfig,
    AlertsConfig,
    BackendConfig,
    ChannelConfig,
    Config,
    IntakeConfig,
    Loaded,
    LogConfig,
    Name,
    NotNegative,
    PoolConfig,
    Port,
    PositiveInt,
    PublishConfig,
    RouteConfig,
    StoreConfig,
    TlsConfig,
    Token,
)
from flashd.config.view import schema, show

__all__ = [
    "AdminConfig",
    "AlertsConfig",
    "BackendConfig",
    "ChannelConfig",
    "Config",
    "IntakeConfig",
    "Loaded",
    "LogConfig",
    "Name",
    "NotNegative",
    "PoolConfig",
    "Port",
    "PositiveInt",
    "PublishConfig",
    "RouteConfig",
    "Secret",
    "SecretText",
    "StoreConfig",
    "TlsConfig",
    "Token",
    "load",
    "require_runnable",
    "reveal",
    "schema",
    "secrets_in",
    "show",
]
