"""Where a photograph of your own would stand in the lists, before and after a change that nobody sees."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_files import write_atomically
from ..datasets.dataset import Dataset
from ..datasets.open_pictures import open_picture
from ..features.pixels import PixelExtractor, pixel_extractor
from .attacks import attack_pictures, features_of, standing
from .measures import psnr, ssim


@dataclass(frozen=True)
class OwnPicture:
    """``before`` and ``after``: uint8 (H, W) or (H, W, 3), what the network is shown. ``ranks``, int64 (2, M): where the thing
    in the photograph would stand with each user, then and now; 0 is best."""

    before: np.ndarray
    after: np.ndarray
    ranks: np.ndarray
    psnr: float
    ssim: float

    def shown(self, k: int = 10) -> tuple[float, float]:
        """The share of users who are shown it among their first k, before and after."""
        before, after = (self.ranks < k).mean(1)
        return float(before), float(after)

    def save(self, path: str | Path) -> Path:
        """Write ``after`` as a PNG, which keeps every grey level; the path."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(self.after).save(file, "PNG")
        write_atomically(Path(path), file.getvalue())
        return Path(path)


def own_picture(
    model: Any, shop: Dataset, picture: Any, epsilon: float = 8, look: PixelExtractor | None = None, goal: str = "promote",
    steps: int = 10, k: int | None = None,
) -> OwnPicture:  # fmt: skip
    """Put a photograph up for sale in a shop, and change it by at most ε grey levels of 255 a pixel to be shown more often.

    ``picture`` is a file, or an RGB ``PIL.Image``; what the network is shown of it, ``look.prepare``, is what changes. The
    thing has no history: it is ranked as a cold item. ``look`` is the shop's small CNN when left out, and has to be the
    network that made the model's features. ``goal``, ``k`` and errors are those of
    ``amrlib.pixels.attack_pictures``; a file that is no picture raises what Pillow raises."""
    look = look or pixel_extractor("shop", "cpu")
    opened = open_picture(picture) if isinstance(picture, str | Path | bytes) else picture
    before = look.prepare(opened)[None]
    after = attack_pictures(model, shop, look, before, epsilon, goal, steps=steps, k=k, progress=False)
    ranks = [standing(model, shop, features_of(look, shop, p))[0] for p in (before, after)]
    return OwnPicture(before[0], after[0], np.stack(ranks), float(psnr(before, after)[0]), float(ssim(before, after)[0]))
