"""A curve as a picture: intake beside the smallest size, and the memory of a process."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from benchmarks.growth.curve import Curve

PLOTS = Path(__file__).parent.parent / "plots"
_INK, _GOAL = "#1f4e79", "#b03a2e"


def missing() -> str:
    """Say what keeps plots from being drawn, or "" where nothing does."""
    return "" if importlib.util.find_spec("matplotlib") else 'matplotlib is not installed: pip install "flashd[bench]"'


def draw(curve: Curve, folder: Path = PLOTS) -> str:
    """Draw one curve; return the name of the file."""
    import matplotlib as mpl  # noqa: PLC0415  # only where the extra is installed

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the backend was chosen

    sizes = [curve.sizes[0], *(point.size for point in curve.points)]
    shares = [point.share for point in curve.points]
    medians = [1.0, *(one.median for one in shares)]
    least = [0.0, *(one.median - one.least for one in shares)]
    most = [0.0, *(one.most - one.median for one in shares)]
    memory = [curve.points[-1].smallest[-1].mib, *(point.here[-1].mib for point in curve.points)]
    places = range(len(sizes))  # steps of ten are steps of one
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), dpi=100, layout="constrained")
    left.errorbar(places, medians, yerr=[least, most], color=_INK, marker="o", capsize=3)
    left.axhline(0.9, color=_GOAL, linestyle="--", linewidth=1, label="goal: 0.90")
    left.set(title="intake, share of the smallest size", ylim=(0, max(1.2, *(one.most for one in shares)) * 1.05))
    right.plot(places, memory, color=_INK, marker="o")
    right.axhline(memory[0] + 64, color=_GOAL, linestyle="--", linewidth=1, label="goal: 64 MiB more")
    right.set(title="memory of a flashd process, MiB", ylim=(0, max(memory[0] + 64, *memory) * 1.15))
    for axes in (left, right):
        axes.set_xlabel(curve.title)
        axes.set_xticks(places, [f"{size:,}" for size in sizes])
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", frameon=False)
    folder.mkdir(exist_ok=True)
    name = f"{curve.key}.png"
    figure.savefig(folder / name, metadata={"Software": ""})
    plt.close(figure)
    return name
