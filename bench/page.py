"""The page book/speed.md: tables between its markers and figures beside it, all from bench/results."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from amrbook import figures
from amrbook.intervals import t_interval
from amrlib.atomic_files import write_atomically

from .contenders import BPR, CONTENDERS, LIBRARY_PRODUCTS, MACHINE, RIVALS
from .growth import AXES
from .run import RESULTS, ROOT, floor, ratio, units

__all__ = ["over_floor", "write"]

PAGE = ROOT / "book" / "speed.md"
PICTURES = ROOT / "book" / "_static" / "speed"
NOTHING = "Not measured yet: `make bench` writes this."


def over_floor(run: dict[str, Any], name: str = "AMR") -> dict[str, tuple[float, float, float]]:
    """How many times a step's floor a step of ``name`` takes, round by round: median, least, most."""
    floors, batch = floor(run["rates"]["ceiling"], run["size"]), run["size"]["batch"]
    steps = [batch / rate for rate in run["rates"][name]]
    return {
        "its matrix products at a square one's rate": units([s / f["square"] for s, f in zip(steps, floors, strict=True)]),
        "its matrix products": units([s / f["products"] for s, f in zip(steps, floors, strict=True)]),
        "products and gather": units([s / (f["products"] + f["gather"]) for s, f in zip(steps, floors, strict=True)]),
    }


def times(found: tuple[float, float, float] | None) -> str:
    if found is None:
        return "–"
    digits = 1 if found[0] >= 3 else 2
    return f"×{found[0]:.{digits}f} ({found[1]:.{digits}f}–{found[2]:.{digits}f})"


def grid(head: list[str], rows: list[list[str]]) -> str:
    line = lambda cells: "| " + " | ".join(cells) + " |"  # noqa: E731
    return "\n".join([line(head), line(["---"] + ["---:"] * (len(head) - 1)), *map(line, rows)])


def column(run: dict[str, Any]) -> str:
    return f"{run['workload']}, batch {run['size']['batch']:,}"


