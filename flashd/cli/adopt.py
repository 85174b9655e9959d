"""`flashd adopt`: take a store that was restored, or is another one, on purpose."""

from __future__ import annotations

import asyncio

import click

from flashd.cli.session import config_option, load_config
from flashd.cli.terminal import say
from flashd.daemon.adapters import reveal_of
from flashd.runtime.clock import SystemClock
from flashd.store.adoption import adopt as adopt_store


@click.command()
@config_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def adopt(config: str | None, *, yes: bool) -> None:
    """
    Take the store as it stands, though it is older than what was seen before, or another one.

    Use it with flashd stopped, after a backup was restored (docs/operations.md). Every backend is asked for each order
    before that is sent, for the store may have forgotten that it was: `flashd backend ask-first NAME --off` ends that.
    Run it once on each host, for each remembers what it has met.
    """
    loaded = load_config(config)
    store = loaded.config.store.url
    if not yes:
        click.confirm(f"Whatever {store} lacks is lost, but for what polls and resends bring back. Go on?", abort=True)
    done = asyncio.run(adopt_store(loaded.config, reveal_of(loaded), SystemClock()))
    say(f"asked before anything is sent: {', '.join(done.backends) or 'no backend'}")
    say(f"forgotten what was met in: {', '.join(done.forgotten) or 'nothing; it was not met before'}")
