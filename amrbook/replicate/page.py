"""The pages replication.md and could_not_find_out.md of the book: what stands between their markers, from recorded runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amrlib.atomic_files import write_atomically

from ..claims import verdict_of
from ..experiments.results import load_results, over_seeds
from ..intervals import t_interval
from . import open_choices, side
from .measure import ATTACKED_TRIPLES
from .open_choices import grid
from .paper import CONTINUED, EPSILONS, IMPROVEMENT, MEASURES, NO_NOISE, OTHERS, STUDIES, TABLE_2, TABLE_3, improvement
from .recipes import ATTACKED, RECIPES
from .submit import FOLDER
from .verdicts import best_on_test, judged, over, plus_minus, recorded

__all__ = ["DATA", "PAGES", "rows_of_table_2", "show", "write_pages"]

BOOK = Path(__file__).resolve().parents[2] / "book"
PAGES = (BOOK / "replication.md", BOOK / "could_not_find_out.md")
DATA = {"pinterest": "same data", "amazon-women": "same purchases, other features", "amazon-clothing": "another set"}
SHOWN = ("HR@10", "NDCG@10")
NOT_YET = "not yet"
HEAD = ["model", "measure", "the paper", "ours", "difference", "seeds", "recipe", "verdict", "data"]
Record = dict[str, Any]


def command(dataset: str) -> str:
    return f"python -m amrbook replicate --dataset {dataset}"


def beside(head: Sequence[str], rows: Sequence[Sequence[str]], dataset: str) -> str:
    """A table with a column "ours". What is not yet recorded is said once above it; if nothing is, without that column."""
    at = head.index("ours")
    missing = [row[at] == NOT_YET for row in rows]
    if not any(missing):
        return grid(head, rows)
    if all(missing):
        rows = [[*row[:at], "", *row[at + 1 :]] for row in rows]
    what = "Ours is" if all(missing) else 'Where it says "not yet", ours is'
    return f"{what} not yet recorded. This command records it: `{command(dataset)}`\n\n{grid(head, rows)}"


def named(recipe: str, record: Record) -> str:
    return f"{recipe} ({record['checksum'][:8]})"


# ---- Table 2


def rows_of_table_2(dataset: str, folder: Path = FOLDER, measures: Sequence[str] = SHOWN) -> list[list[str]]:
    """The rows of the paper's Table 2 with what is recorded of a set beside them."""
    records, rows = recorded(dataset, folder), []
    for model, figures in TABLE_2[dataset].items():
        for measure in measures:
            theirs = figures[MEASURES.index(measure)]
            found = []
            for record in records:
                for recipe, about in record["recipes"].items():
                    if model in RECIPES[recipe].models:
                        ours = over(record, recipe, model, "sampled", "all", measure)
                        verdict = judged(ours, theirs, best_on_test(record, recipe, model, measure))
                        found.append([plus_minus(ours), plus_minus(ours - theirs, sign=True), str(len(about["seeds"])),
                                      named(recipe, record), verdict])  # fmt: skip
            for cells in found or [[NOT_YET, "", "", "", ""]]:
                rows.append([model, measure, f"{theirs:.4f}", *cells, DATA[dataset]])
    return rows


# ---- relative differences: Table 2's last column, the controls, Table 3

Effect = tuple[str, str, float | None, Callable[[Record, str], np.ndarray], tuple[str, ...]]


def gain(a: str, b: str, measures: Sequence[str] = ("NDCG@10",)) -> Callable[[Record, str], np.ndarray]:
    """By how many per cent a model is above another, the mean over measures, for every seed."""

    def of(record: Record, recipe: str) -> np.ndarray:
        first, second = (np.array([over(record, recipe, m, "sampled", "all", x) for x in measures]) for m in (a, b))
        return 100 * (np.mean(first / second, axis=0) - 1)

    return of


def drop(model: str, epsilon: float) -> Callable[[Record, str], np.ndarray]:
    def of(record: Record, recipe: str) -> np.ndarray:
        clean = over(record, recipe, model, "sampled", "all", "NDCG@10")
        return 100 * (over(record, recipe, model, "noise", ATTACKED_TRIPLES[0], f"{epsilon:g}") / clean - 1)

    return of


