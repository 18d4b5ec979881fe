"""The authors' weights are read, and nothing that a file of them might carry is run."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from amrlib.datasets.authors_weights import read_authors_weights

WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "pinterest" / "best-vbpr.npy"


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the authors' weights (../shared/data/pinterest) are absent")
def test_the_authors_weights():
    weights = read_authors_weights(WEIGHTS)
    assert {n: w.shape for n, w in weights.items()} == {"P": (3226, 64), "Q": (4998, 64), "E": (2048, 64)}
    assert all(w.dtype == np.float32 and np.isfinite(w).all() and w.flags.writeable for w in weights.values())
    assert int((weights["Q"] == 0).all(axis=1).sum()) == 1180
    assert np.linalg.norm(weights["E"]) == pytest.approx(34.8, abs=0.1)  # as measured elsewhere


def npy(path, payload, shape=(3,)):
    """An .npy file of objects around any pickle."""
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": shape})
        file.write(payload)
    return path


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2"])
@pytest.mark.parametrize("protocol", [3, 4, "save"])
def test_what_numpy_writes_is_read(tmp_path, kind, order, protocol):
    parts = np.empty(3, dtype=object)
    parts[:] = [np.asarray(np.arange(3.0 * n).reshape(n, 3), dtype=kind, order=order) for n in (2, 4, 5)]
    if protocol == "save":
        np.save(tmp_path / "w.npy", parts, allow_pickle=True)
    else:
        npy(tmp_path / "w.npy", pickle.dumps(parts, protocol=protocol))
    for got, part in zip(read_authors_weights(tmp_path / "w.npy").values(), parts, strict=True):
        assert np.array_equal(got, part) and got.dtype == np.dtype(kind).newbyteorder("=")


class Runs:
    """Pickled, it asks for a function to be called when it is read."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_hostile_file_runs_nothing(tmp_path):
    proof = tmp_path / "ran"
    path = str(proof)
    hostile = [Runs(open, path, "w"), Runs(exec, f"open({path!r}, 'w')"), Runs(np.save, path, 1),
               Runs(getattr, "x", "join"), Runs(np.fromfile, "x"), Runs(pickle.loads, b"")]  # fmt: skip
    for thing in hostile:
        for wrapped in (thing, [thing], np.array([thing, 1, 2], dtype=object)):
            with pytest.raises(ValueError, match="is not the authors' file of weights: asks for"):
                read_authors_weights(npy(tmp_path / "evil.npy", pickle.dumps(wrapped)))
    assert not proof.exists()
    for module, name in (("numpy", "ndarray.tofile"), ("numpy", "ndarray.__class__"), ("os", "system")):
        payload = b"\x80\x04" + b"".join(pickle.dumps(x, 4)[11:-1] for x in (module, name)) + b"\x93."
        with pytest.raises(ValueError, match="is not the authors' file"):
            read_authors_weights(npy(tmp_path / "evil.npy", payload))


@pytest.mark.parametrize("payload, shape", [(b"", (3,)), (pickle.dumps([1, 2, 3]), (3,)), (b"garbage", (3,)),
                                            (pickle.dumps(np.zeros(3)), (3,)), (pickle.dumps(0), (2, 2))])  # fmt: skip
def test_a_broken_file_is_said_to_be_one(tmp_path, payload, shape):
    with pytest.raises(ValueError, match="is not the authors' file of weights"):
        read_authors_weights(npy(tmp_path / "w.npy", payload, shape))
