"""The weights that AMR's authors released: a pickled array of arrays, read without running what is in it.

``np.load(path, allow_pickle=True)`` would do, and would also run any program that a pickle carries. Here the
pickle is never given numpy, or anything else, to call:

* whatever name it asks for is looked up in a table of three, and any other name is refused, so no import
  happens and no function of Python or of a library is within reach;
* the three names stand for two classes of this file that only write down what they are told;
* the numbers are taken from the bytes so collected by ``np.frombuffer``, after their sizes were compared.

What is left to a hostile file is to be wrong, which is an error, or to be large.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_authors_weights"]


class _Kind:
    """Stands for ``numpy.dtype``: remembers its code, such as "f4"."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]  # "<" or ">"


class _Array:
    """Stands for ``numpy.ndarray`` and the function that makes an empty one: remembers what is to go in."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.kind, self.fortran, self.data = state

    def numbers(self) -> np.ndarray:
        if self.kind.code not in ("f2", "f4", "f8"):
            raise ValueError(f"holds {self.kind.code!r} where numbers should be")
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data  # str: Python 2's bytes
        flat = np.frombuffer(data, dtype=np.dtype(self.kind.order + self.kind.code))
        shape = tuple(int(n) for n in self.shape)
        return np.array(flat.reshape(shape, order="F" if self.fortran else "C"), dtype=self.kind.code)


_KNOWN = {
    (module, name): stand_in
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
    for name, stand_in in (("dtype", _Kind), ("ndarray", _Array), ("_reconstruct", _Array))
}


class _Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"asks for {module}.{name}, which a file of weights has no use for")
        return _KNOWN[module, name]


def read_authors_weights(path: str | Path) -> dict[str, np.ndarray]:
    """``best-vbpr.npy`` of github.com/duxy-me/AMR: the arrays P (M, K), Q (N, K) and E (D, K), float32.

    Copy them into a ``VBPR`` over a data set of M users and N items, or an ``AMR``; Q is zero for the cold
    items. The features they belong to are divided by their largest absolute value.

    Raises
    ------
    ValueError
        Not such a file, or a pickle that asks for anything but arrays of numbers.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read_header[version](file)
            if dtype != np.dtype(object) or shape != (3,):
                raise ValueError(f"holds {dtype} {shape} rather than three arrays")
            outer = _Restricted(file, encoding="latin1").load()
        arrays = [part.numbers() for part in outer.data]
        if [a.ndim for a in arrays] != [2, 2, 2] or len({a.shape[1] for a in arrays}) != 1:
            raise ValueError(f"holds arrays of shapes {[a.shape for a in arrays]}, not (M, K), (N, K), (D, K)")
    except OSError:
        raise
    except Exception as error:  # a damaged pickle may raise almost anything
        raise ValueError(f"{path} is not the authors' file of weights: {error}") from None
    return dict(zip("PQE", arrays, strict=True))
