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
from ..features.small_cnn import extract_features, load_cnn

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
    return _of_torchvision(network, target)


def _of_torchvision(network: str, target: torch.device) -> Extractor:
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:  # the second: one that was built for another torch
        raise ValueError(
            f"network={network!r} needs a torchvision that fits this torch ({error}): pip install torchvision, "
            "or take network='shop'"
        ) from None
    weights = (models.ResNet50_Weights if network == "resnet50" else models.AlexNet_Weights).DEFAULT
    model = getattr(models, network)(weights=None)
    # not by weights=: torchvision 0.29 would unpickle whatever the file holds
    model.load_state_dict(weights.get_state_dict(progress=True, check_hash=True, weights_only=True))
    if network == "resnet50":
        model.fc = torch.nn.Identity()  # (B, 2048), as the AMR paper
    else:
        model.classifier = model.classifier[:-1]  # (B, 4096), fc7 as VBPR
    model = model.eval().requires_grad_(False).to(target)
    return Extractor(weights.transforms(), lambda pixels: model(torch.stack(pixels).to(target)))


def square(picture: Any) -> tuple[Any, Any]:
    """The picture in the middle of a square of its border's colour, so that nothing is cut off; and that colour."""
    from PIL import Image

    pixels = np.asarray(picture)  # (H, W) or (H, W, 3)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    colour = tuple(np.median(edge.reshape(len(edge), -1), axis=0).astype(int).tolist())
    side = max(picture.size)
    larger = Image.new(picture.mode, (side, side), colour if len(colour) > 1 else colour[0])
    larger.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return larger, colour


def as_in_the_shop(picture: Any) -> np.ndarray:
    """uint8 (28, 28): a bright thing on black, as the shop's pictures are; product photographs are often on white."""
    from PIL import Image

    larger, (border,) = square(picture.convert("L"))
    small = np.asarray(larger.resize((28, 28), Image.Resampling.LANCZOS))
    return 255 - small if border > 127 else small
