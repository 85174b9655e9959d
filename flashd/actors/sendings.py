"""What this process sent lately: by that it notices that the store forgot it, and does not send it again blindly."""

from __future__ import annotations

from flashd.domain.delivery import Delivery

KEPT = 50_000  # at most; what a fail-over forgets was sent in its last seconds, and is claimed again soon after it


class Sendings:
    """
    The newest sends to one backend, by key and number.

    A claim counts each send before its first byte leaves, so no two have the same number, unless the store became an
    older one in between: a fail-over to a replica that lacked the claim, or the whole order, which came again.
    """

    def __init__(self) -> None:
        self._young: dict[str, int] = {}
        self._old: dict[str, int] = {}  # half of what is kept goes at once: a hot path has no time for more

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def note(self, delivery: Delivery) -> None:
        """Remember that it is being sent, or asked for, under its number: a lower one, where the store forgot."""
        if len(self._young) >= KEPT // 2:
            self._young, self._old = {}, self._young
        self._young[delivery.key] = delivery.sends

    def knows(self, delivery: Delivery) -> bool:
        """Say whether it left already, under this number or a higher one."""
        sends = self._young.get(delivery.key) or self._old.get(delivery.key) or 0
        return sends >= delivery.sends
