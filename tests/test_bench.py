"""The bench measures the right thing: the naive port steps as ours does, shops repeat, records are whole. Nothing is timed."""

import io
import json
import re

import numpy as np
import pytest
import torch

import amrlib
from amrlib.training.compiled import CompiledTrainer
from amrlib.training import AutogradTrainer, PairwiseTrainer
from bench import gpu, growth, page, precision, run, suite
from bench.__main__ import main
from bench.contenders import CONTENDERS, RIVALS, dataset, ticking
from bench.naive import NaiveAMR
from bench.workloads import MICRO, SIZES, Clock, Size, make


@pytest.fixture(scope="module")
def shop():
    return make(MICRO, seed=3)


# ---------------------------------------------------------------- shops


def test_a_shop_repeats_and_is_as_large_as_it_says(shop):
    again, other = make(MICRO, seed=3), make(MICRO, seed=4)
    for a, b, c in zip(shop, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    assert len(np.unique(shop.train, axis=0)) == len(shop.train) == MICRO.interactions
    assert set(shop.train[:, 0]) == set(range(MICRO.users)) and set(shop.train[:, 1]) == set(range(MICRO.items))
    assert shop.features.shape == (MICRO.items, MICRO.D) and shop.features.dtype == np.float32
    assert not dataset(shop, MICRO).is_train(np.arange(MICRO.users), shop.test).any()


def test_a_shop_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="interactions must be between 50"):
        make(Size(40, 50, 49, 4, 2))


def test_the_sizes_are_the_paper_s_and_ours():
    pinterest, medium = SIZES["pinterest"], SIZES["medium"]
    assert (pinterest.users, pinterest.items, pinterest.interactions) == (3226, 4998, 6618)
    assert (medium.users, medium.items, medium.interactions) == (20_000, 20_000, 400_000)
    assert all((size.D, size.K) == (2048, 64) for size in (pinterest, medium))


# ---------------------------------------------------------------- the naive port


@pytest.mark.parametrize("trainer", [PairwiseTrainer, CompiledTrainer, AutogradTrainer])
@pytest.mark.parametrize("reg, reg_item", [(0.0, 0.0), (0.01, 0.0), (0.01, 0.02)])
@pytest.mark.parametrize("adv_weight", [0.0, 0.7])
@pytest.mark.parametrize("frugal", [False, True])
def test_the_naive_port_takes_our_steps(shop, trainer, reg, reg_item, adv_weight, frugal):
    data = dataset(shop._replace(features=shop.features.astype(np.float64)), MICRO)
    model = amrlib.AMR(data, dim=4, epsilon=0.5, adv_weight=adv_weight, init_std=0.5, dtype=torch.float64)
    theirs = NaiveAMR(*(getattr(model, n).clone() for n in "PQE"), model.features, lr=0.1, epsilon=0.5,
                      adv_weight=adv_weight, reg=reg, reg_item=reg_item, frugal=frugal)  # fmt: skip
    ours = trainer(model, lr=0.1, reg=(reg, reg_item, reg))
    pairs, rng = torch.as_tensor(shop.train), np.random.default_rng(0)
    for start in range(0, 160, 32):  # every batch has items that occur more than once
        users, pos = pairs[start : start + 32].unbind(1)
        neg = torch.as_tensor(rng.integers(0, MICRO.items, 32))
        objective = theirs.step(users, pos, neg)
        assert torch.allclose(ours.step(users, pos, neg).objective, objective, rtol=1e-10, atol=0)
    for name in "PQE":
        mine = getattr(model, name)
        assert ((mine - theirs.theta[name]).norm() / mine.norm()).item() < 1e-10, name


# ---------------------------------------------------------------- the clock and the contest


def test_the_clock_counts_what_lies_between_two_ticks():
    said = io.StringIO()
    clock = Clock(io.StringIO("0\n0\n"), said, versions={"torch": "2"})
    with pytest.raises(SystemExit):  # the end of the input
        list(ticking([3, 4, 5, 6], clock, lambda n: n))
    ready, first, second = map(json.loads, said.getvalue().splitlines())
    assert ready == {"versions": {"torch": "2"}}
    assert (first["count"], second["count"]) == (3, 4)
    assert first["seconds"] >= 0


OURS = [name for name, c in CONTENDERS.items() if c.library in suite.OURS]


