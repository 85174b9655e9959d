from __future__ import annotations

import pytest

from flashd.backends.exchange import Answer, checked_url, plain_refusal, retry_after_s
from flashd.errors import ConfigError
from tests.backends.orders import an_order

DATE = "Sat, 21 Nov 2026 20:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 2.5 ", 2.5),
        ("Sat, 21 Nov 2026 20:10:00 GMT", 600.0),
        ("Sat, 21 Nov 2026 19:10:00 GMT", 0.0),
        ("-1", None),
        ("1e3", None),
        ("inf", None),
        ("99999999999", None),
        ("Sat, 99 Nov 2026 20:10:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_backends_clock(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, DATE) == seconds


def test_a_date_without_the_backends_clock_is_measured_by_ours() -> None:
    assert retry_after_s("Sat, 21 Nov 2099 20:10:00 GMT") is not None
    assert retry_after_s("Thu, 01 Jan 1970 00:00:10 GMT") == 0.0


def test_a_refusal_does_not_repeat_the_customer() -> None:
    order = an_order("1", note="ring twice")
    said = plain_refusal(
        "ADA LOVELACE <ada@example.com>, other@mail.test of 12 St James's Square, london (ring twice): SKU-01", order
    )
    assert said == "*** <***>, *** of ***, *** (***): SKU-01"
    assert plain_refusal(None, order) == "refused without a word"


@pytest.mark.parametrize(
    ("body", "content_type", "found"),
    [
        (b'{"a": 1}', "application/json", {"a": 1}),
        (b'{"a": 1}', "application/problem+json", {"a": 1}),
        (b'{"a": 1}', "text/html", None),
        (b'{"a": ', "application/json", None),
        (b"\xff\xfe", "application/json", None),
        (b"[" * 200_000, "application/json", None),
    ],
)
def test_a_body_is_read_only_under_a_type_that_promises_it(body: bytes, content_type: str, found: object) -> None:
    assert Answer(status=200, body=body, content_type=content_type).json == found


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "with its scheme"),
        ("erp.example.com/orders", "with its scheme"),
        ("ftp://erp.example.com", "with its scheme"),
        ("http://", "with its scheme"),
        ("https://erp.example.com/{order}", "allowed here: {key}"),
        ("https://me:secret@erp.example.com/", "does not belong into an address"),
    ],
)
def test_an_address_that_cannot_be_called_is_refused_by_name(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"backends\.erp\.url") as caught:
        checked_url("backends.erp.url", url, allowed=frozenset({"key"}))
    assert said in str(caught.value)
    assert "secret@" not in str(caught.value)
