from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flashd.config import Secret, SecretText, load, reveal, show
from flashd.config.rules import is_local, split_listen
from flashd.errors import ConfigError
from tests.config.conftest import GOOD, ErpConfig, Load, ShelfConfig, ShopConfig


def test_channels_and_backends_are_decoded_by_their_adapters(read: Load) -> None:
    config = read().config
    shop, erp = config.channels["shop"], config.backends["erp"]
    assert isinstance(shop, ShopConfig)
    assert isinstance(erp, ErpConfig)
    assert shop.since == datetime(2026, 11, 1, tzinfo=UTC)
    assert (erp.rate, erp.max_in_flight, config.routes[0].backend) == ("120/min", 4, "erp")


def test_an_empty_file_is_all_defaults(read: Load) -> None:
    loaded = read("")
    assert loaded.config.intake.listen == "127.0.0.1:8787"
    assert list(loaded.config.pools) == ["main"]
    assert loaded.warnings == ()


def test_a_pool_that_is_given_is_the_only_one(read: Load) -> None:
    assert list(read(GOOD.replace("since", 'pool = "a"\nsince') + "[pools.a]\nsafety_stock = 3\n").config.pools) == [
        "a"
    ]


def test_variables_override_the_file_and_are_read_as_their_keys_want(read: Load) -> None:
    loaded = read(
        GOOD + '[channels.till-1]\nkind = "native"\ntokens = [{ name = "t", secret = { env = "T" } }]\n',
        FLASHD__BACKENDS__ERP__RATE="5/s",
        FLASHD__BACKENDS__ERP__MAX_IN_FLIGHT="2",
        FLASHD__BACKENDS__ERP__AT_LEAST_ONCE="true",
        FLASHD__BACKENDS__ERP__SECRET='{ env = "ERP" }',
        FLASHD__BACKENDS__FILES__KIND="shelf",
        FLASHD__BACKENDS__FILES__FOLDER="17",
        FLASHD__BACKENDS__FILES__DEPTH="2",
        FLASHD__CHANNELS__TILL_1__SINCE="2026-12-01T00:00:00Z",
        FLASHD__LOGS__LEVEL="debug",
        FLASHDX="not ours",
    )
    config = loaded.config
    erp = config.backends["erp"]
    assert isinstance(erp, ErpConfig)
    assert (erp.rate, erp.max_in_flight, erp.at_least_once, erp.secret) == ("5/s", 2, True, Secret(env="ERP"))
    assert config.backends["files"] == ShelfConfig(kind="shelf", folder="17", depth=2)
    assert config.channels["till-1"].since == datetime(2026, 12, 1, tzinfo=UTC)
    assert config.logs.level == "debug"


def test_every_value_shows_its_origin_and_secrets_are_stars(read: Load, tmp_path: Path) -> None:
    text = GOOD.replace("unix:///run/valkey/valkey.sock", "redis://me@localhost")
    lines = show(read(text, FLASHD__BACKENDS__ERP__RATE="5/s")).splitlines()
    file = f"{tmp_path}/flashd.toml"
    assert 'backends.erp.rate = "5/s"  # environment variable FLASHD__BACKENDS__ERP__RATE' in lines
    assert f'backends.erp.url = "http://127.0.0.1:8000/erp"  # {file}' in lines
    assert "backends.erp.burst = 1  # default" in lines
    assert f"channels.shop.secrets[0] = *** (file shop.secret)  # {file}" in lines
    assert f"channels.shop.since = 2026-11-01T00:00:00+00:00  # {file}" in lines
    assert "store.password = (not given)  # default" in lines


@pytest.mark.parametrize(
    "url", ["sentinel://a:26379,b:26379,[::1]:26379/flashd?db=1", "sentinel://me@a,b,c/flashd", "cluster://a:6379,b"]
)
def test_who_knows_where_the_primary_is_may_be_named_instead_of_it(read: Load, url: str) -> None:
    assert read(GOOD.replace("unix:///run/valkey/valkey.sock", url)).config.store.url == url


