"""The authors' weights are read by their place in a file that is known, and no other file is."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from amrlib.datasets import authors_weights
from amrlib.datasets.authors_weights import read_authors_weights

WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "data" / "pinterest" / "best-vbpr.npy"
needs_weights = pytest.mark.skipif(not WEIGHTS.exists(), reason="the authors' weights (../shared/data/pinterest) are absent")


@needs_weights
def test_the_authors_weights():
    weights = read_authors_weights(WEIGHTS)
    assert {n: w.shape for n, w in weights.items()} == {"P": (3226, 64), "Q": (4998, 64), "E": (2048, 64)}
    assert all(w.dtype == np.float32 and np.isfinite(w).all() and w.flags.writeable for w in weights.values())
    assert int((weights["Q"] == 0).all(axis=1).sum()) == 1180
    assert np.linalg.norm(weights["E"]) == pytest.approx(34.8, abs=0.1)  # as measured elsewhere


@needs_weights
def test_the_numbers_are_all_that_lies_at_their_places():
    """Before each table the file says how long it is, and after it what closes a tuple."""
    content = WEIGHTS.read_bytes()
    for offset, shape in authors_weights.PLACES.values():
        length = 4 * shape[0] * shape[1]
        assert content[offset - 5 : offset] == b"T" + length.to_bytes(4, "little")
        assert content[offset + length : offset + length + 2] == b"tb"


@needs_weights
def test_a_file_with_one_byte_changed_is_refused(tmp_path):
    content = bytearray(WEIGHTS.read_bytes())
    content[400] ^= 1
    (tmp_path / "w.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.npy is not the authors' file of weights .*download it again"):
        read_authors_weights(tmp_path / "w.npy")


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(authors_weights.SIZE)])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "w.npy").write_bytes(content)
    with pytest.raises(ValueError, match="is not the authors' file of weights"):
        read_authors_weights(tmp_path / "w.npy")
    with pytest.raises(FileNotFoundError):
        read_authors_weights(tmp_path / "absent.npy")


def test_tables_come_from_their_places(tmp_path, monkeypatch):
    """On a small file, so that it runs where the authors' is absent."""
    P, Q, E = (np.arange(n, dtype="<f4").reshape(-1, 3) + n for n in (6, 9, 12))
    content = b"head" + P.tobytes() + b"--" + Q.tobytes() + b"-" + E.tobytes() + b"tail"
    places = {"P": (4, P.shape), "Q": (6 + P.nbytes, Q.shape), "E": (7 + P.nbytes + Q.nbytes, E.shape)}
    for name, value in (("SIZE", len(content)), ("SHA256", hashlib.sha256(content).hexdigest()), ("PLACES", places)):
        monkeypatch.setattr(authors_weights, name, value)
    (tmp_path / "w.npy").write_bytes(content)
    for got, table in zip(read_authors_weights(tmp_path / "w.npy").values(), (P, Q, E), strict=True):
        assert np.array_equal(got, table)
