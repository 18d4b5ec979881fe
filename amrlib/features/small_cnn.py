"""From pixels to features: the small CNN that ships with the book.

Three convolutions and a mean over the picture, about 68,000 parameters, trained on the 60,000 training images of
Fashion-MNIST, none of which is in the shop (``data/make_boutique.py cnn``). An item's features are the 128 activations
before the classifier, as the AMR paper takes ResNet-50's."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..checks import one_of, require, whole_number
from ..device import resolve_device
from ..progress import progress_bar
from ..shipped import read_shipped


class SmallCNN(nn.Module):
    """28×28 grey picture -> 128 features -> 10 classes, differentiable almost everywhere in the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 24, 5, stride=2, padding=2), nn.ReLU(),  # (B, 24, 14, 14)
            nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.ReLU(),  # (B, 48, 7, 7)
            nn.Conv2d(48, 128, 3, padding=1), nn.ReLU(),  # (B, 128, 7, 7)
        )  # fmt: skip
        self.classifier = nn.Linear(128, 10)

    def features(self, pixels: Tensor) -> Tensor:
        """(B, 1, 28, 28) in [0, 1] -> (B, 128), not negative: the mean activation over the picture."""
        return self.convolutions(pixels).mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 1, 28, 28) in [0, 1] -> (B, 10) logits."""
        return self.classifier(self.features(pixels))


def to_tensor(images: Any, device: str | torch.device = "cpu") -> Tensor:
    """Pictures as the CNN takes them, float32 (N, 1, 28, 28) in [0, 1], from ``images``: uint8, 0 … 255, or floats in [0, 1],
    (N, 28, 28) or (N, 1, 28, 28). Another shape or type, and floats outside [0, 1] (not divided by 255) are a ValueError."""
    # a copy, since torch has no read-only tensors and a data set's arrays are read-only
    pixels = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    fits = pixels.ndim == 4 and pixels.shape[1:] == (1, 28, 28)
    require(fits, f"images must have shape (N, 28, 28), not {tuple(pixels.shape)}; resize to 28×28 grey pixels")
    if pixels.dtype == torch.uint8:
        return pixels.to(device).float() / 255
    require(pixels.is_floating_point(), f"images must be uint8 (0 … 255) or floats in [0, 1], not {pixels.dtype}")
    pixels = pixels.to(device, torch.float32)
    within = ((pixels >= 0) & (pixels <= 1)).all()  # no NaN either
    require(within, "images as floats must lie in [0, 1]; divide pixels by 255, or pass uint8")
    return pixels


def load_cnn(device: str | torch.device = "cpu", weights: str = "cnn") -> SmallCNN:
    """The shipped CNN in evaluation mode, its weights fixed. ``weights="cnn_other"`` are those of another seed,
    ``"cnn_robust"`` those of adversarial training; the shop's features are of neither. A FileNotFoundError when they are
    missing, a ValueError when they are damaged, or the word or the device is unknown."""
    one_of(weights, "weights", ("cnn", "cnn_other", "cnn_robust"))
    cnn = SmallCNN()
    cnn.load_state_dict({name: torch.tensor(value) for name, value in read_shipped(f"{weights}.npz").items()})
    return cnn.requires_grad_(False).eval().to(resolve_device(device))


@torch.no_grad()
def extract_features(
    images: Any, cnn: SmallCNN | None = None, device: str | torch.device = "auto", batch_size: int = 512, progress: bool = True
) -> np.ndarray:
    """The CNN's activations for many pictures, float32 (N, 128); the boutique's features are these over ``shop.feature_scale``.
    ``images`` and errors are as in :func:`to_tensor`. ``cnn``, the shipped one when left out, is moved to ``device``. Memory
    grows with ``batch_size``, 1 or more pictures at once; the result does not depend on it."""
    batch_size, target = whole_number(batch_size, "batch_size", 1), resolve_device(device)
    cnn = load_cnn(target) if cnn is None else cnn.to(target)
    parts = [np.empty((0, 128), dtype=np.float32)]
    for start in progress_bar(range(0, len(images), batch_size), "features", progress):
        parts.append(cnn.features(to_tensor(images[start : start + batch_size], target)).cpu().numpy())
    return np.concatenate(parts)
