"""torchvision's ResNet-50 and AlexNet without their last layer: 2,048 features as the AMR paper, 4,096 as VBPR (fc7)."""

from typing import Any

import torch
from torch import nn


def published(network: str, target: torch.device) -> tuple[nn.Module, Any, int]:
    """``"resnet50"`` or ``"alexnet"`` with its published weights, fixed, in evaluation mode; the weights' own transforms of a
    picture; and D. The weights are downloaded at the first use. A ValueError when torchvision is missing."""
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
        model.fc = nn.Identity()
    else:
        model.classifier = model.classifier[:-1]
    return model.eval().requires_grad_(False).to(target), weights.transforms(), 2048 if network == "resnet50" else 4096
