"""Models on disk: their tensors as safetensors, the rest as JSON in the header. Nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from ..atomic_files import write_atomically

__all__ = ["read_model", "write_model"]

FORMAT = 2  # 1 was amrlib 0.1's, without fingerprints
HEADER = ("model", "settings", "start", "fingerprint")


def write_model(path: str | Path, header: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write tensors and a header of plain JSON: whole, or not at all."""
    from safetensors.torch import save as to_bytes

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, to_bytes(plain, {"amrlib": json.dumps({"format": FORMAT, **header})}))


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a file of :func:`write_model`.

    Raises
    ------
    ValueError
        Not such a file, or one of another version.
    """
    from safetensors import SafetensorError, safe_open

    if Path(path).is_dir():
        raise ValueError(f"{path} is not a model saved by amrlib (it is a folder); write one with model.save")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["amrlib"])
            version = header.get("format", 1)
            if version == FORMAT and not all(header.get(word) is not None for word in HEADER):
                raise ValueError("a checkpoint of fit" if "history" in header else "its header is damaged")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is not a model saved by amrlib ({error}); write one with model.save") from None
    if version != FORMAT:
        raise ValueError(f"{path} was saved by another version of amrlib (format {version}, here {FORMAT}); train again")
    return header, tensors
