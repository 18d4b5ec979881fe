"""The room an attacker has: how far pixels may move, in grey levels of 255, and the way back to 8 bits.

``"linf"``: no pixel of a picture by more than ε. ``"l2"``: ‖δ‖₂ ≤ ε over all pixels (and colours) of a picture."""

import torch
from torch import Tensor

FLOOR = 1e-30  # of a gradient's length: below, nothing moves


def direction(slope: Tensor, norm: str) -> Tensor:
    """Of all changes of size 1 of a picture the one that climbs most steeply: (B, C, H, W), zero where the slope is."""
    if norm == "linf":
        return slope.sign()
    length = _length(slope)
    return torch.where(length > FLOOR, slope / length.clamp_min(FLOOR), 0.0)


def into_bounds(x: Tensor, delta: Tensor, epsilon: float, norm: str) -> Tensor:
    """The nearest change within ε, and then as much of it as keeps x + δ from 0 to 255: (B, C, H, W). The second step only
    shortens entries, so the first still holds."""
    if norm == "linf":
        delta = delta.clamp(-epsilon, epsilon)
    else:
        delta = delta * (epsilon / _length(delta).clamp_min(FLOOR)).clamp_max(1)
    return (x + delta).clamp(0, 255) - x


def to_eight_bits(x: Tensor, delta: Tensor, epsilon: float, norm: str = "linf") -> Tensor:
    """x + δ rounded to whole grey levels, and not an atom further from x than ε: uint8 (B, C, H, W), for whole ``x``.

    ℓ∞: rounding to the nearest level, but no further than ⌊ε⌋. ℓ2: rounding may lengthen δ; then the entries that were
    rounded away from zero go one level back, the most generously rounded first, until ‖δ‖₂ ≤ ε."""
    if norm == "linf":  # whole numbers up to 510 are exact in any floating-point type
        return (x + delta.round().clamp_(-(epsilon // 1), epsilon // 1)).clamp_(0, 255).to(torch.uint8)
    whole = delta.double().round()
    flat, wanted = whole.flatten(1), delta.double().flatten(1)
    excess = flat.abs() - wanted.abs()  # (B, n)  above 0 where rounding went outwards
    order = excess.argsort(dim=1, descending=True, stable=True)
    size = flat.abs().gather(1, order)
    saved = torch.where(excess.gather(1, order) > 0, 2 * size - 1, 0.0)  # m² − (m − 1)²
    over = (flat.square().sum(1, keepdim=True) - epsilon**2).clamp_min(0)
    before = saved.cumsum(1) - saved  # what the entries before this one save
    back = torch.zeros_like(flat).scatter_(1, order, ((before < over) & (saved > 0)).double())
    whole = (flat - back * flat.sign()).view_as(whole)
    return (x.double() + whole).clamp(0, 255).to(torch.uint8)


def _length(delta: Tensor) -> Tensor:
    """(B, 1, 1, 1)  ‖·‖₂ of each picture."""
    return delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