def test_what_is_unwise_is_a_warning(read: Load, tmp_path: Path) -> None:
    (tmp_path / "open.secret").write_text("x")
    (tmp_path / "open.secret").chmod(0o644)
    loaded = read(
        GOOD.replace("shop.secret", "open.secret").replace("[store]", '[store]\ndurability = "none"')
        + '[intake]\nlisten = "0.0.0.0:8787"\n[backends.spare]\nkind = "shelf"\nfolder = "x"\n'
        + '[channels.market]\nkind = "shopify"\nsecrets = [{ file = "open.secret" }]\npublish = { mode = "mirror" }\n'
        + '[channels.till]\nkind = "native"\npublish = { mode = "escrow" }\n'
        + 'tokens = [{ name = "a", secret = { env = "NOT_SET" } }, { name = "b", secret = { credential = "b" } }]\n'
        + '[[routes]]\nbackend = "erp"\ntag = "late"\n'
    )
    file = f"{tmp_path}/flashd.toml"
    starts = [
        f'{file}: store.durability: "none": an order answered with 2xx may be lost',
        f"{file}: intake.listen: others can reach it without HTTPS",
        f"{file}: channels.market.publish: every unit is shown everywhere",
        f"{file}: channels.till.publish.mode: what is granted to it is not free any more, not even for its own holds",
        f"{file}: routes[1]: is never reached: routes[0] catches all",
        f"{file}: backends.spare: no route leads to it",
        f"{file}: channels.shop.secrets[0].file: everybody on this machine may read {tmp_path}/open.secret",
        f"{file}: channels.market.secrets[0].file: everybody on this machine may read {tmp_path}/open.secret",
        f"{file}: channels.till.tokens[0].secret: the environment variable NOT_SET is not set",
        f"{file}: channels.till.tokens[1].secret: the credential b can only be checked in the service",
    ]
    assert len(loaded.warnings) == len(starts), loaded.warnings
    for warning, start in zip(loaded.warnings, starts, strict=True):
        assert warning.startswith(start)


def test_a_mirror_of_all_that_is_free_is_no_cause_for_alarm_only_where_the_channel_asks_before_it_sells(
    read: Load,
) -> None:
    proof = 'secrets = [{ file = "shop.secret" }]\ntokens = [{ name = "a", secret = { file = "shop.secret" } }]\n'
    ways = [("native", "mirror"), ("native", "escrow"), ("shopify", "mirror"), ("shopify", "escrow")]
    told = [
        read(GOOD + f'[channels.a]\nkind = "{kind}"\npublish = {{ mode = "{mode}" }}\n' + proof).warnings
        for kind, mode in ways
    ]
    assert [["a.publish" in line for line in lines] for lines in told] == [[], [True], [True], []]


def test_a_credential_that_the_service_manager_did_not_pass_is_refused(read: Load, tmp_path: Path) -> None:
    text = GOOD.replace('file = "shop.secret"', 'credential = "shop.secret"')
    assert read(text, CREDENTIALS_DIRECTORY=str(tmp_path)).warnings == ()
    with pytest.raises(ConfigError, match=r'secrets\[0\]\.credential = "shop\.secret": write a file that exists'):
        read(text, CREDENTIALS_DIRECTORY="/nowhere")


