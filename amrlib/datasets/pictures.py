"""A folder of pictures, and what a network makes of each; kept in the cache until a picture changes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_files import write_atomically
from ..progress import progress_bar
from .download import cache_folder
from .extractors import NETWORKS, as_in_the_shop, extractor

__all__ = ["PICTURES", "features_of_pictures", "open_picture"]

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def features_of_pictures(
    folder: str | Path,
    network: str | Callable[[list[Any]], Any] = "shop",
    device: str = "auto",
    batch_size: int = 64,
    cache: str | Path | None = None,
    progress: bool = True,
) -> tuple[list[str], np.ndarray, np.ndarray | None, list[str]]:
    """What a CNN makes of every picture in a folder; kept in the cache until a picture changes.

    Parameters
    ----------
    network : ``"shop"``, ``"efficientnet_lite0"``, ``"resnet50"``, ``"alexnet"``, or a function
        The CNN that ships with the book (128-d, sees 28×28 grey pixels: good for trying out); EfficientNet-Lite0
        (1280-d, colour, :mod:`amrlib.features.efficientnet`), whose weights are a package to install; torchvision's
        two, where it is installed (2048-d before the classifier, 4096-d fc7; it fetches their weights at the first
        use: where the book is made there is no way to them, so the tests draw random ones); or your own, which takes
        a list of RGB ``PIL.Image`` and gives (n, D). Results of a function are not cached.
    batch_size : int
        Pictures in memory at once.
    cache : folder, optional
        Instead of ``own`` in the usual cache folder.

    Returns
    -------
    names : list of str, the pictures' names without their endings
    features : float32, shape (n, D)
    seen : uint8, shape (n, 28, 28), or None
        The pixels the shop's CNN was shown.
    notes : list of str, what was found odd

    Raises
    ------
    ValueError
        No readable picture; an unknown network, or its package missing, with the command that installs it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"images: there is no folder {folder}")
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}")
    if not callable(network) and network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(map(repr, NETWORKS))} or a function, not {network!r}")
    files, notes = _pictures_in(folder)
    place: Path | None = None
    if not callable(network):
        place = Path(cache or cache_folder() / "own") / f"{network}-{_key_of(files.values(), network, folder)}.npz"
        cached = _cached_features(place)
        if cached is not None:
            return cached["names"].tolist(), cached["features"], cached.get("seen"), notes + cached["notes"].tolist()
    extract = network if callable(network) else extractor(network, device)
    names, features, pixels, unreadable = _extracted(files, extract, network == "shop", batch_size, progress)
    if not names:
        raise ValueError(f"images: none of the {len(files)} pictures in {folder} can be read: {unreadable[0]}")
    if place is not None:
        arrays: dict[str, Any] = {"names": np.array(names), "features": features, "notes": np.array(unreadable, dtype=str)}
        if pixels is not None:
            arrays["seen"] = pixels
        packed = io.BytesIO()
        np.savez(packed, **arrays)
        write_atomically(place, packed.getvalue())
    return names, features, pixels, notes + unreadable


def _pictures_in(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Name without ending → path, in the order of the names; and notes."""
    files: dict[str, Path] = {}
    notes = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES and path.is_file():
            if path.stem in files:
                notes.append(f"{path.name}: {files[path.stem].name} is the picture of that item already, left out")
            files.setdefault(path.stem, path)
    if not files:
        raise ValueError(f"images: no picture in {folder}; looked for names that end in {', '.join(PICTURES)}")
    return files, notes


def _key_of(paths: Iterable[Path], network: str, folder: Path) -> str:
    """All that the features depend on, by names, sizes and dates: no picture is opened for it."""
    stats = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    return hashlib.sha256(repr((1, network, str(folder.resolve()), stats)).encode()).hexdigest()[:24]


def _extracted(
    files: dict[str, Path], extract: Callable[[list[Any]], Any], as_shop: bool, batch_size: int, progress: bool
) -> tuple[list[str], np.ndarray, np.ndarray | None, list[str]]:
    """Names, features (n, D), the shop's pixels (n, 28, 28) if asked for, and notes, of the pictures that can be read."""
    names, parts, seen, unreadable = [], [], [], []
    batches = [list(files.items())[n : n + batch_size] for n in range(0, len(files), batch_size)]
    for batch in progress_bar(batches, "features", progress):
        pictures: list[Any] = []
        for stem, path in batch:
            try:
                pictures.append(open_picture(path))
                names.append(stem)
            except Exception as error:  # Pillow has many, and a picture from the web may raise any
                unreadable.append(f"{path.name} cannot be read as a picture ({type(error).__name__}), left out")
        if not pictures:
            continue
        if as_shop:
            pictures = [as_in_the_shop(picture) for picture in pictures]
            seen += pictures
        out = extract(pictures)
        parts.append(np.asarray(out.cpu() if hasattr(out, "cpu") else out, dtype=np.float32))
        if parts[-1].ndim != 2 or len(parts[-1]) != len(pictures):
            raise ValueError(f"network gave {parts[-1].shape} for {len(pictures)} pictures, not ({len(pictures)}, D)")
    features = np.concatenate(parts) if parts else np.empty((0, 0), dtype=np.float32)
    return names, features, np.stack(seen) if seen else None, unreadable


def open_picture(path: Path) -> Any:
    """The picture upright, in RGB, a transparent one on white."""
    from PIL import Image, ImageOps

    with Image.open(path) as file:
        picture: Any = ImageOps.exif_transpose(file)
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        return picture.convert("RGB")


def _cached_features(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception:  # absent, or damaged: made anew
        return None
    if not {"names", "features", "notes"} <= set(arrays) or len(arrays["names"]) != len(arrays["features"]):
        return None
    return arrays
