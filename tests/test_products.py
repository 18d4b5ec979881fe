"""The products of training.compiled.loops against numpy's, at sizes that fill no tile and at sizes that do."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from amrlib.training.compiled import loops as products

# R rows and M of them gathered, D, K: less than one tile, whole tiles alone, and some of each and a rest
SIZES = [(1, 1, 1, 1), (5, 3, 7, 3), (12, 12, 128, 64), (30, 24, 256, 16), (131, 100, 300, 70), (77, 77, 2100, 33)]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """The module as it is on a machine with narrower registers."""
    path = tmp_path_factory.mktemp("narrow") / "narrow_products.py"
    source = Path(products.__file__).read_text(encoding="utf-8").replace("from .", f"from {products.__package__}.")
    lines = source.splitlines()
    (place,) = [n for n, line in enumerate(lines) if line.startswith("ROWS, WIDE =")]
    lines[place] = "ROWS, WIDE = 6, 1"
    path.write_text("\n".join(lines), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def room(rows, columns, dtype):
    """Memory with NaN in it, which shows wherever it is read before it is written."""
    return torch.full((rows, columns), torch.nan, dtype=dtype).numpy()


@pytest.mark.parametrize("dtype, close", [(torch.float32, 1e-4), (torch.float64, 1e-12)])
@pytest.mark.parametrize("minus", [True, False], ids=["differences", "rows"])
@pytest.mark.parametrize("R, M, D, K", SIZES)
@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
def test_both_products(wide, R, M, D, K, minus, dtype, close, narrow):
    module, rng = products if wide else narrow, np.random.default_rng(0)
    number = torch.empty(0, dtype=dtype).numpy().dtype
    features, below, e, g = (rng.normal(size=size).astype(number) for size in ((50, D), (R - M, D), (D, K), (R, K)))
    i, j = rng.integers(50, size=(2, M))
    lanes = products.VECTOR // number.itemsize
    width = -(-K // lanes) * lanes
    X, Z, E, G, XG = (room(m, n, dtype) for m, n in ((R, D + lanes), (R, width), (D, width), (R, width), (D, width)))
    X[M:, :D], E[:, :K], G[:, :K] = below, e, g

    half = R // 2
    for start, end in ((0, half), (half, R)):
        module.rows_times_E(features, i, j if minus else j[:0], X, E, Z, start, end)
    rows = np.concatenate([features[i] - features[j] if minus else features[i], below])
    assert np.array_equal(X[:, :D], rows)
    assert np.abs(Z[:, :K] - rows @ e).max() < close * D**0.5

    for start, end in ((0, D // 3), (D // 3, D)):
        module.rows_transposed_times(G, X, XG, R, start, end)
    assert np.abs(XG[:, :K] - rows.T @ g).max() < close * R**0.5
    module.rows_transposed_times(G, X, XG, 1, 0, D)  # the first row alone, over what was there
    assert np.allclose(XG[:, :K], np.outer(rows[0], g[0]))


@pytest.mark.parametrize("wide", [True, False], ids=["wide", "narrow"])
@pytest.mark.parametrize("m, k, terms", [(1, 1, 1), (6, 64, 128), (20, 70, 300)])
def test_a_product_of_parts(m, k, terms, wide, narrow):
    """Of a transposed array, and of an array's last rows."""
    module, rng = products if wide else narrow, np.random.default_rng(0)
    width = -(-k // 8) * 8
    a, b = rng.normal(size=(terms, m + 2)), rng.normal(size=(terms + 3, k))
    B, C = room(terms + 3, width, torch.float64), room(m + 1, width, torch.float64)
    B[:, :k] = b
    module.product(a, 2, 1, m + 2, B, 3 * width, width, C, width, width, m, width, terms)
    assert np.abs(C[1:, :k] - a[:, 2:].T @ b[3:]).max() < 1e-11
    assert np.isnan(C[0]).all()
