"""One face for every network: pictures with values from 0 to 255 in, features out, and the way back to the pixels.

>>> look = pixel_extractor("shop")
>>> c = look.extract(shop.images) / shop.feature_scale          # (N, D), the shop's features
>>> slope = look.pull(shop.images, gamma)                       # (N, 1, 28, 28)  ∂(Γ_iᵀ f(x_i)) / ∂x_i

An item's features depend on its own picture alone, so the gradient of any loss with respect to all pictures needs one
backward pass of each batch through the network, once Γ_i = ∂L/∂f(x_i) is known."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ..checks import one_of, require, whole_number
from ..device import resolve_device
from ..progress import progress_bar
from . import efficientnet, small_cnn
from .prepare import as_in_the_shop, square
from .torchvision_networks import published

PIXEL_NETWORKS = ("shop", "shop_other", "shop_robust", "efficientnet_lite0", "resnet50", "alexnet")


class PixelExtractor:
    """A fixed network f, and what it wants to be given. Its ``pull`` is the last factor of :eq:`eq-pixel-gradient`.

    Parameters
    ----------
    features : function
        (B, C, H, W) as the network was trained on -> (B, D), differentiable.
    shape : (C, H, W), of the pictures it looks at
    dim : D
    mean, std : of the pixels from 0 to 255, one number a channel; (x − mean)/std is what ``features`` sees
    prepare : of one RGB ``PIL.Image``, uint8 (H, W), or (H, W, 3) in colour: what the network is shown of it
    network : the module behind ``features``, to be moved and cast
    batch_size : pictures that it looks at together: memory grows with it, results do not change
    """

    def __init__(
        self, name: str, features: Callable[[Tensor], Tensor], shape: tuple[int, int, int], dim: int,
        mean: Any, std: Any, prepare: Callable[[Any], np.ndarray], network: nn.Module, batch_size: int,
    ) -> None:  # fmt: skip
        self.name, self.features, self.shape, self.dim = name, features, shape, dim
        self.prepare, self.network, self.batch_size = prepare, network, whole_number(batch_size, "batch_size", 1)
        like = next(network.parameters())
        # in float64: 127/255 is no float32
        self._mean, self._std = (torch.as_tensor(v, dtype=torch.float64).reshape(-1, 1, 1) for v in (mean, std))
        self.device, self.dtype = like.device, like.dtype

    def double(self) -> Self:
        """The same in float64, for proofs; in place, and returned."""
        self.network.double()
        self.dtype = torch.float64
        return self

    def pixels(self, images: Any) -> Tensor:
        """Pictures (N, H, W) or (N, H, W, 3), uint8 or floats from 0 to 255, or a tensor (N, C, H, W), as (N, C, H, W) in the
        network's number type. Another shape is a ValueError; so are values outside [0, 255] where they are floats."""
        given = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
        C, H, W = self.shape
        if given.ndim == 3 and C == 1:
            given = given[:, None]
        elif given.ndim == 4 and given.shape[1:] == (H, W, C):
            given = given.permute(0, 3, 1, 2)
        fits = given.ndim == 4 and given.shape[1:] == (C, H, W)
        require(fits, f"images must be (N, {H}, {W}{', 3' if C == 3 else ''}) for {self.name}, not {tuple(given.shape)}; "
                      "its prepare makes that of a picture")  # fmt: skip
        if given.dtype != torch.uint8:
            require(given.is_floating_point(), f"images must be uint8 or floats, not {given.dtype}")
            within = len(given) == 0 or bool(((given >= 0) & (given <= 255)).all())  # no NaN either
            require(within, "images must lie in [0, 255]; multiply floats of [0, 1] by 255")
        return given.to(self.device, self.dtype)

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) from 0 to 255, not checked, -> (B, D). Differentiable."""
        return self.features((pixels - self._mean.to(pixels)) / self._std.to(pixels))

    @torch.no_grad()
    def extract(self, images: Any, progress: bool = False) -> Tensor:
        """The features of many pictures, (N, D); ``images`` as in :meth:`pixels`."""
        out = torch.empty(len(images), self.dim, dtype=self.dtype, device=self.device)
        for rows in self.batches(len(images), "features", progress):
            out[rows] = self(self.pixels(images[rows]))
        return out

    def pull(self, images: Any, gamma: Tensor, progress: bool = False) -> Tensor:
        """The way back: ∂(Σ_i Γ_iᵀ f(x_i))/∂x, (N, C, H, W) a grey level, for ``gamma`` (N, D). One forward and one backward
        pass of each batch. ``images`` as in :meth:`pixels`."""
        require(gamma.shape == (len(images), self.dim), f"gamma must be ({len(images)}, {self.dim}), not {tuple(gamma.shape)}")
        out = torch.empty(len(images), *self.shape, dtype=self.dtype, device=self.device)
        for rows in self.batches(len(images), "gradient", progress):
            out[rows] = self.slope(self.pixels(images[rows]), gamma[rows])
        return out

    def slope(self, pixels: Tensor, gamma: Tensor) -> Tensor:
        """:meth:`pull` of one batch, (B, C, H, W)."""
        with torch.enable_grad():
            x = pixels.detach().requires_grad_()
            return torch.autograd.grad((self(x) * gamma.to(x)).sum(), x)[0]

    def batches(self, n: int, what: str, progress: bool) -> Any:
        """Slices of ``batch_size`` rows, under a bar."""
        slices = [slice(start, min(start + self.batch_size, n)) for start in range(0, n, self.batch_size)]
        return progress_bar(slices, what, progress)


def pixel_extractor(name: str = "shop", device: str | torch.device = "auto", batch_size: int | None = None) -> PixelExtractor:
    """A network by its name.

    Parameters
    ----------
    name : one of ``PIXEL_NETWORKS``
        ``"shop"`` made the boutique's features; ``"shop_other"`` is the same network trained with another seed,
        ``"shop_robust"`` adversarially (8/255); ``"efficientnet_lite0"`` needs its weights, the last two torchvision.
    batch_size : int, optional
        128 pictures for the small CNNs, 16 for the others.

    Raises
    ------
    ValueError
        An unknown name or device; a package or weights missing, with the command that installs them.
    """
    one_of(name, "name", PIXEL_NETWORKS)
    target = resolve_device(device)
    size = batch_size or (128 if name.startswith("shop") else 16)  # so many fit a cache
    if name.startswith("shop"):
        cnn = small_cnn.load_cnn(target, "cnn" + name.removeprefix("shop"))
        return PixelExtractor(name, cnn.features, (1, 28, 28), 128, [0.0], [255.0], as_in_the_shop, cnn, size)
    if name == "efficientnet_lite0":
        lite0 = efficientnet.load_efficientnet_lite0(target)
        return PixelExtractor(name, lite0.features, (3, 224, 224), 1280, [127.0] * 3, [128.0] * 3, _for_lite0, lite0, size)
    net, transforms, dim = published(name, target)
    side = transforms.crop_size[0]
    mean, std = ([255 * v for v in values] for values in (transforms.mean, transforms.std))

    def prepare(picture: Any) -> np.ndarray:  # torchvision's own, as far as it is in 8 bits
        from torchvision.transforms import functional as TF

        size, how = transforms.resize_size, {"interpolation": transforms.interpolation, "antialias": transforms.antialias}
        small = TF.resize(picture, size, **how)
        return np.asarray(TF.center_crop(small, transforms.crop_size))

    return PixelExtractor(name, net, (3, side, side), dim, mean, std, prepare, net, size)


def _for_lite0(picture: Any) -> np.ndarray:
    return np.asarray(efficientnet.resized(square(picture)[0]))
