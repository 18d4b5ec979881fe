"""Models and checkpoints on disk: tensors as safetensors, the rest as JSON in the header. Nothing is ever unpickled."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from .atomic_files import write_atomically
from .checks import require

FORMAT = 2  # 1 was amrlib 0.1's, without fingerprints


def write_tensors(path: str | Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write tensors and a header of plain JSON: whole, or not at all."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, to_bytes(plain, {"amrlib": json.dumps({"format": FORMAT, **header})}))


def read_tensors(path: str | Path, what: str, words: tuple[str, ...], remedy: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file of :func:`write_tensors` whose header has the ``words``. A file that is not ``what``, such
    as "a model saved by amrlib", or of another version is a ValueError that ends in the ``remedy``."""
    require(not Path(path).is_dir(), f"{path} is a folder, not {what}; name a file in it")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["amrlib"])
            version = header.get("format", 1)
            if version == FORMAT and any(header.get(word) is None for word in words):
                kind = "a checkpoint of fit" if "history" in header else "a saved model" if "model" in header else "damaged"
                raise ValueError(kind)
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not {what} ({error}); {remedy}") from None
    require(version == FORMAT, f"{path} was saved by another version of amrlib (format {version}, here {FORMAT}); {remedy}")
    return header, tensors
