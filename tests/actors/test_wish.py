"""What of a wish the convoy's tests do not show."""

from __future__ import annotations

import gc
import traceback
import weakref

from flashd.actors.wish import Wish
from flashd.errors import StoreUnavailable
from flashd.ports import Soon
from tests.conformance.ledgers import make_incoming


async def test_a_wish_that_was_answered_leaves_nothing_to_the_collector() -> None:
    class Heard:
        def hear(self, soon: Soon[object]) -> None:
            self.told = soon.result()

    wish = Wish([make_incoming("1")], ["erp"])
    heard = Heard()
    Soon(wish, lambda told: told.result()[0]).then(lambda soon: soon.result()).tell(heard.hear)
    gc.disable()
    try:
        wish.answer(["kept"])
        assert heard.told == "kept"
        gone = weakref.ref(heard)
        del wish, heard
        assert gone() is None
    finally:
        gc.enable()


async def test_the_error_of_many_does_not_keep_the_frames_of_all_who_were_told() -> None:
    error, told = StoreUnavailable("away"), []

    def hear(soon: Soon[object]) -> None:
        try:
            soon.result()
        except StoreUnavailable as found:
            told.append(len(traceback.extract_tb(found.__traceback__)))

    for number in range(3):
        wish = Wish([make_incoming(f"{number}")], ["erp"])
        Soon(wish, lambda answered: answered.result()[0]).tell(hear)
        wish.fail(error)
    assert told == told[:1] * 3