def effects_of(dataset: str) -> list[Effect]:
    """What it is, in which measure, the paper's figure in %, ours from a record, and which models it needs."""
    ndcg = {model: figures[MEASURES.index("NDCG@10")] for model, figures in TABLE_2[dataset].items()}
    rows: list[Effect] = [
        (f"AMR over {model}", "RI, mean of six", theirs, gain("AMR", model, MEASURES), ("AMR", model))
        for model, theirs in IMPROVEMENT[dataset].items()
    ]
    pairs: dict[tuple[str, str], float | None] = {
        ("AMR", "VBPR"): ndcg["AMR"] / ndcg["VBPR"],
        ("VBPR, continued", "VBPR"): CONTINUED[dataset] / ndcg["VBPR"],
        ("AMR, ε → 0", "VBPR"): NO_NOISE[dataset] / ndcg["VBPR"],
        ("AMR", "VBPR, continued"): None,
        ("AMR", "AMR, ε → 0"): None,
        (ATTACKED, "AMR"): None,
    }
    for (a, b), ratio in pairs.items():
        name = f"{a}{',' if ',' in a else ''} over {b}"
        rows.append((name, "NDCG@10", None if ratio is None else 100 * (ratio - 1), gain(a, b), (a, b)))
    for model, drops in TABLE_3[dataset].items():
        for epsilon, theirs in zip(EPSILONS, drops, strict=True):
            rows.append((f"{model}, noise of ε = {epsilon:g}", "NDCG@10", theirs, drop(model, epsilon), (model,)))
    return rows


def effects(dataset: str, folder: Path) -> str:
    rows, records = [], recorded(dataset, folder)
    for what, measure, theirs, of, needs in effects_of(dataset):
        found = []
        for record in records:
            for recipe, about in record["recipes"].items():
                if set(needs) <= set(RECIPES[recipe].models):
                    ours = of(record, recipe)
                    difference, verdict = "", "no figure to compare"
                    if theirs is not None:
                        difference, verdict = plus_minus(ours - theirs, 1, sign=True), "one seed, no verdict"
                        if len(ours) > 1:
                            mean, half = t_interval(ours)
                            verdict = verdict_of(float(mean), float(half), theirs)
                    found.append([f"{plus_minus(ours, 1, sign=True)} %", difference, str(len(about["seeds"])),
                                  named(recipe, record), verdict])  # fmt: skip
        if not records and theirs is None:
            continue  # neither has a figure yet
        for cells in found or [[NOT_YET, "", "", "", ""]]:
            rows.append([what, measure, "–" if theirs is None else f"{theirs:+.1f} %", *cells, DATA[dataset]])
    return beside(["what", *HEAD[1:]], rows, dataset)


# ---- the rest of the page


def among_all(folder: Path) -> str:
    """Full ranking, which the paper does not have, and the set that stands beside no figure of the paper."""
    rows, missing = [], []
    for dataset in DATA:
        records = recorded(dataset, folder)
        for record in records:
            for recipe, about in record["recipes"].items():
                for model in RECIPES[recipe].models:
                    full, among = (over(record, recipe, model, kind, "all", "NDCG@10") for kind in ("full", "sampled"))
                    rows.append([dataset, model, plus_minus(full), plus_minus(among), str(len(about["seeds"])),
                                 named(recipe, record), DATA[dataset]])  # fmt: skip
        if not records:
            missing.append(f"- {dataset}, {DATA[dataset]}: `{command(dataset)}`")
    head = ["set", "model", "NDCG@10, full", "NDCG@10, sampled", "seeds", "recipe", "data"]
    parts = [grid(head, rows)] if rows else []
    if missing:
        parts += ["Not yet recorded, with the command that records it:", "\n".join(missing)]
    return "\n\n".join(parts)


def runs(folder: Path) -> str:
    """Every record: what it was made with and how long it took; quick ones too, which fill no row."""
    rows = []
    for dataset in DATA:
        for is_quick in (False, True):
            for record in recorded(dataset, folder, is_quick):
                every = [models for about in record["recipes"].values() for models in about["seeds"].values()]
                seconds = sum(entry["seconds"] for models in every for entry in models.values())
                made_with = ", ".join(f"{word} {value}" for word, value in record["versions"].items())
                rows.append([record["checksum"][:8], dataset, "a quick try" if is_quick else "whole",
                             ", ".join(record["recipes"]), "; ".join(record["devices"]), made_with,
                             f"{seconds / 3600:.1f} h"])  # fmt: skip
    if not rows:
        return "No run is recorded yet."
    return grid(["run", "set", "kind", "recipes", "made on", "versions", "training"], rows)


