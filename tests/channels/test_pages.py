"""The pages of the channels say what the tables of the adapters say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flashd.channels import native, shopify, standard_webhooks, woocommerce
from flashd.domain.identity import customer_hash
from flashd.domain.order import Incoming

PAGES = Path(__file__).parents[2] / "docs/channels"


@pytest.mark.parametrize("module", [shopify, woocommerce, standard_webhooks, native])
def test_the_page_of_a_channel_has_its_table(module: Any) -> None:
    text = (PAGES / f"{module.__name__.rpartition('.')[2]}.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_-]+)` \| (deliver|wait|cancel|ignore) \|", text, re.MULTILINE))
    assert rows == {status: effect for status, effect in module.EFFECTS.items() if status}


def test_the_example_of_the_page_is_taken() -> None:
    text = (PAGES / "standard_webhooks.md").read_text()
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    incoming = standard_webhooks.decode_order(example.encode(), "hook")
    assert isinstance(incoming, Incoming)
    assert incoming.reason == ""
    (hold,) = re.findall(r"```json\n(.*?)```", (PAGES / "native.md").read_text(), re.DOTALL)
    channel = native.Native("till", hash_customer=customer_hash(b"k"))
    assert channel.decode_hold(hold.encode()).ttl_ms == 600_000
