"""Values between the grader and a submission's process: JSON, arrays as bytes. Nothing is unpickled or evaluated.

The file is used on both sides, and stands alone: inside the sandbox there is no package ``classroom``.
"""

import base64
import math
import numbers
from typing import Any

import numpy as np

DTYPES = {"?", *(f"<{kind}{size}" for kind in "iu" for size in (2, 4, 8)), "|i1", "|u1", "|b1", "<f2", "<f4", "<f8"}
MOST_BYTES = 16 << 20
DEEPEST = 8


class Tensor:
    """An array that arrives as a torch tensor."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = np.asarray(array)


def encode(value: Any, depth: int = 0) -> Any:
    """``value`` as what JSON can hold; TypeError with its type if it is none of the kinds that can travel."""
    if depth > DEEPEST:
        raise TypeError(f"a value nested deeper than {DEEPEST}")
    if value is ...:
        return None
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic) or (isinstance(value, numbers.Real) and not isinstance(value, int | float)):
        value = value.item() if isinstance(value, np.generic) else float(value)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"number": str(value)}
    if isinstance(value, tuple | list):
        return {"tuple" if isinstance(value, tuple) else "list": [encode(part, depth + 1) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items()]}
    tensor = isinstance(value, Tensor) or hasattr(value, "detach")
    if isinstance(value, Tensor):
        value = value.array
    elif tensor:
        value = value.detach().cpu().numpy()
    if not isinstance(value, np.ndarray):
        raise TypeError(f"a {type(value).__name__}, where numbers, text, arrays, tensors, lists, tuples or dicts can be graded")
    if value.dtype.str not in DTYPES:
        raise TypeError(f"an array of {value.dtype}, where numbers can be graded")
    if value.nbytes > MOST_BYTES:
        raise TypeError(f"an array of {value.nbytes:,} bytes, more than {MOST_BYTES:,}")
    content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
    return {"tensor" if tensor else "array": content, "dtype": value.dtype.str, "shape": list(value.shape)}


def decode(value: Any, tensors: bool = False) -> Any:
    """The value again; ValueError if it is no such message. A tensor becomes one only with ``tensors``, else an array."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if not isinstance(value, dict):
        raise ValueError("not a message")
    if "number" in value:
        return float(value["number"])
    if "tuple" in value:
        return tuple(decode(part, tensors) for part in value["tuple"])
    if "list" in value:
        return [decode(part, tensors) for part in value["list"]]
    if "dict" in value:
        return {decode(k, tensors): decode(v, tensors) for k, v in value["dict"]}
    kind = "tensor" if "tensor" in value else "array"
    if value.get("dtype") not in DTYPES or kind not in value:
        raise ValueError("not a message")
    content = base64.b64decode(value[kind], validate=True)
    array = np.frombuffer(content, dtype=value["dtype"]).reshape([int(n) for n in value["shape"]]).copy()
    if kind == "tensor" and tensors:
        import torch

        return torch.from_numpy(array)
    return array