AT_HAND = {
    "real_punks": "real purchases of pixel portraits",
    "real_movies": "real likes of films, features of their posters",
}


def at_hand(_: Path) -> str:
    """The boutique and the real sets at hand, named as what they are; no figure of the paper beside them."""
    rows = []

    def row(what: str, model: str, measure: str, values: np.ndarray, digits: int = 4) -> None:
        rows.append([what, model, measure, plus_minus(values, digits), str(len(values))])

    authors, main = load_results("authors"), load_results("main")
    for model in ("VBPR", "VBPR, continued", "AMR, ε → 0", "AMR, 10 %", "AMR, 20 %"):
        row("boutique (simulated), the authors' script", model, "NDCG@10, sampled",
            over_seeds(authors, model, "sampled NDCG@10")[:, -1])  # fmt: skip
    for model in ("Popularity", "MF-BPR", "MF-eALS", "DUIF", "VBPR", "VBPR, continued", "AMR, ε → 0", "AMR"):
        row("boutique (simulated), tuned on validation", model, "NDCG@10, sampled",
            over_seeds(main, model, "sampled", "NDCG@10"))  # fmt: skip
    for name, what in AT_HAND.items():
        result = load_results(name)
        for model in ("MF-BPR", "VBPR"):
            row(f"{what}, tuned on validation", model, "AUC", over_seeds(result, model, "AUC", "all"), 3)
        for model, stored in {"VBPR, continued": "VBPR, continued", "AMR, ε → 0": "AMR 0", "AMR, 20 %": "AMR 0.2"}.items():
            values = over_seeds(result, ("authors", stored), "AUC", "all")
            row(f"{what}, the authors' rates and penalties", model, "AUC", values, 3)
    return grid(["set", "model", "measure", "ours", "seeds"], rows)


def improvements(_: Path) -> str:
    """The paper's RI column, from its own cells."""
    rows = [[dataset, model, f"{theirs:.2f} %", f"{improvement(dataset, model):.2f} %"]
            for dataset, column in IMPROVEMENT.items() for model, theirs in column.items()]  # fmt: skip
    return grid(["set", "AMR over", "RI as printed", "RI from the printed cells"], rows)


def others(_: Path) -> str:
    """What later studies measured of VBPR and AMR, and how their programs depart."""
    rows = [[STUDIES[study][0], dataset, measure, f"{vbpr:.4f}", f"{amr:.4f}", f"{100 * (amr / vbpr - 1):+.0f} %"]
            for study, dataset, measure, vbpr, amr in OTHERS]  # fmt: skip
    about = [[*words] for words in STUDIES.values()]
    return (grid(["study", "set", "measure", "VBPR", "AMR", "AMR over VBPR"], rows) + "\n\n"
            + grid(["study", "protocol", "how its AMR departs from the paper"], about))  # fmt: skip


def weights(folder: Path) -> str:
    """The released weights: evaluated, where a record has that, and what they tell alone."""
    rows, theirs = [], TABLE_2["pinterest"]["VBPR"]
    for record in [*recorded("pinterest", folder), *recorded("pinterest", folder, True)]:
        if found := record.get("weights"):
            six = found["sampled"]["all"]
            rows += [[name, f"{paper:.4f}", f"{six[name]:.4f}", f"{six[name] - paper:+.4f}", record["checksum"][:8]]
                     for name, paper in zip(MEASURES, theirs, strict=True)]  # fmt: skip
    if not rows:
        rows = [[name, f"{paper:.4f}", NOT_YET, "", ""] for name, paper in zip(MEASURES, theirs, strict=True)]
    text = beside(["the released VBPR", "the paper", "ours", "difference", "run"], rows, "pinterest")
    path = folder / "weights_alone.json"
    return f"{text}\n\n{alone(json.loads(path.read_text(encoding='utf-8')))}" if path.exists() else text


