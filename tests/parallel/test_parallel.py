"""Several processes under torchrun end where one ends: every model, and after accidents. Two or four of them, with gloo."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist

import amrlib
from amrlib import parallel

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")
pytestmark = pytest.mark.skipif(not (dist.is_available() and dist.is_gloo_available()), reason="this torch has no gloo")


def launch(processes: int, *words: object, restarts: int = 0, module: bool = False) -> subprocess.CompletedProcess:
    """0 processes: without torchrun."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
                f"--max-restarts={restarts}"]  # fmt: skip
    command = ([sys.executable] if processes == 0 else torchrun) + (["-m", "amrlib"] if module else [str(WORKER)])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([*command, *map(str, words)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "alone.npz"
    run = launch(0, out)
    assert run.returncode == 0, run.stderr
    return np.load(out)


@pytest.mark.parametrize("processes", [2, 4])
def test_every_model_ends_where_one_process_ends(processes, alone, tmp_path):
    """1e-10 in float64 and 1e-5 in float32; the closed form's own fixtures hold one process to the authors' program."""
    run = launch(processes, tmp_path / "out.npz")
    assert run.returncode == 0, run.stderr
    together = np.load(tmp_path / "out.npz")
    assert set(together) == set(alone)
    for key in alone:
        assert far(alone[key], together[key]) < (1e-10 if "float64" in key else 1e-5), key
    # they are sums in another order, not the same run
    assert any(far(alone[key], together[key]) > 0 for key in alone)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "run.npz"
    run = launch(2, out, 4, "nothing")
    assert run.returncode == 0, run.stderr
    said = re.findall(r"process \d has (\[.*?\])", run.stdout)  # two lines may have run into one
    assert len(said) == 2 and said[0] == said[1]  # all have all of it
    return np.load(out)


def test_a_killed_process_is_started_again_and_ends_as_if_nothing_had_happened(undisturbed, tmp_path):
    run = launch(2, tmp_path / "run.npz", 4, "killed", restarts=2)
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "run.npz")
    assert "SIGKILL" in run.stderr or "-9" in run.stderr
    assert found["epochs"] == 4 and all(np.array_equal(found[k], undisturbed[k]) for k in "PQE")


def test_another_number_of_processes_goes_on(undisturbed, tmp_path):
    assert launch(2, tmp_path / "run.npz", 2, "nothing").returncode == 0
    run = launch(3, tmp_path / "run.npz", 4, "nothing")
    assert run.returncode == 0, run.stderr
    found = np.load(tmp_path / "run.npz")
    assert found["epochs"] == 4 and all(far(found[k], undisturbed[k]) < 1e-10 for k in "PQE")


@pytest.mark.parametrize("kind, rows", [("", 2), ("least squares, ", 3)])  # its history begins with epoch 0
def test_one_that_is_told_to_stop_stops_all(kind, rows, tmp_path):
    run = launch(2, tmp_path / "run.npz", 50, kind + "told to stop")
    found = np.load(tmp_path / "run.npz")
    assert run.returncode == 0 and found["stopped"] == "interrupted" and found["epochs"] == rows
    said = re.findall(r"process \d has (\[.*?\])", run.stdout)  # two lines may have run into one
    assert len(said) == 2 and said[0] == said[1]


def test_the_first_process_decides_when_to_stop(tmp_path):
    run = launch(2, tmp_path / "run.npz", 3, "another mind")
    assert run.returncode == 0 and np.load(tmp_path / "run.npz")["epochs"] == 3, run.stderr


@pytest.mark.parametrize("what, message", [
    ("diverges", "FloatingPointError: the loss is no longer finite at epoch"),
    ("full disk", "OSError: [Errno 28] No space left on device"),
    ("other seeds", "ValueError: the processes have drawn different triples: they need the same data, seed"),
])  # fmt: skip
def test_an_error_is_told_once_and_ends_all(what, message, tmp_path):
    run = launch(2, tmp_path / "run.npz", 3, what)
    assert run.returncode != 0 and run.stdout.count(message) == 1, run.stdout + run.stderr


def test_the_command_line(tmp_path):
    words = ["--epochs", 2, "--dim", 4, "--device", "cpu", "--out"]
    runs = [launch(n, "train", "amr", *words, tmp_path / f"{n}.safetensors", module=True) for n in (0, 2)]
    assert all(run.returncode == 0 and run.stdout.count("AMR after 2 epochs") == 1 for run in runs), runs
    shop = amrlib.load_dataset("boutique")
    one, two = (amrlib.load(tmp_path / f"{n}.safetensors", shop) for n in (0, 2))
    assert all(far(one.parameters()[k].numpy(), two.parameters()[k].numpy()) < 1e-5 for k in "PQE")
    told = [launch(n, "attack", tmp_path / "0.safetensors", module=True) for n in (0, 2)]
    assert all(run.returncode == 0 for run in told), told
    lines = [run.stdout.splitlines()[-5:] for run in told]  # what is certain, and the clean ranks, are the same
    assert lines[0][:2] == lines[1][:2] and lines[0][-1] == lines[1][-1] and told[1].stdout.count("NDCG@10") == 1


def test_without_torchrun_there_is_no_team():
    assert parallel.start("cpu") is None
    with pytest.raises(ValueError, match="start this with torchrun"):
        parallel.team()