def test_secrets_are_read_from_file_variable_and_credential_without_their_line_break(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("hush\r\n")
    (tmp_path / "two").write_text("hush\n\n")
    environ = {"S": "hush", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = [
        reveal(secret, base=tmp_path, environ=environ)
        for secret in (Secret(file="one"), Secret(env="S"), Secret(credential="one"), Secret(file="two"))
    ]
    assert [str(text) for text in found] == ["hush", "hush", "hush", "hush\n"]
    assert all(isinstance(text, SecretText) for text in found)
    assert repr(found) == "['***', '***', '***', '***']"


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (Secret(file="none"), r"secret from file none: cannot read .*none: No such file"),
        (Secret(file="empty"), "secret from file empty is empty"),
        (Secret(file="bytes"), "is not UTF-8 text"),
        (Secret(file="big"), "is over 65536 bytes"),
        (Secret(env="NONE"), "there is no such environment variable; set it"),
        (Secret(credential="x"), r"no \$CREDENTIALS_DIRECTORY; start flashd by systemd with LoadCredential=x:"),
        (Secret(), "a secret lies nowhere"),
    ],
)
def test_a_secret_that_cannot_be_read_says_which_and_how_to_mend_it(
    tmp_path: Path, secret: Secret, message: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff")
    (tmp_path / "big").write_text("x" * 70_000)
    with pytest.raises(ConfigError, match=message):
        reveal(secret, base=tmp_path, environ={})


@contextlib.contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Go on as somebody who may not read everything, as root may."""
    us = os.geteuid()
    if us == 0:
        os.seteuid(65534)  # nobody
    try:
        yield
    finally:
        os.seteuid(us)


def test_secrets_that_this_user_may_not_read_are_no_concern_of_who_asks_a_running_daemon() -> None:
    with tempfile.TemporaryDirectory() as made:  # pytest's own folder is closed to others altogether
        folder, kept = Path(made), Path(made) / "kept"
        kept.mkdir()
        for path, mode in ((kept / "shop.secret", 0o600), (folder / "erp.secret", 0), (kept, 0), (folder, 0o755)):
            if path.suffix:
                path.write_text("hush")
            path.chmod(mode)
        text = GOOD.replace("shop.secret", "kept/shop.secret")
        (folder / "flashd.toml").write_text(text.replace("rate =", 'secret = { file = "erp.secret" }\nrate ='))
        with an_ordinary_user():
            warnings = load(
                folder / "flashd.toml",
                environ={},
                channel_kinds={"shopify": ShopConfig},
                backend_kinds={"http": ErpConfig},
            ).warnings
        kept.chmod(0o700)
    said = "so it is not checked; who runs flashd must be able to"
    assert [warning.partition(": ")[2] for warning in warnings] == [
        f"channels.shop.secrets[0].file: you may not read {kept}/shop.secret, {said}",
        f"backends.erp.secret.file: you may not read {folder}/erp.secret, {said}",
    ]


def test_relative_files_start_from_the_folder_of_the_configuration(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    loaded = read()
    assert loaded.base == tmp_path
    assert reveal(loaded.config.channels["shop"].secrets[0], base=loaded.base, environ={}) == "hush"


@pytest.mark.parametrize(
    ("text", "parts", "local"),
    [
        ("127.0.0.1:8787", ("127.0.0.1", 8787), True),
        ("localhost:0", ("localhost", 0), True),
        ("[::1]:80", ("::1", 80), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),  # noqa: S104  # the address in question
        ("shop.example:443", ("shop.example", 443), False),
        ("unix:/run/flashd/admin.sock", ("/run/flashd/admin.sock", 0), True),
    ],
)
def test_a_listen_address_is_split_and_known_to_be_local_or_not(text: str, parts: tuple[str, int], local: bool) -> None:  # noqa: FBT001  # a table
    assert split_listen(text) == parts
    assert is_local(text) is local


def test_without_any_kind_a_channel_is_refused_and_nothing_else_breaks(tmp_path: Path) -> None:
    path = tmp_path / "flashd.toml"
    path.write_text('[channels.a]\nkind = "b"\n')
    with pytest.raises(ConfigError, match="write one of none"):
        load(path, environ={}, channel_kinds={}, backend_kinds={})


def test_pem_files_start_from_the_folder_of_the_file(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("ca.pem", "own.pem", "own.key"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path / "elsewhere")
    tls = 'tls = { cert = "own.pem", key = "own.key" }'
    config = read(GOOD.replace("[store]", '[store]\nca_file = "ca.pem"') + f"[intake]\n{tls}\n").config
    assert config.store.ca_file == str(tmp_path / "ca.pem")
    assert config.intake.tls is not None
    assert (config.intake.tls.cert, config.intake.tls.key) == (str(tmp_path / "own.pem"), str(tmp_path / "own.key"))
    assert read(GOOD).config.store.ca_file == ""
