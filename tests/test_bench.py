"""The bench measures the right thing: the naive port steps as ours does, shops repeat, records are whole. Nothing is timed."""

import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import amrlib
from amrlib.models import mf_eals
from amrlib.training import AutogradTrainer, PairwiseTrainer
from amrlib.training.compiled.step import CompiledTrainer
from bench import contenders, gpu, gpu_parts, growth, page, precision, run, suite
from bench.__main__ import main
from bench.contenders import CONTENDERS, MACHINE, RIVALS, dataset, ticking
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
    model = amrlib.AMR(dim=4, epsilon=0.5, adv_weight=adv_weight, init_std=0.5, dtype=torch.float64).bind(data)
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


def test_a_contest_on_a_micro_shop(monkeypatch, tmp_path):
    """Two of ours, each in its process; peers that are not there are left out, with a line that says so."""
    monkeypatch.setenv("AMRLIB_BENCH_PYTHON", str(tmp_path / "none"))
    ours, said = ["AMR", "ceiling"], []
    found = run.compare([*ours, "cornac AMR", "RecBole BPR"], MICRO, 32, rounds=2, seconds=0.02, say=said.append)
    assert set(found) == {"size", "rounds", "seconds", "seed", "rates", "skipped", "versions"}
    assert set(found["rates"]) == set(ours), found["skipped"]
    assert found["size"] == vars(MICRO) | {"batch": 32}
    assert all(rate > 0 for rate in found["rates"]["AMR"])
    assert set(found["rates"]["ceiling"][0]) == {"forward", "backward", "square", "gather"}
    assert set(found["skipped"]) == {"cornac AMR", "RecBole BPR"} and "cornac is not installed" in said[0]
    assert "AMR" in suite.table({"workload": "micro", **found})


OURS = [name for name, c in CONTENDERS.items() if c.library in suite.OURS and c.kind != "ceiling"]


@pytest.mark.parametrize("name", OURS)
def test_each_of_ours_works_for_as_long_as_it_is_asked(name, shop, monkeypatch):
    """In this process, for two windows of no length."""
    monkeypatch.setattr(mf_eals, "progress_bar", mf_eals.progress_bar)  # a contender that has a process puts its own there
    said = io.StringIO()
    with pytest.raises(SystemExit):
        CONTENDERS[name].run(Clock(io.StringIO("0\n0\n"), said, versions={}), shop, MICRO, 32)
    assert [json.loads(line)["count"] > 0 for line in said.getvalue().splitlines()[1:]] == [True, True]


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


def on_a_processor(tmp_path, *parts):
    """What parts of the card's command report, run on the CPU."""
    found = {"problems": {}}
    for part in parts:
        gpu_parts.PARTS[part](gpu_parts.Setting(tmp_path / "report", MICRO, [32, 64], "cpu"))
    for line in (tmp_path / "report").read_text().splitlines():
        gpu.merge(found, json.loads(line))
    return found


def test_the_parts_of_the_card_s_command_on_a_processor(tmp_path):
    found = on_a_processor(tmp_path, "about", "speed", "naive", "host", "ranking", "chain")
    assert found["problems"] == {} and set(found["machine"]) == {"card", "torch", "python", "date"}
    names = list(found["rows"])
    assert len(names) == 2 * (4 + 1) + 4 + 1 + 1
    for word in ("CUDA graph", "launch by launch", "float16 features", "on the host", "naive AMR", "VBPR", "ranking all items"):
        assert any(word in name for name in names), word
    assert all(set(row) == {"seconds", "floor_memory", "floor_products", "ratio"} for row in found["rows"].values())
    assert list(found["chain"]) == ["MF-BPR", "VBPR", "AMR"]
    for devices in found["chain"].values():  # the same device twice here, so the same numbers
        assert devices["card"] == devices["processor"] and devices["difference"]["NDCG@10"] == [0.0, 0.0]
    text = page.card(found | {"tests": {"passed": 3, "failed": 1, "skipped": 0}, "problems": {"host": "stopped after 9 s"}})
    assert "3 passed, 1 failed" in text and "Not measured: host (stopped after 9 s)." in text
    assert all(f"| {name} |" in text for name in names) and "| AMR, NDCG@10 |" in text
    assert "AMR, NDCG@10: card less processor" in gpu.say(found)