@pytest.mark.slow
def test_a_contest_on_a_micro_shop(monkeypatch, tmp_path):
    """All of ours and the naive port run; peers that are not there are left out, with a line that says so."""
    monkeypatch.setenv("AMRLIB_BENCH_PYTHON", str(tmp_path / "none"))
    said = []
    found = run.compare([*OURS, "cornac AMR", "RecBole BPR"], MICRO, 32, rounds=2, seconds=0.02, say=said.append)
    assert set(found) == {"size", "rounds", "seconds", "seed", "rates", "skipped", "versions"}
    assert set(found["rates"]) == set(OURS), found["skipped"]
    assert found["size"] == vars(MICRO) | {"batch": 32}
    assert all(rate > 0 for name, rates in found["rates"].items() if name != "ceiling" for rate in rates)
    assert set(found["rates"]["ceiling"][0]) == {"forward", "backward", "square", "gather"}
    assert set(found["skipped"]) == {"cornac AMR", "RecBole BPR"} and "cornac is not installed" in said[0]
    assert "AMR" in suite.table({"workload": "micro", **found})


def test_a_contender_whose_library_is_missing_ends_at_once(monkeypatch, tmp_path):
    """The peers' environment is there, the library is not."""
    from importlib.metadata import PackageNotFoundError

    from bench import contenders

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(contenders, "version", missing)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert main(["worker", "cornac BPR", "--size", "40,50,200,16,4"]) == 3


def test_a_contender_that_fails_is_left_out_with_its_last_words(tmp_path, monkeypatch):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho 'libfast is broken' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("AMRLIB_BENCH_PYTHON", str(script))
    found = run.compare(["implicit BPR"], MICRO, 32, rounds=1, seconds=0.01, say=lambda _: None)
    assert found["rates"] == {} and found["skipped"] == {"implicit BPR": "libfast is broken"}


def test_ratios_are_taken_round_by_round():
    rates = {"a": [10.0, 20.0, 40.0], "b": [1.0, 10.0, 10.0]}
    assert run.ratio(rates, "a", "b") == (4.0, 2.0, 10.0)
    assert run.ratio(rates, "a", "absent") is None
    assert run.units([4.0, 1.0, 2.0, 3.0]) == (2.5, 1.0, 4.0)


def test_the_floor_is_two_products_and_a_gather():
    rates = {"forward": 2.0, "backward": 4.0, "square": 9.0, "gather": 8.0}
    size = {"batch": 1000, "D": 500, "K": 50}  # 0.05 GFLOP a product, 0.004 GB gathered
    expected = {"products": 0.05 / 2 + 0.05 / 4, "square": 2 * 0.05 / 9, "gather": 0.004 / 8}
    assert run.floor([rates], size) == [pytest.approx(expected)]
    record = {"size": size, "rates": {"ceiling": [rates], "AMR": [1000 / 0.075]}}
    above = page.over_floor(record)
    assert above["its matrix products"][0] == pytest.approx(2.0)
    assert above["its matrix products at a square one's rate"][0] == pytest.approx(6.75)


# ---------------------------------------------------------------- ranking, growth, the card, the page


def test_our_measures_are_those_of_sorted_scores():
    found = suite.ranking_agrees(MICRO, users=30)
    assert found["users"] == 30 and found["largest_difference"] < 1e-9


@pytest.mark.slow
def test_growth_and_the_memory_map_fill_their_records():
    rows = growth.growth(0.005, axes={"D": [16, 512], "batch": [32]}, base=MICRO)
    assert [(r["axis"], r["value"]) for r in rows] == [("D", 16), ("D", 512), ("batch", 32)]
    assert set(rows[0]) == {"axis", "value", "seconds", "bytes", "operations", "predicted_bytes"}
    assert len(rows[0]["seconds"]) == 3 and rows[1]["operations"] / rows[0]["operations"] == 32
    found = growth.memory_map(gib=0.001, seconds=0.005, D=256, K=4, batch=64)
    assert found["file_bytes"] >= 0.001 * 2**30 - 512
    assert {"memory", "file, cached", "file, not cached"} < set(found)
    assert len(found["file, not cached"]["triples"]) == 3


def test_every_axis_of_growth_has_four_doublings_and_the_base_in_it():
    for axis, values in growth.AXES.items():
        assert values[-1] / values[0] >= 16
        assert (growth.BATCH if axis == "batch" else getattr(growth.BASE, axis)) in values


