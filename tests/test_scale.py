"""The cost model of several processes: its bytes are those of amrlib.parallel, its measuring runs, its figure is drawn."""

import re
import sys

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
import pytest
import torch
import torch.distributed as dist

from amrbook import scale as model
from bench import page, run, scale
from bench.workloads import MICRO

RATES = {"forward": 100.0, "backward": 50.0, "gram": 80.0, "gather": 10.0, "adagrad": 1.0,
         "rest": [1e-3, 1e-9, 2e-9, 1e-7], "sum": [1e-4, 1e-9], "whole": [2e-4, 3e-9]}  # fmt: skip
SIZE = model.Size(1_000, 2_000, 10_000, 512, 16, 256)


def test_distinct_items_are_those_that_are_drawn():
    rng = np.random.default_rng(0)
    counts = rng.geometric(0.2, 60)
    rows, drawn = np.repeat(np.arange(60), counts), []
    for _ in range(2_000):
        drawn.append(len(np.unique(np.concatenate([rng.permutation(rows)[:25], rng.integers(0, 60, 25)]))))
    assert abs(np.mean(drawn) - model.distinct_items(counts, 25)) < 0.3


def test_a_ring_sends_what_the_formula_says():
    """Two processes send a table once in a sum, half of it when it is gathered."""
    tables = model.travels(SIZE, 300)
    assert tables == {"Z, gathered": 19_200, "s, summed": 19_200, "s′, summed": 19_200, "∂L/∂E, summed": 32_768}
    assert model.sent(SIZE, 300, 1) == 0
    assert model.sent(SIZE, 300, 2) == pytest.approx(19_200 / 2 + 2 * 19_200 + 32_768)


def test_what_is_divided_halves_and_what_is_not_stays():
    one, two = (model.seconds(SIZE, 300, n, RATES) for n in (1, 2))
    assert one["products"] == pytest.approx(2 * 300 * 512 * 16 / 1e9 * (1 / 100 + 1 / 50))
    assert two["products"] == pytest.approx(one["products"] / 2) and two["gather"] == pytest.approx(one["gather"] / 2)
    assert two["the rest"] == one["the rest"] and one["messages"] == 0
    assert two["messages"] == pytest.approx(3 * 1e-4 + (2 * 19_200 + 32_768) * 1e-9 + 2e-4 + 19_200 * 3e-9)


def test_a_line_is_found():
    x = np.array([64.0, 1e3, 1e5, 4e6])
    assert np.allclose(model.line(x, 2e-4 + 3e-9 * x), (2e-4, 3e-9))


there = sys.platform == "linux" and dist.is_available() and dist.is_gloo_available()
gloo = pytest.mark.skipif(not there, reason="several processes are measured on Linux, with a torch that has gloo")


def numbers() -> list[float]:
    from amrlib.parallel import team

    us = team()
    table = torch.full((4, 3), float(us.rank + 1))
    return [us.size, float(us.sum(table).sum()), float(us.whole(table[us.part], 4).sum())]


def fails() -> None:
    raise SystemExit(3)


@gloo
def test_the_processes_are_a_team():
    assert scale.together(2, numbers) == [[2, 36.0, 36.0]] * 2


@gloo
def test_a_process_that_ends_is_told():
    with pytest.raises(RuntimeError, match="1 processes ended"):
        scale.together(1, fails)


@gloo
def test_a_small_measurement_has_all_that_the_page_and_the_chapter_read(tmp_path):
    found = scale.scale(0.01, 2, {"items": [50, 60], "batch": [16, 32]}, MICRO, 32, (1, 2))
    assert list(found["constants"]) == ["1", "2"] and len(found["rows"]) == 4
    for row in found["rows"]:
        assert row["compiled"]["seconds"] and set(row["processes"]) == {"1", "2"}
        for entry in row["processes"].values():
            assert len(entry["seconds"]) == 2 and min(entry["seconds"]) > 0 and entry["predicted"]["seconds"]
    run.save(found, "scale", tmp_path)
    table = page.processes(found)
    assert re.search(r"^\| 2 \| \d", table, flags=re.M) and "| 1, compiled |" in table


def test_the_stored_figures_bytes_are_those_of_the_formula():
    """What left each process over the loopback, headers included, in every stored point."""
    found = model.measured("scale")
    assert set(found["launches"]["seconds"]) == set(found["constants"]) == {"1", "2", "4"}
    for row in found["rows"]:
        size = model.Size(**row["size"])
        for n, entry in row["processes"].items():
            assert entry["predicted"]["sent"] == pytest.approx(model.sent(size, row["distinct"], int(n)))
            if entry["sent"]:
                assert entry["sent"] / entry["predicted"]["sent"] == pytest.approx(1, abs=0.1)
    figure = model.growing(found)
    assert len(figure.axes) == 6
