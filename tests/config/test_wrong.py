"""Wrong configurations: each message names the file, the key, the value and what is allowed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from flashd.config import load, require_runnable
from flashd.errors import ConfigError
from tests.config.conftest import GOOD, Load
from tests.config.test_right import an_ordinary_user


def _with(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


SHOP = '[channels.shop]\nkind = "shopify"\nsecrets = [{ file = "shop.secret" }]\n'

WRONG = {
    "an unknown key": (
        _with("rate =", "rat ="),
        "backends.erp.rat",
        "",
        'did you mean "rate"?; allowed here: at_least',
    ),
    "a publishing rate": (
        GOOD.replace("[store]", "[channels.shop.publish]\nrate = 'fast'\n[store]"),
        "channels.shop.publish.rate",
        '"fast"',
        "write",
    ),
    "escrow that never polls": (
        GOOD.replace("[store]", "[channels.shop.publish]\nmode = 'escrow'\n[store]").replace(
            "[channels.shop]", "[channels.shop]\npoll_s = 0"
        ),
        "channels.shop.poll_s",
        "0",
        "write poll_s = 60, or mirror",
    ),
    "a location twice": (
        GOOD.replace("[channels.shop]", '[channels.shop]\nlocations = ["a", "a"]'),
        "channels.shop.locations[1]",
        '"a"',
        "each once",
    ),
    "alerts to nowhere": (GOOD + '[alerts]\nurl = "mail"\n', "alerts.url", '"mail"', "https://host/path"),
    "alerts that nobody can trust": (
        GOOD + '[alerts]\nurl = "https://a.example/x"\n',
        "alerts.secret",
        "(none)",
        "write",
    ),
    "an unknown table": (
        GOOD + "[stores]\n",
        "stores",
        "",
        'did you mean "store"?; allowed here: admin, alerts, backends',
    ),
    "an unknown key of an adapter": (
        _with(SHOP, SHOP + 'deliver = ["pending"]\n'),
        "channels.shop.deliver",
        "",
        "did you mean",
    ),
    "a wrong type": (
        GOOD + "[logs]\nlevel = 5\n",
        "logs.level",
        "5",
        'write one of "debug", "error", "info", "warning"',
    ),
    "a value that is none of those": (
        GOOD + '[logs]\nlevel = "loud"\n',
        "logs.level",
        '"loud"',
        'write one of "debug", "error", "info", "warning"',
    ),
    "a text where a number belongs": (
        GOOD + '[intake]\nbody_bytes = "1 MB"\n',
        "intake.body_bytes",
        '"1 MB"',
        "write a whole number of at least 1",
    ),
    "a number out of bounds": (
        _with("[store]", "[store]\ntimeout_s = 61"),
        "store.timeout_s",
        "61",
        "write a number above 0 and of at most 60",
    ),
    "a number that no counter can hold": (
        GOOD + "[pools.main]\nsafety_stock = 1000000000001\n",
        "pools.main.safety_stock",
        "1000000000001",
        "of at most 1_000_000_000_000",
    ),
    "a text where a table belongs": (
        'store = "embedded"\n',
        "store",
        '"embedded"',
        "write a table of ca_file, connections",
    ),
    "a rate that is none": (
        _with('"120/min"', '"5 per second"'),
        "backends.erp.rate",
        '"5 per second"',
        "write a positive number per time, such as 5/s, 120/min",
    ),
    "a rate of nothing": (
        _with('"120/min"', '"0/s"'),
        "backends.erp.rate",
        '"0/s"',
        "write a positive number per time",
    ),
    "a bad name": (
        _with("[channels.shop]", '[channels."My Shop"]'),
        "channels.My Shop",
        '"My Shop"',
        "write a name of 1 to 63 letters a-z",
    ),
    "a bad store address": (
        _with("unix:///run/valkey/valkey.sock", "http://localhost"),
        "store.url",
        '"http://localhost"',
        "write embedded, redis://host:6379/0",
    ),
    "Sentinels without the service that they watch": (
        _with("unix:///run/valkey/valkey.sock", "sentinel://a:26379,b:26379"),
        "store.url",
        '"sentinel://a:26379,b:26379"',
        "sentinel://a:26379,b:26379,c:26379/service",
    ),
    "replicas of an embedded server": (
        _with('url = "unix:///run/valkey/valkey.sock"', 'url = "embedded"\nreplicas = 1'),
        "store.replicas",
        "1",
        "an embedded server has none: write 0",
    ),
    "a Cluster with a path": (
        _with("unix:///run/valkey/valkey.sock", "cluster://a:6379,b:6379/1"),
        "store.url",
        '"cluster://a:6379,b:6379/1"',
        "cluster://a:6379,b:6379,c:6379",
    ),
    "a password in the address of a Cluster": (
        _with("unix:///run/valkey/valkey.sock", "cluster://me:hunter2@a:6379,b:6379"),
        "store.url",
        '"cluster://me:***@a:6379,b:6379"',
        'write password = { file = "..." }',
    ),
    "a password in the store's address": (
        _with("unix:///run/valkey/valkey.sock", "redis://me:hunter2@localhost"),
        "store.url",
        '"redis://me:***@localhost"',
        'write password = { file = "..." }',
    ),
    "a bad backend address": (
        _with("http://127.0.0.1:8000/erp", "127.0.0.1:8000"),
        "backends.erp.url",
        '"127.0.0.1:8000"',
        "write its address, http://host:port/path",
    ),
    "no backend address": (
        _with('url = "http://127.0.0.1:8000/erp"\n', ""),
        "backends.erp.url",
        '""',
        "write its address, http://host:port/path",
    ),
    "a login in a backend's address": (
        _with("http://127", "http://me:hunter2@127"),
        "backends.erp.url",
        '"http://me:***@127.0.0.1:8000/erp"',
        "secrets have keys of their own",
    ),
    "a listen address without a port": (
        GOOD + '[intake]\nlisten = "127.0.0.1"\n',
        "intake.listen",
        '"127.0.0.1"',
        "write host:port, such as 127.0.0.1:8787",
    ),
    "a listen address that is no address": (
        GOOD + '[intake]\nlisten = "::1:8787"\n',
        "intake.listen",
        '"::1:8787"',
        "[::1]:8787",
    ),
    "two listeners at one address": (
        GOOD + '[admin]\nlisten = "127.0.0.1:8787"\n',
        "admin.listen",
        '"127.0.0.1:8787"',
        "write another address than that of [intake]",
    ),
    "an open admin listener without tokens": (
        GOOD + '[admin]\nlisten = "0.0.0.0:8788"\n',
        "admin.listen",
        '"0.0.0.0:8788"',
        "write a loopback address or unix:/path, or add [[admin.tokens]]",
    ),
    "a proxy that is no network": (
        GOOD + '[intake]\ntrusted_proxies = ["proxy.local"]\n',
        "intake.trusted_proxies[0]",
        '"proxy.local"',
        "such as 10.0.0.7 or 10.0.0.0/8",
    ),
    "a certificate that is not there": (
        GOOD + '[intake]\ntls = { cert = "a.pem", key = "shop.secret" }\n',
        "intake.tls.cert",
        '"a.pem"',
        "write a PEM file that exists",
    ),
    "a secret's file that is not there": (
        _with("shop.secret", "nowhere"),
        "channels.shop.secrets[0].file",
        '"nowhere"',
        "write a file that exists and holds the secret",
    ),
    "a time without an end": (
        _with('rate = "120/min"', "settle_s = inf"),
        "backends.erp.settle_s",
        "inf",
        "write a number of at least 0 and of at most 604_800",
    ),
    "more days than any clock has": (
        _with("[store]", "[store]\nretention_days = 99999999999999999999999"),
        "store.retention_days",
        "99999999999999999999999",
        "write a whole number of at least 30 and of at most 36_500",
    ),
    "a secret's file that is empty": (
        _with("shop.secret", "empty.secret"),
        "channels.shop.secrets[0].file",
        '"empty.secret"',
        "is empty; an empty secret would let anybody in",
    ),
    "a secret's file that is no text": (
        _with("shop.secret", "binary.secret"),
        "channels.shop.secrets[0].file",
        '"binary.secret"',
        "is not UTF-8 text",
    ),
    "an inline secret": (
        _with('[{ file = "shop.secret" }]', '["hunter2"]'),
        "channels.shop.secrets[0]",
        "***",
        "a secret never stands inline; write { file =",
    ),
    "an inline secret instead of a list": (
        _with('[{ file = "shop.secret" }]', '"hunter2"'),
        "channels.shop.secrets",
        "***",
        "write a list: [ { file =",
    ),
    "an inline secret of an adapter": (
        _with('rate = "120/min"', 'secret = "hunter2"'),
        "backends.erp.secret",
        "***",
        "a secret never stands inline",
    ),
    "a secret without a source": (
        _with('{ file = "shop.secret" }', "{}"),
        "channels.shop.secrets[0]",
        "{ }",
        "write exactly one source",
    ),
    "a secret with two sources": (
        _with('{ file = "shop.secret" }', '{ file = "shop.secret", env = "SHOP" }'),
        "channels.shop.secrets[0]",
        "{ env, file }",
        "write exactly one source",
    ),
    "a secret from a source that does not exist": (
        _with('{ file = "shop.secret" }', '{ fil = "hunter2" }'),
        "channels.shop.secrets[0].fil",
        "",
        'did you mean "file"?',
    ),
    "a credential with a path": (
        _with('{ file = "shop.secret" }', '{ credential = "../hunter" }'),
        "channels.shop.secrets[0]",
        '"credential ../hunter"',
        "write the plain name of a LoadCredential= line",
    ),
    "more than three secrets": (
        _with('[{ file = "shop.secret" }]', "[" + '{ file = "shop.secret" },' * 4 + "]"),
        "channels.shop.secrets",
        "[4 of them]",
        "write at most 3",
    ),
    "a signed channel without secrets": (
        _with('secrets = [{ file = "shop.secret" }]\n', ""),
        "channels.shop.secrets",
        "(none)",
        'write secrets = [{ file = "..." }]',
    ),
    "a native channel without tokens": (
        _with('"shopify"', '"native"'),
        "channels.shop.tokens",
        "(none)",
        'write tokens = [{ name = "..."',
    ),
    "a token's name twice": (
        GOOD + '[[admin.tokens]]\nname = "ops"\nsecret = { file = "shop.secret" }\n' * 2,
        "admin.tokens.name",
        '"ops"',
        "each name once",
    ),
    "a token without a secret": (
        GOOD + '[[admin.tokens]]\nname = "ops"\n',
        "admin.tokens[0].secret",
        "(missing)",
        "is needed; a secret: write { file =",
    ),
    "no kind": (_with('kind = "http"\n', ""), "backends.erp.kind", "(missing)", "write one of http, shelf"),
    "an unknown kind": (
        _with('"shopify"', '"shopfy"'),
        "channels.shop.kind",
        '"shopfy"',
        'did you mean "shopify"?; write one of native, shopify',
    ),
    "a kind that is no text": (_with('"shopify"', "1"), "channels.shop.kind", "1", "write one of native, shopify"),
    "a key that an adapter needs": (
        GOOD + '[backends.files]\nkind = "shelf"\n',
        "backends.files.folder",
        "(missing)",
        "is needed; write a text in quotes",
    ),
    "a bad member of an adapter's table": (
        GOOD + "[backends.erp.products]\nA = 0\n",
        "backends.erp.products.A",
        "0",
        "write a whole number of at least 1",
    ),
    "what an adapter itself refuses": (
        GOOD + "[backends.erp.products]\nBOTH = 1\n",
        "backends.erp",
        "",
        "BOTH is a word",
    ),
    "a date without time": (_with("T00:00:00Z", ""), "channels.shop.since", "2026-11-01", "2026-11-01T00:00:00Z"),
    "a cut-over without time zone": (
        _with("00:00:00Z", "00:00:00"),
        "channels.shop.since",
        "2026-11-01 00:00:00",
        "write a time with its time zone, such as 2026-11-01T00:00:00Z",
    ),
    "an unknown pool": (
        _with(SHOP, SHOP + 'pool = "spares"\n') + "[pools.spare]\n",
        "channels.shop.pool",
        '"spares"',
        'did you mean "spare"?; write one of spare',
    ),
    "the main pool where pools are given": (
        GOOD + "[pools.spare]\n",
        "channels.shop.pool",
        '"main"',
        "write one of spare",
    ),
    "a hold that lives longer than it may": (
        GOOD + "[pools.main]\nhold_ttl_s = 3600\n",
        "pools.main.hold_ttl_s",
        "3600",
        "write at most hold_max_s, which is 1800",
    ),
    "no catch-all": (
        GOOD + 'tag = "b2b"\n',
        "routes",
        "(1 of them)",
        'add [[routes]] with backend = "erp" alone',
    ),
    "no routes": (_with('[[routes]]\nbackend = "erp"\n', ""), "routes", "(0 of them)", "the last one must catch all"),
    "a route to nowhere": (
        GOOD.replace('backend = "erp"', 'backend = "erb"'),
        "routes[0].backend",
        '"erb"',
        'did you mean "erp"?; write one of erp',
    ),
    "a route from nowhere": (
        GOOD + '[[routes]]\nbackend = "erp"\nchannel = "shp"\n',
        "routes[1].channel",
        '"shp"',
        'did you mean "shop"?; write one of shop',
    ),
    "routes that are no list": (
        GOOD.replace("[[routes]]", "[routes]"),
        "routes",
        "{ backend = ... }",
        "write a list",
    ),
}


@pytest.mark.parametrize(("text", "key", "value", "allowed"), WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_refused_with_file_key_value_and_what_is_allowed(
    read: Load, tmp_path: Path, text: str, key: str, value: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert ConfigError.exit_code == 78
    start = f"{tmp_path}/flashd.toml: {key}" + (f" = {value}: " if value else ": ")
    lines = str(caught.value).splitlines()
    (line,) = [line for line in lines if line.startswith(start)]
    assert allowed in line.removeprefix(start)
    assert "hunter2" not in str(caught.value)
    assert len(lines) == 1, "one mistake is one line"


def test_all_mistakes_are_told_at_once_in_one_message(read: Load) -> None:
    text = (
        _with("120/min", "often").replace("shop.secret", "nowhere").replace('url = "http', 'ur = "http')
        + '[logs]\nlevel = "loud"\n[pools.main]\nx = 1\n'
    )
    with pytest.raises(ConfigError) as caught:
        read(text)
    keys = [line.partition("flashd.toml: ")[2].partition(" ")[0].rstrip(":") for line in str(caught.value).splitlines()]
    assert sorted(keys) == [
        "backends.erp.rate",
        "backends.erp.ur",
        "backends.erp.url",
        "channels.shop.secrets[0].file",
        "logs.level",
        "pools.main.x",
    ]


def test_more_than_twenty_mistakes_are_counted_and_not_listed(read: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        read(GOOD + "[logs]\n" + "".join(f"x{number} = 1\n" for number in range(30)))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more"


def test_a_syntax_error_names_its_line(read: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"flashd\.toml: is not TOML: .*line 3"):
        read("[store]\n\nurl = embedded\n")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    def attempt(path: Path) -> None:
        load(path, environ={}, channel_kinds={}, backend_kinds={})

    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file.*flashd init"):
        attempt(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        attempt(tmp_path)
    with tempfile.TemporaryDirectory() as made:
        closed = Path(made) / "flashd.toml"
        closed.touch(mode=0)
        Path(made).chmod(0o755)
        with an_ordinary_user(), pytest.raises(ConfigError, match="Permission denied; let its group read it") as told:
            attempt(closed)
        assert "init" not in str(told.value)
    (tmp_path / "bad.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match=r"bad\.toml: byte 5 is not UTF-8"):
        attempt(tmp_path / "bad.toml")


def test_a_kind_whose_plug_in_is_broken_says_why(read: Load) -> None:
    with pytest.raises(ConfigError, match=r'channels\.shop\.kind = "ebay": its plug-in is broken: no module'):
        read(_with('"shopify"', '"ebay"'), broken={"channels.ebay": "no module"})


def test_what_runs_needs_a_channel_and_a_backend(read: Load) -> None:
    require_runnable(read())
    with pytest.raises(ConfigError, match=r"(?s)channels = \(none\): .*\[channels\.NAME\].*backends = \(none\)"):
        require_runnable(read(""))


def test_a_wrong_override_names_its_variable(read: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        read(
            FLASHD__BACKENDS__ERP__RATE="often",
            FLASHD__BACKENDS__ERP__RAT="5/s",
            FLASHD__="x",
            FLASHD__STORE__URL__X="1",
        )
    lines = sorted(str(caught.value).splitlines())
    assert [line.partition(":")[0] for line in lines] == [
        "environment variable FLASHD__",
        "environment variable FLASHD__BACKENDS__ERP__RAT",
        "environment variable FLASHD__BACKENDS__ERP__RATE",
        "environment variable FLASHD__STORE__URL__X",
    ]
    assert 'backends.erp.rat: there is no such key; did you mean "rate"?' in lines[1]
    assert 'backends.erp.rate = "often": write a positive number' in lines[2]


def test_a_secret_in_a_variable_of_flashd_is_refused_and_not_shown(read: Load) -> None:
    with pytest.raises(
        ConfigError, match=r"PASSWORD: store\.password = \*\*\*: a secret never stands inline"
    ) as caught:
        read(FLASHD__STORE__PASSWORD="hunter2")
    assert "hunter2" not in str(caught.value)
