"""Networks by name, as functions from pictures to features.

>>> extract = extractor("efficientnet_lite0", "cpu")
>>> extract([PIL.Image.open("hat.png").convert("RGB")]).shape
torch.Size([1, 1280])
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..device import resolve_device
from ..features import efficientnet
from ..features.prepare import as_in_the_shop, square
from ..features.small_cnn import extract_features, load_cnn
from ..features.torchvision_networks import published

__all__ = ["NETWORKS", "Extractor", "as_in_the_shop", "extractor", "square"]

NETWORKS = ("shop", "efficientnet_lite0", "resnet50", "alexnet")


@dataclass(frozen=True)
class Extractor:
    """A network and what it wants to be given, so that pictures can be made small one by one and looked at together."""

    prepare: Callable[[Any], Any]  # of one RGB PIL.Image, on any thread
    run: Callable[[list[Any]], Any]  # features (n, D) of what prepare gave, an array or a tensor

    def __call__(self, pictures: list[Any]) -> Any:
        return self.run([self.prepare(picture) for picture in pictures])


def extractor(network: str, device: str | torch.device = "auto") -> Extractor:
    """A function that takes RGB ``PIL.Image`` and gives their features, an array or a tensor (n, D).

    Parameters
    ----------
    network : one of ``NETWORKS``

    Raises
    ------
    ValueError
        The network's package or weights are missing, with the command that installs them; an unknown device.
    """
    target = resolve_device(device)
    if network == "shop":
        cnn = load_cnn(target)
        return Extractor(as_in_the_shop, lambda pixels: extract_features(np.stack(pixels), cnn, target, progress=False))
    if network == "efficientnet_lite0":
        lite0 = efficientnet.load_efficientnet_lite0(target)
        return Extractor(
            lambda picture: efficientnet.as_pixels(square(picture)[0]),
            lambda pixels: lite0.features(torch.stack(pixels).to(target)),
        )
    model, transforms, _ = published(network, target)
    return Extractor(transforms, lambda pixels: model(torch.stack(pixels).to(target)))
