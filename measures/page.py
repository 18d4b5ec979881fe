"""The page book/measures.md: tables and sentences between its markers, all from measures/results.json."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amrlib.atomic_files import write_atomically

from .cases import BY_NAME, CASES
from .surprises import SURPRISES

__all__ = ["RESULTS", "tie_rule", "write"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "book" / "measures.md"
RESULTS = ROOT / "measures" / "results.json"
NOT_RUN = "not run: `make measures` does it"
MEASURES = ("HR", "recall", "precision", "NDCG", "MRR", "MAP", "AUC")
FIRST_IS_ONE = ("HR", "NDCG", "MRR", "MAP", "AUC")  # with one held-out item
LIBRARIES = {
    "amrlib": "amrlib (ours)", "cornac": "Cornac", "implicit": "implicit", "recbole": "RecBole", "lenskit": "LensKit",
    "rectools": "RecTools", "replay": "RePlay", "recommenders": "recommenders", "ranx": "ranx",
    "torchmetrics": "torchmetrics", "pytrec_eval": "pytrec_eval",
}  # fmt: skip
TOPICS = {
    "agree": ("plain", "first", "second", "not in the list"),
    "ties": ("all equal, item 0", "all equal, item 5", "all equal, item 5 written first", "a billionth apart"),
    "users": ("no list", "empty list", "nothing held out"),
    "several": ("three held out", "more held out than k"),
    "lists": ("short list", "twice in the list"),
    "scores": ("below zero", "large"),
}
TIES = TOPICS["ties"][:3]


def number(value: float | str | None) -> str:
    return "–" if value is None else value if isinstance(value, str) else f"{value:.3f}"


def grid(head: list[str], rows: list[list[str]]) -> str:
    line = lambda cells: "| " + " | ".join(cells) + " |"  # noqa: E731
    return "\n".join([line(head), line(["---"] + ["---:"] * (len(head) - 1)), *map(line, rows)])


def asked(found: dict[str, Any]) -> list[str]:
    """The libraries that were really run."""
    return [name for name in LIBRARIES if "cases" in found.get(name, {})]


def values(found: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """library -> case -> measure -> number, where there are numbers; "sampled" stands beside the cases."""
    return {name: {case: said["values"] for case, said in found[name]["cases"].items() if "values" in said}
            | ({"sampled": found[name]["sampled"]} if "sampled" in found[name] else {}) for name in asked(found)}  # fmt: skip


def overview(found: dict[str, Any], measure: str = "NDCG") -> str:
    """Every case: one measure, a column per library."""
    seen, names = values(found), asked(found)
    rows = [[case.name, *(number(seen[name].get(case.name, {}).get(measure)) for name in names)] for case in CASES]
    return grid([f"{measure}@k", *(LIBRARIES[name] for name in names)], rows)


def case_table(found: dict[str, Any], name: str) -> str:
    """One case: every measure, a row per library; below it who gave no numbers, and why."""
    seen, rows, reasons = values(found), [], {}
    for library in asked(found):
        if name in seen[library]:
            row = seen[library][name]
            rows.append([LIBRARIES[library], *(number(row.get(measure)) for measure in MEASURES)])
        else:
            said = found[library]["cases"].get(name, {"not asked": "the stored run is older than the case"})
            how, why = next(iter(said.items()))
            reasons.setdefault(f"``{why}``" if how == "raises" else why, []).append(LIBRARIES[library])
    text = f"**{name}.** {BY_NAME[name].what}\n\n{grid([name, *MEASURES], rows)}"
    return text + "".join(f"\n\nNo numbers: {', '.join(who)}: {why}." for why, who in reasons.items())


def tie_rule(first: float, last: float, written: float | None) -> str:
    """What a library does with six equal scores, from a measure (1 is the first place) of item 0, of item 5, and of item 5
    written first."""
    if first == last and written in (None, first):
        return "lost" if first < 0.2 else "shared"  # in the last of six places the reciprocal rank is a sixth
    found = (first, last, written)
    rules = {"as written": [(1, 0, 1)], "smaller item": [(1, 0, 0), (1, 0, None)], "larger item": [(0, 1, 1), (0, 1, None)]}
    shape = tuple(None if value is None else 1 if value == 1 else 0 if value < 0.2 else value for value in found)
    return next((rule for rule, shapes in rules.items() if shape in shapes), "no such rule")


def ties(found: dict[str, Any]) -> str:
    seen, rows = values(found), []
    for name in asked(found):
        a, b, c = (seen[name].get(case, {}) for case in TIES)
        if a and b:
            rules = [tie_rule(a[m], b[m], c.get(m)) if m in a and m in b else "–" for m in FIRST_IS_ONE]
            rows.append([LIBRARIES[name], *rules])
    return grid(["who wins a tie", *FIRST_IS_ONE], rows).replace("---:", "---")


def sentences(found: dict[str, Any], topic: str) -> str:
    """The topic's surprises. One whose library was not run is left out; one that no longer holds stops the page."""
    seen, kept = values(found), []
    for surprise in SURPRISES:
        if surprise.topic == topic:
            try:
                holds, text = surprise.holds(seen), surprise.text.format(**seen)
            except KeyError:
                continue
            if not holds:
                raise ValueError(f"no longer so, change measures/surprises.py: {text}")
            kept.append(f"- {text}")
    return "\n".join(kept) or "No surprise here."


def topic(found: dict[str, Any], name: str) -> str:
    return "\n\n".join([sentences(found, name), *(case_table(found, case) for case in TOPICS[name])])


def versions(found: dict[str, Any]) -> str:
    rows = [[LIBRARIES[n], found[n]["distribution"], found[n]["version"]] for n in asked(found) if n != "amrlib"]
    text = grid(["library", "distribution", "version"], rows).replace("---:", "---")
    missing = {name: found.get(name, {}).get("not run", NOT_RUN) for name in LIBRARIES if name not in asked(found)}
    return text + "".join(f"\n\nNot run here: {LIBRARIES[name]} ({why})." for name, why in missing.items())


def write(page: Path = PAGE, results: Path = RESULTS) -> None:
    """Fill the markers ``<!-- measures: name -->`` … ``<!-- /measures -->`` of the page."""
    found = json.loads(results.read_text("utf-8")) if results.is_file() else {}
    parts: dict[str, Callable[[], str]] = {name: (lambda name=name: topic(found, name)) for name in TOPICS}
    parts |= {"overview": lambda: overview(found), "rules": lambda: ties(found), "versions": lambda: versions(found),
              "auc": lambda: sentences(found, "auc"), "rivals": lambda: sentences(found, "rivals")}  # fmt: skip
    fill = lambda m: f"<!-- measures: {m[1]} -->\n{parts[m[1]]()}\n<!-- /measures -->"  # noqa: E731
    text = re.sub(r"<!-- measures: (\w+) -->[\s\S]*?<!-- /measures -->", fill, page.read_text(encoding="utf-8"))
    write_atomically(page, text.encode())
