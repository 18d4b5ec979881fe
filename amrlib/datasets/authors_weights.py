"""The weights that AMR's authors released, read without unpickling anything.

``best-vbpr.npy`` is a pickled array of arrays, and a pickle is a program. This one is never run: the file is known to the byte,
by its SHA-256, so it is known where the numbers of P, Q and E lie in it.
"""

import hashlib
from pathlib import Path

import numpy as np

SIZE = 2_630_026  # bytes
SHA256 = "bfa0416808e6f7d833b1aa64114bc1511faf614f38b66f666b39240cdca5e8b3"  # of git blob 145a6d48, commit c924225c
PLACES = {"P": (322, (3226, 64)), "Q": (826_211, (4998, 64)), "E": (2_105_732, (2048, 64))}  # offset, shape; float32


def read_authors_weights(path: str | Path) -> dict[str, np.ndarray]:
    """``weights/best-vbpr.npy`` of github.com/duxy-me/AMR: P (3226, 64), Q (4998, 64) and E (2048, 64), float32.

    Copy them into a ``VBPR`` over the authors' Pinterest set, or an ``AMR``; Q is zero for the cold items. The features they
    belong to are divided by their largest absolute value. Any other file is a ValueError.
    """
    path = Path(path)
    content = path.read_bytes() if path.stat().st_size == SIZE else b""  # another is not even read
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"{path} is not the authors' file of weights (its SHA-256 is another); download it again")
    return {
        name: np.frombuffer(content, "<f4", shape[0] * shape[1], offset).reshape(shape).astype(np.float32)
        for name, (offset, shape) in PLACES.items()
    }
