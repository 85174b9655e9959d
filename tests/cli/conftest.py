from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.daemon import Daemon


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    made = Daemon()
    made.thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join(5)
