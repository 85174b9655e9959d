from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.erp import Erp
from benchmarks.site import call


@pytest.mark.parametrize("stamped", [True, False])
def test_the_erp_remembers_under_which_key_and_when(tmp_path: Path, *, stamped: bool) -> None:
    with Erp(tmp_path, stamped=stamped) as erp:
        for key in ("a", "b", "b"):
            status, said = call(erp.port, "POST", "/book", b'{"n":1}', {"Idempotency-Key": key})
            assert (status, said) == (201, b'{"id":"%s","key":"%s"}' % (key.encode(), key.encode()))
        assert call(erp.port, "GET", "/book?key=a") == (200, b'[{"id":"a","key":"a"}]')
        assert call(erp.port, "GET", "/book?key=c") == (200, b"[]")
        seen = erp.seen("book")
        assert (seen.keys, seen.lookups, seen.body) == ({"a": 1, "b": 2}, 2, '{"n":1}')
        assert seen.arrivals_us == sorted(seen.arrivals_us)
        assert erp.seen("other").arrivals_us == []
