"""What a network is shown of a picture that has another shape."""

from typing import Any

import numpy as np


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