def test_one_command_writes_one_file_and_a_part_that_fails_stops_none(tmp_path):
    """tools/gpu_check.sh itself: parts that run, and one whose time is up."""
    out = tmp_path / "new" / "gpu.json"
    environment = {**os.environ, "AMRLIB_GPU_CHECK_DEVICE": "cpu", "PYTHON": sys.executable}
    command = [str(run.ROOT / "tools" / "gpu_check.sh"), str(out), "--only", "about", "tests"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["problems"] == {} and list(found["took"]) == ["about", "tests"] and "missing" in found["machine"]
    assert found["tests"]["runner"] == "pytest" and found["tests"]["passed"] > 3 and found["tests"]["failed"] == 0
    assert gpu.check(out, "40,50,200,16,4", "32", "cpu", ["ranking", "about"], seconds=0.5) == 2
    problems = json.loads(out.read_text())["problems"]
    assert set(problems) == {"ranking", "about"} and set(problems.values()) <= {"no time was left for it", "stopped after 0 s"}


def test_a_part_says_why_it_failed_and_where_there_is_no_card(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpu.run_part("about", 60, "40,50,200,16,4", "32", "cuda") == ([], "torch finds no graphics card with CUDA here")
    setting = gpu_parts.Setting(tmp_path / "report", MICRO, [32], "cpu")
    with setting.part("a row"):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried")
    assert json.loads((tmp_path / "report").read_text()) == {"problems": {"a row": "CUDA out of memory."}}


def test_what_pytest_says_is_counted_as_it_goes():
    lines = ["tests/cuda/test_a.py::test_x[1-a b] PASSED   [ 1%]", "tests/cuda/test_a.py::test_x[2] FAILED  [ 2%]",
             "tests/cuda/test_a.py::test_y SKIPPED (torch finds no card) [ 3%]", "tests/cuda/test_a.py::test_z ERROR [4%]",
             "FAILED tests/cuda/test_a.py::test_x[2] - assert 1 == 2", "ERROR tests/cuda/test_a.py::test_z - no"]  # fmt: skip
    *_, last = gpu_parts.pytest_lines(lines)
    assert last == {"passed": 1, "failed": 2, "skipped": 1,
                    "failures": {"test_a.py::test_x[2]": "assert 1 == 2", "test_a.py::test_z": "no"}}  # fmt: skip


def test_the_runner_without_pytest(tmp_path):
    """The same tests as pytest takes, and a failure is told from a skip."""
    folder, report = tmp_path / "tests" / "cuda", tmp_path / "report"
    folder.mkdir(parents=True)
    (folder / "conftest.py").write_text("import pytest\n@pytest.fixture\ndef device():\n    return 'here'\n")
    (folder / "test_some.py").write_text(
        "import os\nimport pytest\npytestmark = pytest.mark.cuda\n"
        "@pytest.mark.parametrize('a, b', [(1, 2), (3, 4)])\n@pytest.mark.parametrize('c', [5, 6, 7])\n"
        "def test_cases(device, a, b, c, tmp_path):\n"
        "    assert device == 'here' and b == a + 1 and tmp_path.is_dir() and c < 7\n"
        "def test_skipped():\n    pytest.skip('no card')\n"
        "def test_patched(monkeypatch):\n    monkeypatch.setattr(os, 'getcwd', lambda: 'x')\n    assert os.getcwd() == 'x'\n"
        "def test_undone():\n    assert os.getcwd() != 'x'\n"
        "def test_raises():\n    with pytest.raises(ValueError, match='b.d'):\n        raise ValueError('bad')\n"
        "def test_does_not_raise():\n    with pytest.raises(ValueError):\n        pass\n"
    )
    command = [sys.executable, "-m", "bench.tiny_pytest", str(report), str(folder)]
    assert subprocess.run(command, cwd=run.ROOT).returncode == 0
    found = json.loads(report.read_text())["tests"]
    assert (found["passed"], found["failed"], found["skipped"]) == (7, 3, 1)
    assert found["failures"]["test_does_not_raise[0]"] == "no ValueError"


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


def test_two_threads_are_told_from_one_and_a_sample_from_all_users():
    training = record_of(["AMR, compiled", "AMR, compiled, two threads"], 4096)  # 1 and 2 thousand a second
    ranking = record_of(["cornac ranking", "worst-case ranks, two threads", "ranking, two threads"], 4096)  # 1, 2, 3
    text = page.two_cores({"machine": run.machine(2), "runs": [training, ranking]})
    assert "| AMR, compiled, two threads, against one (medium, batch 4,096) | ×2.00 (2.00–2.00) |" in text
    assert "against cornac (medium; 1,000 users a second) | ×3.0 (3.0–3.0) |" in text
    assert "worst-case ranks over that of clean ranks (medium) | ×1.50 (1.50–1.50) |" in text
    assert {CONTENDERS[name].threads for name in training["rates"]} == {1, 2}
    itself = record_of(["products in the cache", "products in the cache, two threads"], 4096)
    text = page.two_cores({"machine": run.machine(2), "runs": [itself]})
    assert "| the machine itself: products in the cache, two threads, against one (beside medium) | ×2.00 (2.00–2.00) |" in text


def test_every_table_of_rates_names_its_processor(tmp_path):
    assert page.processor({"cpu": "A", "cores": 2, "instructions": "AVX2"}) == "A with AVX2, 2 cores"
    assert page.processor({"cpu": "A", "cores": 2}) == "A, 2 cores"
    text = page.PAGE.read_text(encoding="utf-8")
    for name, part in re.findall(r"<!-- bench: (\w+) -->([\s\S]*?)<!-- /bench -->", text):
        if name not in ("slower", "card", "peers", "bpr_accuracy") and page.NOTHING not in part:
            assert " cores, " in part and re.search(r"\d{4}-\d\d-\d\d", part), name


@pytest.mark.parametrize("reg", [0.0, 0.01])
@pytest.mark.parametrize("name", ["TorchProducts", "BLASInLoops"])
def test_a_step_with_a_library_s_products_is_the_step(name, reg, shop, monkeypatch):
    pytest.importorskip("scipy")  # numba takes its BLAS from there
    products = pytest.importorskip("bench.products")
    monkeypatch.setattr(products, "TERMS", 20)
    data, models = dataset(shop, MICRO), []
    for trainer in (products.CompiledTrainer, getattr(products, name)):
        model = amrlib.AMR(dim=4, epsilon=0.1, adv_weight=1.0, dtype=torch.float64).bind(data)
        model.features = model.features.double()
        model.fit(data, epochs=2, batch_size=64, reg=reg, device="cpu", trainer=trainer, progress=False)
        models.append(model)
    for own, theirs in zip(models[0].parameters().values(), models[1].parameters().values(), strict=True):
        assert (own - theirs).abs().max() < 1e-10 and not own.isnan().any()


def test_what_hand_written_products_gain_is_a_ratio_by_size():
    found = record_of(["AMR, compiled, torch's products", "AMR, compiled, BLAS in the loops", "AMR, compiled"], 512)  # 1, 2, 3
    text = page.products({"machine": run.machine(), "runs": [found]})
    assert "| AMR, compiled, torch's products | ×3.0 (3.0–3.0) |" in text
    assert "| AMR, compiled, BLAS in the loops | ×1.50 (1.50–1.50) |" in text


def test_the_contenders_of_two_cores_run(shop):
    for name in ("AMR, compiled", "ranking", "worst-case ranks", *MACHINE):
        name = f"{name}, two threads"
        sink = io.StringIO()
        with pytest.raises(SystemExit):
            CONTENDERS[name].run(Clock(io.StringIO("0\n" * 2), sink), shop, MICRO, 32)
        assert [json.loads(line)["count"] > 0 for line in sink.getvalue().splitlines()[1:]] == [True, True]


def test_an_epoch_is_timed_in_the_pieces_that_fit_takes(shop, monkeypatch):
    """A trainer of several steps in one call takes them in one call here, too; no triple is lost between two pieces."""
    pieces, whole = [], CompiledTrainer._steps
    monkeypatch.setattr(contenders, "PIECE", 64)
    monkeypatch.setattr(CompiledTrainer, "_steps", lambda self, t, *a: pieces.append(len(t.users)) or whole(self, t, *a))
    sink = io.StringIO()
    with pytest.raises(SystemExit):
        CONTENDERS["AMR, compiled"].run(Clock(io.StringIO("0\n" * 8), sink), shop, MICRO, 32)
    assert pieces[:4] == [64, 64, 64, 8]  # of 200
    counts = [json.loads(line)["count"] for line in sink.getvalue().splitlines()[1:]]
    assert counts[:4] == [64, 64, 64, 8]


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


# ---------------------------------------------------------------- attacks on pixels


def test_the_plain_promotion_is_ours():
    """What is timed against each other does the same step, up to the rounding to 8 bits."""
    from amrlib.pixels import attack, pixel_extractor
    from bench.pixels import EPSILON, K, plain_promotion

    shop, look = amrlib.load_dataset("boutique"), pixel_extractor("shop", "cpu")
    model = amrlib.VBPR(dim=8, seed=0).bind(shop)
    model.fit(shop, 1, device="cpu", progress=False)
    plain = plain_promotion(model, shop, look, 7, 1)[0, 0].numpy()
    one = attack(model, shop, look, EPSILON, "promote", [7], k=K, progress=False)[7].astype(float)
    assert np.abs(plain - one).max() < 1 and (np.abs(plain - one) < 1e-3).mean() > 0.99
    assert (np.abs(plain - shop.images[7]) == EPSILON).mean() > 0.3  # most of the others are white already, or flat


def test_the_table_of_attacks_says_what_was_left_out():
    seconds = {
        "FGSM, ours": [2.0, 2.0], "FGSM, ours, Γ given": [1.0, 1.0], "FGSM, torchattacks, 32": [4.0, 4.0],
        "FGSM, torchattacks, 64": [3.0, 3.0], "promotion, ours, 20": [0.1, 0.1], "promotion, plain, 20": [3.0, 2.0],
    }  # fmt: skip
    found = {
        "seconds": seconds, "versions": {"torch": "2", "torchattacks": "3.5"}, "skipped": {"art": "it is not installed"},
        "machine": {"cpu": "a processor", "date": "2026-01-01"}, "pictures": 4830, "people": 3226,
    }  # fmt: skip
    text = page.attacks(found)
    assert "torchattacks 3.5 (batch 64) | 1.00 s | 3.00 s | ×3.0 (3.0–3.0)" in text and "×25.0 (20.0–30.0)" in text
    assert "art: left out, it is not installed." in text
