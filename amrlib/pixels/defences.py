"""Input defences: a shop that does something to every photograph before its network looks at it.

None of them is differentiable but the blur. An attacker who knows of one runs it forwards and pretends, backwards, that it
did nothing (the straight-through gradient, "BPDA" of Athalye, Carlini & Wagner 2018), or, for the blur, that it blurred."""

import copy
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import one_of, require
from ..features.pixels import PixelExtractor

DEFENCES = ("jpeg", "blur", "levels")
QUALITY, SIGMA, LEVELS = 50, 1.0, 8


def defended(look: PixelExtractor, defence: str) -> PixelExtractor:
    """``look`` behind a defence; gradients go through it as its docstring says, so an attack on it is adaptive.

    ``"jpeg"``: saved at quality 50 and opened again. ``"blur"``: a Gaussian window of σ = 1 pixel, 7×7, the border repeated.
    ``"levels"``: 8 grey levels instead of 256. An unknown word is a ValueError."""
    one_of(defence, "defence", DEFENCES)
    done: Callable[[Tensor], Tensor] = {"jpeg": _through(_jpeg), "blur": _blur, "levels": _through(_levels)}[defence]
    new = copy.copy(look)
    inner = look.__call__
    new.name = f"{look.name}, {defence}"
    mean, std = look._mean, look._std
    new.features = lambda x: inner(done(x * std.to(x) + mean.to(x)))
    return new


def _through(apply: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: x + (apply(x.detach()) - x.detach())


def _levels(x: Tensor) -> Tensor:
    return ((x * ((LEVELS - 1) / 255)).round()) * (255 / (LEVELS - 1))


def _jpeg(x: Tensor) -> Tensor:
    from PIL import Image

    pictures = x.round().clamp(0, 255).to(torch.uint8).cpu().numpy().transpose(0, 2, 3, 1)
    out = np.empty_like(pictures)
    for row, picture in enumerate(pictures):
        file = io.BytesIO()
        Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(file, "JPEG", quality=QUALITY)
        out[row] = np.asarray(Image.open(file)).reshape(picture.shape)
    return torch.from_numpy(out.transpose(0, 3, 1, 2).copy()).to(x)


def _blur(x: Tensor) -> Tensor:
    at = torch.arange(-3, 4, dtype=x.dtype, device=x.device)
    one = torch.exp(-(at**2) / (2 * SIGMA**2))
    window = (one[:, None] * one / one.sum() ** 2).expand(x.shape[1], 1, 7, 7)
    return F.conv2d(F.pad(x, (3, 3, 3, 3), mode="replicate"), window, groups=x.shape[1])


def prepared(images: Any, look: PixelExtractor, defence: str) -> np.ndarray:
    """What the network is shown of uint8 ``images`` (n, H, W): float64 grey levels, for pictures of pictures."""
    one_of(defence, "defence", DEFENCES)
    require(np.asarray(images).ndim == 3, "images must be (n, H, W)")
    x = torch.from_numpy(np.array(images))[:, None].double()
    return {"jpeg": _jpeg, "blur": _blur, "levels": _levels}[defence](x)[:, 0].numpy()
