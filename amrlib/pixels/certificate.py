"""How far a change of the pixels can move the small CNN's features, for certain: a Lipschitz bound, and an interval bound.

f(x) is the mean over 49 places of ReLU(W₃ ReLU(W₂ ReLU(W₁ x))). ReLU brings no two vectors further apart, and the mean of 49
places is at most 1/7 as long as all of them, so

    ‖f(x') − f(x)‖₂ ≤ ‖W₁‖ ‖W₂‖ ‖W₃‖ / 7 · ‖x' − x‖₂                                        (for every x)

with the norms of the three convolutions as the matrices that they are. A change of ε a pixel has ‖x' − x‖₂ ≤ 28 ε. The second
bound follows the smallest and the largest value that every activation of one picture can take (interval arithmetic)."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import eigh

from ..checks import number, require
from ..features.pixels import PixelExtractor
from ..features.small_cnn import SmallCNN


def layer_norms(cnn: SmallCNN) -> list[float]:
    """‖W‖₂ of the three convolutions, each as the matrix that takes one picture's numbers to the next: from above, to
    rounding (1e-9 is added)."""
    norms: list[float] = []
    shape: tuple[int, ...] = (1, 28, 28)
    for layer in cnn.convolutions:
        if not isinstance(layer, torch.nn.Conv2d):
            continue
        n = int(np.prod(shape))
        weight = layer.weight.double()
        with torch.no_grad():
            W = F.conv2d(torch.eye(n, dtype=torch.float64).view(n, *shape), weight, None, layer.stride, layer.padding)
        shape = tuple(W.shape[1:])
        W = W.flatten(1)  # (n, n'), the transpose
        gram = W @ W.T if len(W) <= W.shape[1] else W.T @ W
        last = len(gram) - 1  # eigenvalues ascend
        (largest,) = eigh(gram.numpy(), eigvals_only=True, subset_by_index=[last, last])
        norms.append(float(np.sqrt(max(largest, 0.0))) * (1 + 1e-9))
    return norms


def lipschitz_bound(look: PixelExtractor) -> float:
    """L with ‖f(x') − f(x)‖₂ ≤ L ‖x' − x‖₂ for all pictures, x in grey levels from 0 to 255. ``look`` is one of the small
    CNNs, otherwise a ValueError. Implements :eq:`eq-pixel-lipschitz`."""
    cnn = _small(look)
    return float(np.prod(layer_norms(cnn)) / 7 / 255)


@torch.no_grad()
def feature_bound(look: PixelExtractor, images: Any, epsilon: float) -> np.ndarray:
    """For each of uint8 ``images`` (n, 28, 28) a bound on ‖f(x') − f(x)‖₂ over all pictures x' whose pixels are within ε grey
    levels of x's and from 0 to 255: float64 (n,), by interval arithmetic in float64."""
    cnn, epsilon, bounds = _small(look), number(epsilon, "epsilon"), []
    for rows in look.batches(len(images), "", False):
        x = torch.from_numpy(np.array(images[rows]))[:, None].double()
        low, high, at = (v / 255 for v in ((x - epsilon).clamp_min(0), (x + epsilon).clamp_max(255), x))
        for layer in cnn.convolutions:
            if isinstance(layer, torch.nn.Conv2d):
                W, b = layer.weight.double().cpu(), layer.bias.double().cpu() if layer.bias is not None else None
                middle, radius = (low + high) / 2, (high - low) / 2
                middle = F.conv2d(middle, W, b, layer.stride, layer.padding)
                radius = F.conv2d(radius, W.abs(), None, layer.stride, layer.padding)
                low, high, at = middle - radius, middle + radius, F.conv2d(at, W, b, layer.stride, layer.padding)
            else:
                low, high, at = low.relu(), high.relu(), at.relu()
        low, high, at = (v.mean((2, 3)) for v in (low, high, at))  # (B, 128)
        bounds.append(torch.maximum(high - at, at - low).norm(dim=1))
    return torch.cat([torch.zeros(0, dtype=torch.float64), *bounds]).numpy()


def _small(look: PixelExtractor) -> SmallCNN:
    network: Any = look.network
    require(isinstance(network, SmallCNN), f"the bound is of the small CNN; {look.name} is another network")
    return network