def find(runs: list[dict[str, Any]], run: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The run that has ``name`` on the same shop; a method without batches is measured in one of them."""
    return next((r for r in [run, *runs] if r["workload"] == run["workload"] and name in r["rates"]), None)


# ---------------------------------------------------------------- tables


def ratios(training: dict[str, Any]) -> str:
    runs, rows = training["runs"], []
    for ours, rivals in RIVALS.items():
        for rival in rivals if CONTENDERS[ours].kind == "train" else []:
            cells = [times(ratio(run["rates"], ours, rival)) for run in runs]
            rows += [[f"{ours} against {rival}", *cells]] if set(cells) != {"–"} else []
    for kind in (", compiled", ""):
        epochs = [times(ratio(run["rates"], f"VBPR{kind}", f"AMR{kind}")) for run in runs]
        rows.append([f"an AMR epoch in VBPR epochs{kind}", *epochs])
    return grid(["how many times faster", *map(column, runs)], rows)


def rates(training: dict[str, Any]) -> str:
    runs = training["runs"]
    names = [n for n, c in CONTENDERS.items() if c.kind == "train" and any(n in run["rates"] for run in runs)]
    rows = []
    for name in names:
        cells = []
        for run in runs:
            if name not in run["rates"]:
                cells.append("–")
                continue
            middle, least, most = units(run["rates"][name])
            thousand = lambda x: f"{x / 1000:,.1f}" if x < 1e5 else f"{x / 1000:,.0f}"  # noqa: E731
            seconds = run["size"]["interactions"] / middle
            epoch = f"{seconds:.3g}" if seconds < 999.5 else f"{seconds:,.0f}"
            cells.append(f"{thousand(middle)} ({thousand(least)}–{thousand(most)}), {epoch} s")
        rows.append([name, *cells])
    return grid(["thousand triples (least squares: observed pairs) a second, and seconds an epoch", *map(column, runs)], rows)


def triples(bpr: dict[str, Any]) -> str:
    """Matrix factorisation: million triples a second, then ratios, a column for each shop."""
    runs, m, rows = bpr["runs"], bpr["machine"], []
    for name in BPR:
        found = [units(run["rates"][name]) if name in run["rates"] else None for run in runs]
        million = lambda x: f"{x / 1e6:.2f}"  # noqa: E731
        rows.append([name, *("–" if x is None else f"{million(x[0])} ({million(x[1])}–{million(x[2])})" for x in found)])
    pairs = [(ours, rival) for ours in BPR[:2] for rival in RIVALS[ours]]
    for ours, rival in pairs:
        rows.append([f"{ours} against {rival}", *(times(ratio(run["rates"], ours, rival)) for run in runs)])
    text = grid(["million triples a second; how many times faster", *(run["workload"] for run in runs)], rows)
    versions = "".join(f"{name} {version}, " for name, version in runs[0]["versions"].items() if name != "numpy")
    return text + (
        f"\n\n{processor(m)}, Python {m['python']}, {versions}{m['date']}; one thread but where two are "
        f"named, float32; {runs[0]['rounds']} windows of {runs[0]['seconds']} s each, taken in turns."
    )


def bpr_ranks(accuracy: dict[str, Any]) -> str:
    """NDCG@10 after as many epochs, and the difference of ours, seed by seed."""
    rows = []
    for run in accuracy["runs"]:
        (ours, own), *others = run["methods"].items()
        for name, found in [(ours, own), *others]:
            scores = np.array(found["NDCG@10"])
            mean, half = t_interval(np.array(own["NDCG@10"]) - scores)
            rows.append([f"{run['workload']}, {run['epochs']} epochs: {name}", f"{found['lr']:g}, {found['reg']:g}",
                         f"{scores.mean():.4f}", "" if name == ours else f"{mean:+.4f} ± {half:.4f}"])  # fmt: skip
        rows.append([f"{run['workload']}: the most popular items", "", f"{run['popularity']:.4f}", ""])
    head = ["shop, epochs, program", "rate, penalty", "NDCG@10", "ours minus this"]
    return f"{grid(head, rows)}\n\nTen seeds each; ± is half the width of the 95 % interval. {accuracy['machine']['date']}."


def allocator(training: dict[str, Any]) -> str:
    pair = training["runs"][0], training["kept"]
    found = [[times(ratio(run["rates"], "AMR, compiled", name)) for run in pair] for name in RIVALS["AMR, compiled"]]
    rows = [[name, *cells] for name, cells in zip(RIVALS["AMR, compiled"], found, strict=True)]
    return grid(["AMR, compiled, is faster than", "as it comes", "with memory kept"], rows)


def floors(training: dict[str, Any]) -> str:
    runs = [run for run in training["runs"] if "ceiling" in run["rates"]]
    ceilings = {"forward": "Eᵀ(c_i − c_j), GFLOP/s", "backward": "gradient of E, GFLOP/s",
                "square": "a square product, GFLOP/s", "gather": "rows gathered, GB/s"}  # fmt: skip
    rows = []
    for key, label in ceilings.items():
        found = [units([r[key] for r in run["rates"]["ceiling"]]) for run in runs]
        rows.append([label, *(f"{a:.3g} ({b:.3g}–{c:.3g})" for a, b, c in found)])
    for name in ("AMR, compiled", "AMR", "VBPR, compiled", "VBPR"):
        found = [over_floor(run, name) for run in runs]
        for part in found[0]:
            rows.append([f"{name}: a step over the floor of {part}", *(times(above[part]) for above in found)])
    return grid(["this machine", *map(column, runs)], rows)


def slower(training: dict[str, Any], bpr: dict[str, Any] | None, ranking: dict[str, Any] | None) -> str:
    """Every rival that is faster than ours somewhere."""
    found = []
    for record in filter(None, (training, bpr, ranking)):
        for ours in RIVALS if record is not bpr else BPR[:1]:
            for rival in (name for name in RIVALS[ours] if CONTENDERS[name].library != "amrlib"):
                seen = [(run, ratio(run["rates"], ours, rival)) for run in record["runs"]]
                lost = [(run, r) for run, r in seen if r and r[0] < 1]
                if lost:
                    worst = min(r[0] for _, r in lost)
                    where = "; ".join(column(run) for run, _ in lost)
                    found.append(
                        f"- {rival} is up to {1 / worst:.{1 if worst < 0.5 else 2}f} times as fast as our {ours} ({where})."
                    )
    return "\n".join(found) or "Nowhere, among those that were measured."


def peers(training: dict[str, Any], ranking: dict[str, Any] | None) -> str:
    runs = training["runs"] + (ranking["runs"] if ranking else [])
    versions = {k: v for run in runs for k, v in run["versions"].items()}
    skipped = {k: v for run in runs for k, v in run["skipped"].items()}
    rows = []
    for name, c in CONTENDERS.items():
        if c.kind != "ceiling":
            seen = versions.get(c.library, "") if c.library != "amrlib" else ""
            rows.append([name, f"{c.library} {seen}".strip(), f"left out: {skipped[name]}" if name in skipped else c.driven])
    return grid(["name", "program", "what runs"], rows).replace("---:", "---")


def ranks(ranking: dict[str, Any]) -> str:
    run = ranking["runs"][0]
    rows = []
    for name, values in run["rates"].items():
        a, b, c = units(values)
        rows.append(
            [name, f"{a:,.0f} ({b:,.0f}–{c:,.0f})", "" if name == "ranking" else times(ratio(run["rates"], "ranking", name))]
        )
    text = grid(["who ranks", "users a second", "ours is faster"], rows)
    agreement = run["agreement"]
    return text + (
        f"\n\nFor {agreement['users']} of the users the scores were also written out in float64: the largest difference of an "
        f"HR or NDCG from ours is {agreement['largest_difference']:.1g}."
    )


def two_cores(found: dict[str, Any]) -> str:
    """Two threads beside one, and ranking for a sample of users beside Cornac."""
    rows = []
    for run in found["runs"]:
        rates, name = run["rates"], run["workload"]
        for model in ("AMR", "VBPR"):
            two = f"{model}, compiled, two threads"
            if two in rates:
                rows.append([f"{two}, against one ({column(run)})", times(ratio(rates, two, f"{model}, compiled"))])
        for what in MACHINE:
            if found_itself := ratio(rates, f"{what}, two threads", what):
                rows.append([f"the machine itself: {what}, two threads, against one (beside {name})", times(found_itself)])
        if "ranking, two threads" in rates:
            users = units(rates["ranking, two threads"])[0]
            if "cornac ranking" in rates:
                text = f"ranking, two threads, against cornac ({name}; {units(rates['cornac ranking'])[0]:,.0f} users a second)"
                rows.append([text, times(ratio(rates, "ranking, two threads", "cornac ranking"))])
            slower = ratio(rates, "ranking, two threads", "worst-case ranks, two threads")
            rows.append([f"time of worst-case ranks over that of clean ranks ({name})", times(slower)])
            whole = f"seconds to rank for all users at that rate ({name}; {users:,.0f} users a second)"
            rows.append([whole, f"{run['size']['users'] / users:,.0f}"])
    return grid(["on two cores", "ratio"], rows)


def products(found: dict[str, Any]) -> str:
    """What the hand-written products are worth: the rate of a step with them over that with a library's."""
    rows = []
    for name in LIBRARY_PRODUCTS:
        rows.append([name, *(times(ratio(run["rates"], "AMR, compiled", name)) for run in found["runs"])])
    return grid(["AMR, compiled, is faster than", *map(column, found["runs"])], rows)


def mapped(growth: dict[str, Any]) -> str:
    found, rows = growth["memory_map"], []
    base = units(found["memory"]["triples"])[0]
    for name in ("memory", "file, cached", "file, not cached"):
        a, b, c = units(found[name]["triples"])
        own = found[name]["own_bytes"]
        rows.append([name, f"{a:,.0f} ({b:,.0f}–{c:,.0f})", f"{a / base:.2f}", "–" if own is None else f"{own / 2**20:,.0f}"])
    head = ["float16 features are in", "triples a second", "share of memory's speed", "MiB besides the features"]
    return grid(head, rows) + f"\n\nThe file has {found['file_bytes'] / 2**30:.2g} GiB."


def precise(found: dict[str, Any]) -> str:
    rows = []
    for model, kinds in found["models"].items():
        for name, runs in kinds["NDCG@10"].items():
            mean, half = t_interval(np.array(runs) - kinds["NDCG@10"]["float32"])
            same = f"{100 * np.mean(kinds['same places'][name]):.1f} %"
            rows.append([f"{model}, {name}", f"{np.mean(runs):.4f}",
                         *(["", ""] if name == "float32" else [f"{mean:+.5f} ± {half:.5f}", same])])  # fmt: skip
    head = ["features in", "NDCG@10", "difference to float32", "first-ten places with the same item"]
    how = f"{len(runs)} trainings of each kind, the same seeds; ± is half the width of the 95 % interval."
    return f"{grid(head, rows)}\n\n{how}"


def attacks(found: dict[str, Any]) -> str:
    """Attacks on pixels: the outside libraries at their best batch size, the plain loop by the number of steps."""
    seconds, m, rows = found["seconds"], found["machine"], []
    in_turns = lambda ours, theirs: times(units([b / a for a, b in zip(seconds[ours], seconds[theirs], strict=True)]))  # noqa: E731
    for name in ("torchattacks", "art"):
        theirs = [key for key in seconds if key.startswith(f"FGSM, {name}, ")]
        if theirs:
            best = min(theirs, key=lambda key: units(seconds[key])[0])
            version = found["versions"][{"art": "adversarial-robustness-toolbox"}.get(name, name)]
            for ours, what in (("FGSM, ours, Γ given", "FGSM, Γ given"), ("FGSM, ours", "FGSM, Γ found on the way")):
                text = f"{what}, against {'ART' if name == 'art' else name} {version} (batch {best.rsplit(', ')[-1]})"
                rows.append([text, *(f"{units(seconds[key])[0]:.2f} s" for key in (ours, best)), in_turns(ours, best)])
    for ours in (key for key in seconds if key.startswith("promotion, ours, ")):
        plain, steps = ours.replace("ours", "plain"), int(ours.rsplit(", ")[-1])
        text = f"one photograph promoted, {steps} step{'s' if steps > 1 else ''}, against a plain autograd loop"
        rows.append([text, *(f"{units(seconds[key])[0]:.3f} s" for key in (ours, plain)), in_turns(ours, plain)])
    skipped = "".join(f" {name}: left out, {why}." for name, why in found["skipped"].items())
    return grid(["what", "ours", "theirs", "ours is faster"], rows) + (
        f"\n\n{processor(m)}, torch {found['versions']['torch']}, {m['date']}; one thread, CPU seconds, in turns, "
        f"{len(seconds['FGSM, ours'])} rounds; {found['pictures']:,} photographs, "
        f"{found['people']:,} simulated shoppers.{skipped}"
    )


def processes(found: dict[str, Any]) -> str:
    """One, two and four processes at the base size: measured beside what the cost model predicted."""
    b, m = found["base"], found["machine"]
    base = next(row for row in found["rows"] if row["axis"] == "batch" and row["value"] == b["batch"])
    alone, rows = units(base["processes"]["1"]["seconds"])[0], []
    gain = lambda seconds: times(units([alone / s for s in seconds]))  # noqa: E731
    for n, run in base["processes"].items():
        middle, least, most = (1e3 * s for s in units(run["seconds"]))
        predicted = run["predicted"]
        kept = [f"{x / 2**20:,.0f}" if x else "–" for x in (run["held"], predicted["held"])]
        sent = [f"{x / 1e6:.2f}" if x else "–" for x in (run["sent"], predicted["sent"])]
        rows.append([n, f"{middle:.1f} ({least:.1f}–{most:.1f})", f"{1e3 * sum(predicted['seconds'].values()):.1f}",
                     gain(run["seconds"]), *sent, *kept])  # fmt: skip
    middle, least, most = (1e3 * s for s in units(base["compiled"]["seconds"]))
    faster = gain(base["compiled"]["seconds"])
    rows.append(["1, compiled", f"{middle:.1f} ({least:.1f}–{most:.1f})", "", faster, "", "", "", ""])
    head = ["processes", "ms per step", "predicted", "times as fast as one",
            "MB sent per step", "predicted", "MiB held", "predicted"]  # fmt: skip
    return grid(head, rows) + (
        f"\n\n{processor(m)}, torch {found['torch']}, {m['date']}; one thread per process, gloo, AMR in the "
        f"closed form. {b['users']:,} users, {b['items']:,} items, D {b['D']:,}, K {b['K']}, batch {b['batch']:,}; "
        f"{found['windows']} windows. Other programs had {found['others']:.0%} of the cores meanwhile."
    )


def processor(machine: dict[str, Any]) -> str:
    """What a table's figures were measured on: rates and ratios of another kind of processor are others."""
    wide = f" with {machine['instructions']}" if machine.get("instructions") else ""
    return f"{machine['cpu']}{wide}" + (f", {machine['cores']} cores" if "cores" in machine else "")


def measured_on(record: dict[str, Any]) -> str:
    return f"\n\n{processor(record['machine'])}, {record['machine']['date']}."


def device(training: dict[str, Any]) -> str:
    m = training["machine"]
    run = training["runs"][0]
    return (
        f"{processor(m)}, {m['system']}, Python {m['python']}, torch {run['versions'].get('torch', '?')}, "
        f"{m['date']}; {m['threads']} thread, float32; {run['rounds']} windows of {run['seconds']} s each, taken in turns."
    )


def card(gpu: dict[str, Any] | None) -> str:
    if gpu is None:
        return "No graphics card was at hand when this page was made, so there is no figure here."
    parts, size = [], gpu.get("size", {})
    if "card" in (machine := gpu.get("machine", {})):
        shop = ", ".join(f"{size[key]:,} {key}" for key in ("users", "items", "interactions"))
        parts.append(f"{machine['card']}, torch {machine['torch']}, {machine['date']}; "
                     f"a shop of {shop}, D {size['D']:,}, K {size['K']}.")  # fmt: skip
    if tests := gpu.get("tests"):
        parts.append(f"Tests of `tests/cuda`: {tests['passed']} passed, {tests['failed']} failed, {tests['skipped']} skipped.")
    if "rows" in gpu:
        values = ("seconds", "floor_memory", "floor_products", "ratio")
        rows = [[name, *(f"{row[k]:.3g}" for k in values)] for name, row in gpu["rows"].items()]
        head = ["an epoch of", "seconds", "floor of the memory, s", "floor of the products, s", "times the larger"]
        parts.append(grid(head, rows))
    if "chain" in gpu:
        rows = []
        for model, found in gpu["chain"].items():
            for measure, (mean, half) in found["difference"].items():
                places = [f"{np.mean(found[place][measure]):.4f}" for place in ("processor", "card")]
                rows.append([f"{model}, {measure}", *places, f"{mean:+.4f} ± {half:.4f}"])
        parts.append(grid(["the boutique, three seeds", "processor", "card", "difference"], rows))
    if gpu.get("problems"):
        parts.append("Not measured: " + "; ".join(f"{name} ({why})" for name, why in gpu["problems"].items()) + ".")
    return "\n\n".join(parts)


# ---------------------------------------------------------------- figures


def speeds(training: dict[str, Any]) -> Figure:
    """Triples a second of everyone on the larger shop, both batch sizes."""
    run = max(training["runs"], key=lambda r: (r["size"]["interactions"], r["size"]["batch"]))
    runs = training["runs"]
    names = [n for n, c in CONTENDERS.items() if c.kind == "train" and find(runs, run, n)]
    fig, ax = plt.subplots(figsize=(6.4, 0.32 * len(names) + 1.0))
    for place, name in enumerate(reversed(names)):
        a, b, c = units((find(runs, run, name) or run)["rates"][name])
        known = CONTENDERS[name].library == "amrlib"
        look = figures.style_of(name) if known else {"color": "#8a8a8a", "marker": "o"}
        ax.errorbar(
            a, place, xerr=[[a - b], [c - a]], capsize=3, linestyle="", **{k: v for k, v in look.items() if k != "linestyle"}
        )
    ax.set_yticks(range(len(names)), list(reversed(names)))
    ax.set(xscale="log", xlabel="triples (observed pairs) a second, one thread")
    ax.grid(axis="y", visible=False)
    return fig


def growing(growth: dict[str, Any], what: str) -> Figure:
    """Six panels: measured (median, least to most) and predicted, both axes in powers of two."""
    fig, axes = plt.subplots(2, 3, figsize=(8.4, 4.8), sharey=True)
    labels = {
        "users": "users",
        "items": "items",
        "interactions": "interactions",
        "batch": "batch",
        "D": "D, features an item",
        "K": "K",
    }
    scale = float(np.median([units(r["seconds"])[0] / r["operations"] for r in growth["rows"]]))  # one for all panels
    for ax, axis in zip(axes.ravel(), AXES, strict=True):
        rows = [r for r in growth["rows"] if r["axis"] == axis]
        x = [r["value"] for r in rows]
        if what == "seconds":
            a, b, c = np.array([units(r["seconds"]) for r in rows]).T
            ax.fill_between(x, b, c, color=figures.COLORS["AMR"], alpha=0.18, linewidth=0)
            ax.plot(x, a, label="measured", color=figures.COLORS["AMR"], marker="*")
            ax.plot(
                x, [scale * r["operations"] for r in rows], "--", color=figures.COLORS["ink"], label="predicted", linewidth=1
            )
        else:
            there = [(v, r["bytes"]) for v, r in zip(x, rows, strict=True) if r["bytes"]]
            if there:
                ax.plot(
                    *np.array([(v, n / 2**20) for v, n in there]).T, color=figures.COLORS["AMR"], marker="*", label="measured"
                )
            ax.plot(
                x,
                [r["predicted_bytes"] / 2**20 for r in rows],
                "--",
                color=figures.COLORS["ink"],
                label="predicted",
                linewidth=1,
            )
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.set_xlabel(labels[axis])
    for ax in axes[:, 0]:
        ax.set_ylabel("seconds an epoch" if what == "seconds" else "MiB at the peak")
    axes[0, 0].legend()
    return fig


def picture(fig: Figure, name: str, folder: Path) -> None:
    buffer = io.BytesIO()
    fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(fig)
    text = re.sub(r"[ \t]+$", "", buffer.getvalue().decode(), flags=re.M)
    write_atomically(folder / f"{name}.svg", text.encode())


# ---------------------------------------------------------------- the page


def write(page: Path = PAGE, results: Path = RESULTS, pictures: Path = PICTURES) -> None:
    """Fill the markers ``<!-- bench: name -->`` … ``<!-- /bench -->`` of the page; what was not measured says so."""
    read = lambda name: json.loads(p.read_text("utf-8")) if (p := results / f"{name}.json").is_file() else None  # noqa: E731
    training, ranking, growth, gpu, precision, pixels, bpr, accuracy, scale = map(
        read, ("training", "ranking", "growth", "gpu", "precision", "pixels", "bpr", "bpr_accuracy", "scale")
    )
    both, by_library = read("two_cores"), read("products")
    parts: dict[str, Callable[[], str] | None] = {
        "device": training and (lambda: device(training)),
        "ratios": training and (lambda: ratios(training) + measured_on(training)),
        "rates": training and (lambda: rates(training) + measured_on(training)),
        "floor": training and (lambda: floors(training) + measured_on(training)),
        "allocator": training and "kept" in training and (lambda: allocator(training) + measured_on(training)),
        "slower": training and (lambda: slower(training, bpr, ranking)),
        "bpr": bpr and (lambda: triples(bpr)),
        "bpr_accuracy": accuracy and (lambda: bpr_ranks(accuracy)),
        "peers": training and (lambda: peers(training, ranking)),
        "ranking": ranking and (lambda: ranks(ranking) + measured_on(ranking)),
        "two": both and (lambda: two_cores(both) + measured_on(both)),
        "products": by_library and (lambda: products(by_library) + measured_on(by_library)),
        "map": growth and (lambda: mapped(growth) + measured_on(growth)),
        "precision": precision and (lambda: precise(precision) + measured_on(precision)),
        "pixels": pixels and (lambda: attacks(pixels)),
        "scale": scale and (lambda: processes(scale)),
        "card": lambda: card(gpu),
    }

    def fill(found: re.Match[str]) -> str:
        make = parts[found[1]]
        return f"<!-- bench: {found[1]} -->\n{make() if make else NOTHING}\n<!-- /bench -->"

    text = re.sub(r"<!-- bench: (\w+) -->[\s\S]*?<!-- /bench -->", fill, page.read_text(encoding="utf-8"))
    with plt.rc_context():
        figures.use_style()
        if training:
            picture(speeds(training), "speeds", pictures)
        if growth:
            picture(growing(growth, "seconds"), "growth-time", pictures)
            picture(growing(growth, "bytes"), "growth-memory", pictures)
    write_atomically(page, text.encode())
