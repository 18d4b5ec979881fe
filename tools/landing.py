"""The pictures of the landing page that come from stored results: book/_static/finding.svg.

    python -m tools.landing

``book/results/main.json`` is where chapters 11 and 13 draw the same numbers from.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np

from tools.chapter_files import BOOK

FILE = BOOK / "_static" / "finding.svg"
SHOWN = ("VBPR, continued", "AMR")


def finding() -> str:
    """What AMR gains and what it gives up, over the seeds of the main experiment, as SVG that repeats byte for byte."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    from amrbook import figures
    from amrbook.experiments import load_results
    from amrbook.intervals import t_interval

    figures.use_style()
    results = load_results("main")
    runs = [results["seeds"][seed] for seed in sorted(results["seeds"], key=int)]
    budgets = {0: "full", 5: "ε=0.05‖c‖", 10: "ε=0.1‖c‖"}
    fig, (left, right) = plt.subplots(1, 2, figsize=(7.6, 3.1), width_ratios=(3, 2))
    for name in SHOWN:
        style = figures.style_of(name)
        at = [
            t_interval(np.array([run[name]["full"]["NDCG@10"] if not p else run[name][key]["test"]["NDCG@10"] for run in runs]))
            for p, key in budgets.items()
        ]
        left.errorbar(list(budgets), [m for m, _ in at], [h for _, h in at], capsize=3, label=name, **style)
        mean, half = t_interval(np.array([run[name]["auc"]["cold"] for run in runs]))
        right.errorbar([SHOWN.index(name)], [mean], [half], capsize=4, markersize=9, **style | {"linestyle": ""})
    left.set(title="It withstands more …", xlabel="features moved by (% of their mean length)", ylabel="NDCG@10",
             xticks=list(budgets), ylim=(0, None))  # fmt: skip
    left.legend(loc="lower left")
    right.axhline(0.5, color=figures.PLAIN[2], ls=":", lw=1.2)
    right.annotate("chance", (-0.45, 0.5), xytext=(0, 3), textcoords="offset points", color=figures.PLAIN[2], fontsize=9)
    right.set(title="… and looks less", ylabel="AUC on items never bought", xticks=range(len(SHOWN)), xticklabels=SHOWN,
              xlim=(-0.5, 1.5), ylim=(0.4, 0.9))  # fmt: skip
    file = io.StringIO()
    fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(fig)
    return re.sub(r"[ \t]+$", "", file.getvalue(), flags=re.M)


def main(file: Path = FILE) -> None:
    text = finding()
    changed = not file.is_file() or file.read_text(encoding="utf-8") != text
    file.write_text(text, encoding="utf-8")
    print(f"{'written' if changed else 'as it was'}: {file.name}, {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