def alone(w: dict[str, Any]) -> str:
    margins = ", ".join(f"{m:.2f} at ε = {e}" for e, m in w["margin"].items())
    same = "exactly the items" if w["they are the same"] else "not the items"
    return "\n".join([
        "Without the features the weights alone tell this.", "",
        f"- They are of {w['users']:,} users, {w['items']:,} items and $K = {w['K']}$.",
        f"- $E$ has {w['dimensions']:,} rows, so the features are those of ResNet-50.",
        f"- {w['zero rows of Q']:,} rows of $Q$ are zero: {same} without a training row. A cold item has its picture alone.",
        f"- On average $p_u$ has length {w['mean length']['p']:.2f} and a warm $q_i$ {w['mean length']['warm q']:.2f}.",
        f"- $E$ has norm {w['E']['norm']:.1f} and largest singular value {w['E']['largest singular value']:.1f}.",
        f"- By $p_u^\\top q_i$ alone a training pair is ahead of {100 * w['history AUC']:.1f} % of the other warm items.",
        f"- An adversary takes up to $2\\varepsilon\\lVert E p_u\\rVert$ from a score difference, on average {margins}.",
    ])  # fmt: skip


def speed(folder: Path) -> str:
    """The recorded speed; without one, of one thread, what ``make bench`` stored."""
    path, missing = folder / "speed.json", ""
    if path.exists():
        s = json.loads(path.read_text(encoding="utf-8"))
    else:
        s, missing = side.speed_of_bench(), "\n\nTwo threads: not yet recorded; run this: `python -m amrbook replicate speed`."
    rows = [[f"threads: {n}", f"{run['ours minutes']:.1f}", f"{run['naive minutes']:.0f}",
             f"×{run['ratio']:.1f} ({run['least']:.1f}–{run['most']:.1f})"] for n, run in s["threads"].items()]  # fmt: skip
    text = grid(["", "ours, minutes", "naive autograd, minutes", "times faster (least–most)"], rows)
    about = (f"Extrapolated from {s['rounds']} windows of {s['seconds']:g} s each, in turns, on {s['machine']}. "
             "The naive program waits for memory. Where other machines share it, as on a rented one, another hour "
             "gives another ratio.")  # fmt: skip
    return f"{text}\n\n{about}{missing}"


def show(folder: Path = FOLDER) -> Any:
    """NDCG@10 of the paper's Table 2 with what is recorded beside it, as a table for a notebook."""
    import pandas as pd

    rows, run = [], "python -m amrbook replicate …"  # a notebook cuts long cells, but no heading
    for dataset in TABLE_2:
        for row in rows_of_table_2(dataset, folder, ("NDCG@10",)):
            missing = row[3] == NOT_YET
            ours = "not yet recorded" if missing else row[3]
            rows.append([dataset, *row[:3], ours, *row[4:], f"--dataset {dataset}" * missing])
    table = pd.DataFrame(rows, columns=["set", *HEAD, run]).drop(columns="measure").set_index(["set", "model"])
    return table.loc[:, (table != "").any()]


PARTS: dict[str, Callable[[Path], str]] = {
    "pinterest": lambda folder: beside(HEAD, rows_of_table_2("pinterest", folder), "pinterest"),
    "pinterest effects": lambda folder: effects("pinterest", folder),
    "women": lambda folder: beside(HEAD, rows_of_table_2("amazon-women", folder), "amazon-women"),
    "women effects": lambda folder: effects("amazon-women", folder),
    "among all": among_all,
    "runs": runs,
    "at hand": at_hand,
    "improvements": improvements,
    "others": others,
    "weights": weights,
    "speed": speed,
    **open_choices.PARTS,
}


def write_pages(folder: Path = FOLDER, pages: Sequence[Path] = PAGES, into: Path | None = None) -> list[Path]:
    """Fill the markers ``<!-- replication: name -->`` … ``<!-- /replication -->`` of the pages, here or ``into`` a folder."""
    written = []
    for page in pages:
        fill = lambda m: f"<!-- replication: {m[1]} -->\n{PARTS[m[1]](folder)}\n<!-- /replication -->"  # noqa: E731
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"<!-- replication: ([\w ]+) -->[\s\S]*?<!-- /replication -->", fill, text)
        written.append((into or page.parent) / page.name)
        write_atomically(written[-1], text.encode())
    return written
