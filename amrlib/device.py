"""Where tensors live, and how many cores there are."""

import os

import torch


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """``"auto"`` is a CUDA card where there is one and the CPU otherwise; anything else is what torch understands. A ValueError
    for a device that it does not know, that is not there, or that has no float64, in which negatives are drawn (``"mps"``)."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, dtype=torch.float64, device=resolved)
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        raise ValueError(f"device '{device}' is not available here ({str(error).splitlines()[0]}); try device='auto'") from None
    return resolved


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
