"""`make chaos`: the kill loop and the power cuts, on every server that the machine has, and a report of both."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.chaos import power_cut
from tests.chaos.fault_proxy import FAULTS
from tests.chaos.kill_loop import BACKENDS, Run, Terms
from tests.servers import KINDS, find_server

Found = dict[str, Any]
# What `make chaos` claims to have done, whatever a judge counted.
KILLED = tuple(f"killed {name}" for name in ("daemon", "redis", "backend", "store_proxy", "backend_proxy"))
BROKEN = tuple(f"{side}: {fault}" for side in ("store", "backend") for fault in FAULTS)
SUMMED = ("kills", "orders", "orders answered 2xx", "booked", "lost", "twice in the backend", "unanswered requests")


def kill(terms: Terms, folder: Path) -> Found:
    print(
        f"kill loop on {terms.kind}, the backend has {terms.backend}: {terms.seconds:g} s, seed {terms.seed}",
        flush=True,
    )
    return {"title": "kill loop", "terms": asdict(terms)} | Run(new(folder), terms).play()


def cut(kind: str, folder: Path, *, fsync: str, cuts: int) -> Found:
    """Cut the power; with less than fsync=always, some *must* be lost, or the test sees nothing."""
    print(f"power cuts on {kind}: {cuts}, appendfsync {fsync}", flush=True)
    found = power_cut.cut_again_and_again(new(folder), kind, fsync=fsync, cuts=cuts, work_s=0.7)
    lost = [order for one in found for order in one.lost]
    figures = {
        "answered 2xx": sum(one.acknowledged for one in found),
        "lost": len(lost),
        "bytes of the log that the cuts took": sum(one.written - one.kept for one in found),
    }
    breaches = [f"lost: {order}" for order in lost[:20]] if fsync == "always" else []
    never = [] if lost or fsync == "always" else ["a loss, which this run must have: it is the control"]
    terms = {"kind": kind, "fsync": fsync}
    verdict = {"breaches": breaches, "never": never, "passed": not breaches and not never}
    return {"title": "power cut", "terms": terms, "figures": figures, "sometimes": {"power cuts": len(found)}} | verdict


def in_sum(found: Sequence[Found], seconds: float) -> Found:
    """Add all kill loops up: what was killed, by whom it was met, and what became of the orders."""
    loops = [one for one in found if one["title"] == "kill loop"]
    sometimes: Counter[str] = Counter()
    figures: Counter[str] = Counter()
    for one in loops:
        sometimes.update(one["sometimes"])
        figures.update({name: one["figures"].get(name, 0) for name in SUMMED})
    wanted = round(100 * seconds / 900)
    breaches = [] if figures["kills"] >= wanted else [f"{figures['kills']} kills in {seconds:g} s, not {wanted}"]
    never = [name for name in (*KILLED, *BROKEN) if not sometimes[name]]
    return {
        "title": "in sum",
        "terms": {"seconds": seconds, "kill loops": len(loops)},
        "figures": dict(figures) | {"kills wanted": wanted},
        "sometimes": {name: sometimes[name] for name in (*KILLED, *BROKEN, *sometimes)},
        "breaches": breaches,
        "never": never,
        "passed": not breaches and not never,
    }


def new(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def report(found: Sequence[Found], took_s: float) -> str:
    """Write the verdicts as Markdown."""
    good = all(one["passed"] for one in found)
    lines = ["# Chaos", "", f"{'Everything held' if good else 'SOMETHING DID NOT HOLD'}, in {took_s:.0f} s.", ""]
    for one in found:
        terms = ", ".join(f"{name} {value}" for name, value in one["terms"].items() if value is not None)
        lines += [f"## {one['title']}: {'passed' if one['passed'] else 'FAILED'}", "", terms, ""]
        lines += [f"* BREACH {breach}" for breach in one["breaches"]]
        lines += [f"* NEVER HAPPENED {name}" for name in one["never"]]
        for title in ("figures", "sometimes"):
            lines += ["", f"| {title} | |", "|---|--:|", *(f"| {name} | {n} |" for name, n in one[title].items())]
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description="Kill and cut all; nothing may be lost or doubled.")
    parser.add_argument("--seconds", type=float, default=120, help="Of the kill loop, shared by the servers.")
    parser.add_argument("--cuts", type=int, default=20, help="Of the power, on each server.")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument("--server", action="append", choices=KINDS, help="Default: all that the machine has.")
    parser.add_argument("--backend", choices=BACKENDS, help="What it can; default: one server with each.")
    parser.add_argument("--folder", type=Path, default=Path("build/chaos"), help="The report, and what runs leave.")
    wish = parser.parse_args(arguments)
    began, folder = time.monotonic(), wish.folder.absolute()
    kinds = [kind for kind in wish.server or KINDS if find_server(kind) is not None]
    found = []
    for kind in kinds:
        terms = Terms(
            wish.seconds / len(kinds), wish.seed, kind, wish.backend or ("keys" if kind == kinds[0] else "lookup")
        )
        found.append(kill(terms, folder / f"kill-{kind}"))
        if wish.cuts and not power_cut.missing():
            found.append(cut(kind, folder / f"cut-{kind}", fsync="always", cuts=wish.cuts))
            found.append(cut(kind, folder / f"control-{kind}", fsync="everysec", cuts=max(5, wish.cuts // 4)))
    found.append(in_sum(found, wish.seconds))
    text = report(found, time.monotonic() - began)
    (folder / "report.md").write_text(text)
    (folder / "report.json").write_text(json.dumps(found, indent=2, default=str))
    print(text)
    print(f"The report, and what the runs left: {wish.folder}/", f"{power_cut.missing()}", sep="\n")
    sys.exit(0 if all(one["passed"] for one in found) else 1)


if __name__ == "__main__":
    main()
