"""Where to compute."""

from __future__ import annotations

import torch

__all__ = ["resolve_device"]


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """``"auto"`` is the CUDA card where there is one, else the CPU; anything else is what torch understands.

    Raises
    ------
    ValueError
        A device torch does not know or that is not there; Apple's ``"mps"``, which has no float64.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        if resolved.type == "mps":
            raise RuntimeError("ranks and draws need float64, which it has not")
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} is not available here ({reason}); try device='auto'") from None
    return resolved
