"""What the system grants this process: enough descriptors for every caller, and no core file with what it holds."""

from __future__ import annotations

import resource

from flashd.config import Config

ENOUGH = 65_536  # no need to ask for more than the unit does
OWN_DESCRIPTORS = 128  # the log, the loop, the listeners, the modules, what the C library opens
ADMIN_CONNECTIONS = 4096  # of flashd.web.limits.ClientLimits
PER_BACKEND = 32  # connections that are on their way, or are kept for the next request


def claim_descriptors(config: Config) -> str:
    """
    Raise the soft limit of open files to the hard one, and forbid core files: they would hold secrets and customers.

    A shell grants 1,024 files: a few hundred slow callers could use them up, and then nobody else gets in.

    Returns:
        What to mend where the hard limit is too low for the configured connections; "" where it is not.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed(config)
    if soft == resource.RLIM_INFINITY or soft >= max(wanted, ENOUGH):
        return ""
    grant = max(soft, wanted, ENOUGH) if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (grant, hard))
    if grant >= wanted:
        return ""
    return (
        f"this process may open {grant} files, and {wanted} may be wanted: [intake] connections is "
        f"{config.intake.connections}. Mend: LimitNOFILE={wanted} in the unit (ulimit -Hn {wanted} in a shell), or "
        "fewer connections"
    )


def needed(config: Config) -> int:
    """Return how many descriptors the configured connections could use at once."""
    callers = config.intake.connections + ADMIN_CONNECTIONS
    away = PER_BACKEND * (len(config.backends) + len(config.channels))
    return OWN_DESCRIPTORS + callers + config.store.connections + away
