"""`flashd demo`: the first five minutes."""

from __future__ import annotations

import sys

import click

from flashd.cli.parameter import MOST, Whole
from flashd.demo.chaos import Chaos
from flashd.demo.run import DemoOptions, run_demo

_DEFAULTS = DemoOptions()


@click.command()
@click.option(
    "--stock", type=Whole(1, 1_000_000), default=_DEFAULTS.stock, show_default=True, help="Units of each article."
)
@click.option("--orders", type=Whole(1, 1_000_000), default=_DEFAULTS.orders, show_default=True, help="Customers.")
@click.option(
    "--buyers", type=Whole(1, 1_000_000), default=_DEFAULTS.buyers, show_default=True, help="Of them at a time."
)
@click.option(
    "--erp-rate",
    type=Whole(1, 1_000_000),
    default=_DEFAULTS.erp_rate,
    show_default=True,
    help="Requests that the ERP takes in any second; above it answers 429.",
)
@click.option(
    "--chaos",
    type=click.Choice([str(chaos) for chaos in Chaos]),
    default=str(_DEFAULTS.chaos),
    show_default=True,
    help="What goes wrong on purpose.",
)
@click.option("--seed", type=Whole(0, MOST), help="Repeat a run [default: a new one, which is printed].")
@click.option("--keep", is_flag=True, help="Leave ledgers, logs and the configuration behind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; progress goes to stderr.")
def demo(
    stock: int, orders: int, buyers: int, erp_rate: int, chaos: str, seed: int | None, *, keep: bool, as_json: bool
) -> None:
    """
    Run the real daemon between simulated shops and a simulated ERP, and end in a verdict.

    Shopify, WooCommerce, Standard Webhooks and till traffic is really signed and comes over loopback HTTP. An oracle
    that shares no code with the daemon reads the ledgers of both sides. Exit 1 if a promise is broken.
    """
    options = DemoOptions(
        stock=stock,
        orders=orders,
        buyers=buyers,
        erp_rate=erp_rate,
        chaos=Chaos(chaos),
        seed=seed,
        keep=keep,
        as_json=as_json,
    )
    sys.exit(run_demo(options))
