"""An announcer that keeps what was announced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flashd.domain.event import members_of


@dataclass
class FakeAnnouncer:
    said: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)  # (pool, kind, data)

    async def announce(self, pool: str, kind: str, data: Mapping[str, object]) -> str:
        members_of(kind, data)  # refuses what is no fact, as the store does
        self.said.append((pool, kind, dict(data)))
        return f"0-{len(self.said)}"

    @property
    def kinds(self) -> list[str]:
        """Return the kinds announced, in order."""
        return [kind for _, kind, _ in self.said]
