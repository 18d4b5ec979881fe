"""A picture file as a person sees it: upright, in 8 bits and RGB, its first image if it moves, on white."""

import io
from pathlib import Path
from typing import Any

import numpy as np

NOISE = 2  # levels that JPEG may put around one colour


def open_picture(file: str | Path | bytes) -> Any:
    """The picture of a path, or of a file's bytes, as an RGB ``PIL.Image``.

    Raises
    ------
    ValueError, OSError
        Pixels of 32 bits, of which nobody says what is white; whatever Pillow raises.
    """
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as opened:
        picture: Any = ImageOps.exif_transpose(opened)
        deep = picture.mode.startswith("I;16") or (picture.mode == "I" and opened.format == "PNG")
        if deep:  # Pillow would clip at 255
            return _in_eight_bits(picture, opened.info.get("transparency"))
        if picture.mode in ("I", "F"):
            raise ValueError("its pixels have 32 bits, and nobody says what is white; save it with 8 or 16")
        if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return picture.convert("RGB")


def _in_eight_bits(picture: Any, transparent: Any) -> Any:
    from PIL import Image

    pixels = np.asarray(picture).astype(np.int64)  # 0 … 65535
    grey = np.rint(pixels / 257).astype(np.uint8)
    if isinstance(transparent, int):  # one grey that is see-through
        grey[pixels == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def is_one_colour(picture: Any) -> bool:
    """Whether nothing can be seen in an RGB picture."""
    return all(high - low <= NOISE for low, high in picture.getextrema())
