"""
The decoders alone, bent where it leads somewhere new: coverage-guided by atheris where that is installed.

    python -m tests.fuzz.decoders SECONDS SEED

A body that raises, or that is taken and is not sound, ends it with exit code 1 and stands in build/fuzz/.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from tests.fuzz.bodies import bend, seeds

FOUND = Path("build/fuzz")
NAMES = ("shop", "woo", "partner", "till")


def check(decoders: Any, data: bytes) -> None:
    """Decode with the decoder that the first byte names; whatever comes must be an answer, and a sound one."""
    if not data:
        return
    name, body = NAMES[data[0] % len(NAMES)], data[1:]
    result = decoders[name](body)
    kind = type(result).__name__
    assert kind in {"Incoming", "Unreadable", "Unrelated"}, kind
    if kind == "Incoming":
        assert all(0 < line.quantity <= 2**31 for line in result.order.lines), result.order.lines
        msgspec.json.encode(result.order)  # what is taken can be written


def load() -> Any:
    """Return the decoders by channel; imported here so that they can be instrumented."""
    from tests.channels.test_faults import DECODERS  # noqa: PLC0415  # as the docstring says

    kinds = {"shop": "shopify", "woo": "woocommerce", "partner": "standard_webhooks", "till": "native"}
    return {name: DECODERS[kind][0] for name, kind in kinds.items()}


def corpus() -> list[bytes]:
    """Return the good bodies, each behind the byte that names its decoder."""
    return [bytes([NAMES.index(name)]) + msgspec.json.encode(body) for name, body in seeds() if name in NAMES]


def by_chance(seconds: float, seed: int) -> int:
    """Bend bodies without a guide; return how many."""
    decoders, dice, count = load(), random.Random(seed), 0
    good = [(name, body) for name, body in seeds() if name in NAMES]
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        name, body = dice.choice(good)
        check(decoders, bytes([NAMES.index(name)]) + bend(body, dice))
        count += 1
    return count


def guided(seconds: int, seed: int) -> None:
    """Let atheris look for ways; it ends the process itself."""
    import atheris  # noqa: PLC0415  # only where the extra `fuzz` is installed

    with atheris.instrument_imports(include=["flashd.channels", "flashd.domain"]):
        decoders = load()
    FOUND.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, body in enumerate(corpus()):
            (Path(folder) / str(number)).write_bytes(body)
        options = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=65536", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={FOUND}/", folder], lambda data: check(decoders, data))
        atheris.Fuzz()


def main(seconds: int, seed: int) -> None:
    """Fuzz, guided if possible."""
    try:
        import atheris  # noqa: F401, PLC0415  # as above
    except ImportError:
        print(f"atheris is not installed: {by_chance(seconds, seed)} bodies by chance, all answered")
    else:
        guided(seconds, seed)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
