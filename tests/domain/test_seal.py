from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashd.domain.seal import Seal


@given(st.binary(max_size=150), st.lists(st.binary(max_size=200), max_size=3))
def test_a_seal_signs_as_the_standard_library_does_however_often(secret: bytes, messages: list[bytes]) -> None:
    seal = Seal(secret)
    for message in [*messages, *messages]:
        assert seal.digest(message) == hmac.digest(secret, message, "sha256")


@pytest.mark.parametrize("length", [0, 63, 64, 65, 1000])
def test_a_secret_may_be_shorter_and_longer_than_a_block(length: int) -> None:
    secret = bytes(range(1, 251)) * 4
    assert Seal(secret[:length]).digest(b"body") == hmac.digest(secret[:length], b"body", "sha256")


def test_a_seal_does_not_show_its_secret() -> None:
    assert "quiet" not in repr(Seal(b"quiet"))