def test_the_card_s_command_runs_on_a_processor_and_refuses_without_leave(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["gpu"]) == 1
    assert "no graphics card" in capsys.readouterr().out
    assert main(["gpu", "--on-cpu", "--size", "40,50,200,16,4", "--batch", "64"]) == 0
    assert "an epoch of AMR, features in float16" in capsys.readouterr().out
    record = gpu.measure(MICRO, 64, "cpu")
    assert set(record) == {"machine", "size", "limits", "rows"} and len(record["rows"]) == 4


def record_of(names, batch, rounds=3):
    ceiling = {"forward": 50.0, "backward": 40.0, "square": 90.0, "gather": 8.0}
    rates = {n: [ceiling if n == "ceiling" else 1000.0 * (i + 1)] * rounds for i, n in enumerate(names)}
    return {"workload": "medium", "size": vars(MICRO) | {"batch": batch}, "rounds": rounds, "seconds": 1, "seed": 0,
            "rates": rates, "skipped": {}, "versions": {"torch": "2.0"}}  # fmt: skip


def test_the_page_is_filled_between_its_markers_and_nowhere_else(tmp_path):
    target, before = tmp_path / "speed.md", page.PAGE.read_text(encoding="utf-8")
    target.write_text(before, encoding="utf-8")
    page.write(target, tmp_path, tmp_path)  # nothing measured
    assert target.read_text(encoding="utf-8").count(page.NOTHING) >= 7
    trainers = [n for n, c in CONTENDERS.items() if c.kind != "rank"]
    rankers = [n for n, c in CONTENDERS.items() if c.kind == "rank"]
    batched = [n for n in trainers if CONTENDERS[n].batched]
    machine = run.machine()
    runs = [record_of(trainers, 512), record_of(batched, 4096)]
    kept = record_of(["AMR, compiled", *RIVALS["AMR, compiled"]], 512)  # the k-th name at k thousand a second
    run.save({"machine": machine, "runs": runs, "kept": kept}, "training", tmp_path)
    ranking = record_of(rankers, 512) | {"agreement": {"users": 3, "largest_difference": 0.0}}
    run.save({"machine": machine, "runs": [ranking]}, "ranking", tmp_path)
    page.write(target, tmp_path, tmp_path)
    text = target.read_text(encoding="utf-8")
    for name in {*RIVALS, *(rival for rivals in RIVALS.values() for rival in rivals)}:
        assert name in text
    rates = runs[0]["rates"]
    apart = rates["AMR, compiled"][0] / rates["cornac AMR"][0]
    assert f"| cornac AMR | {page.times((apart,) * 3)} | ×0.25 (0.25–0.25) |" in text
    assert "cornac ranking is up to 2.00 times as fast as our ranking" in text  # the made rates say so
    assert (tmp_path / "speeds.svg").read_text().lstrip().startswith("<?xml")
    outside = lambda page_text: re.sub(r"<!-- bench: \w+ -->[\s\S]*?<!-- /bench -->", "", page_text)  # noqa: E731
    assert outside(text) == outside(before)


def test_the_stored_results_have_their_keys_and_the_page_is_theirs(tmp_path):
    target = tmp_path / "speed.md"
    target.write_text(page.PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    page.write(target, run.RESULTS, tmp_path)
    assert target.read_text(encoding="utf-8") == page.PAGE.read_text(encoding="utf-8"), "run: python -m bench page"
    for name in ("training", "ranking"):
        record = json.loads((run.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        assert {"cpu", "date", "threads", "python"} <= set(record["machine"])
        for entry in record["runs"]:
            assert {"workload", "size", "rounds", "seconds", "seed", "rates", "skipped", "versions"} <= set(entry)
            assert all(len(values) == entry["rounds"] for values in entry["rates"].values())


def test_precision_compares_each_type_with_float32(tmp_path):
    found = precision.precision(range(2), epochs=1, dim=4)
    for kinds in found["models"].values():
        assert list(kinds["NDCG@10"]) == ["float32", "float16", "bfloat16"]
        assert kinds["same places"]["float32"] == [1.0, 1.0]
        assert all(len(v) == 2 and 0 <= min(v) and max(v) <= 1 for part in kinds.values() for v in part.values())
    text = page.precise(found)
    assert text.count("\n| ") >= 6 and "2 trainings" in text
