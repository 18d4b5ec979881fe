"""A folder of pictures, and what a network makes of each; kept in the cache until a picture changes."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_files import write_atomically
from ..device import cores
from ..progress import progress_bar
from .download import cache_folder
from .extractors import NETWORKS, Extractor, extractor
from .open_pictures import is_one_colour, open_picture
from .picture_files import PICTURES, by_name, pictures_in

PART = 1 << 10  # pictures in one file of the cache: what an interrupted call may lose
MANY = 100  # so many pictures alike are noted

Found = tuple[list[Any], np.ndarray, np.ndarray | None, list[str]]  # names, features, what the shop's CNN saw, notes


def features_of_pictures(
    folder: str | Path,
    network: str | Callable[[list[Any]], Any] = "shop",
    device: str = "auto",
    batch_size: int = 64,
    cache: str | Path | None = None,
    progress: bool = True,
) -> Found:
    """What a CNN makes of every picture in a folder; kept in the cache until a picture changes.

    Parameters
    ----------
    folder : path
        Its subfolders are looked into as well.
    network : ``"shop"``, ``"efficientnet_lite0"``, ``"resnet50"``, ``"alexnet"``, or a function
        The CNN that ships with the book (128-d, sees 28×28 grey pixels: good for trying out); EfficientNet-Lite0
        (1280-d, colour, :mod:`amrlib.features.efficientnet`), whose weights are a package to install; torchvision's
        two, where it is installed (2048-d before the classifier, 4096-d fc7; it fetches their weights at the first
        use: where the book is made there is no way to them, so the tests draw random ones); or your own, which takes
        a list of RGB ``PIL.Image`` and gives (n, D). Results of a function are not cached.
    batch_size : int
        Pictures that the network looks at together. They are opened on all cores; memory holds two batches of what the
        network wants to see of them, and the features.
    cache : folder, optional
        Instead of ``own`` in the usual cache folder. A call that was interrupted goes on from there.

    Returns
    -------
    names : list of str, the pictures' names without their endings, their letters composed
    features : float32, shape (n, D)
    seen : uint8, shape (n, 28, 28), or None
        The pixels the shop's CNN was shown.
    notes : list of str, what was found odd

    Raises
    ------
    ValueError
        No readable picture; an unknown network, or its package missing, with the command that installs it.
    """
    notes: list[str] = []
    check_network(network, batch_size)  # before the folder is gone through
    files = by_name(pictures_in(Path(folder)), notes)
    names, features, seen, found = features_of_files(Path(folder), files, network, device, batch_size, cache, progress)
    return names, features, seen, notes + found


def check_network(network: str | Callable[[list[Any]], Any], batch_size: int) -> None:
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1, not {batch_size!r}")
    if not callable(network) and network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(map(repr, NETWORKS))} or a function, not {network!r}")


def features_of_files(
    folder: Path,
    files: Mapping[Any, Path],
    network: str | Callable[[list[Any]], Any],
    device: str,
    batch_size: int,
    cache: str | Path | None,
    progress: bool,
) -> Found:
    """As :func:`features_of_pictures`, of named ``files`` within ``folder``: the names are those of the mapping."""
    place = None if callable(network) else Path(cache or cache_folder() / "own")
    extract: Any = Extractor(lambda picture: picture, network) if callable(network) else None
    paths = list(files.values())
    out: np.ndarray | None = None
    seen = np.empty((len(paths), 28, 28), dtype=np.uint8) if network == "shop" else None
    readable = np.zeros(len(paths), dtype=bool)
    marks, plain, unreadable = [], [], []
    with progress_bar(None, "features", progress, total=len(paths)) as bar:
        for start in range(0, len(paths), PART):
            part = paths[start : start + PART]
            kept = None if place is None else place / f"{network}-{_key_of(part, str(network), folder)}.npz"
            arrays = None if kept is None else _cached_part(kept, len(part))
            if arrays is None:
                extract = extract or extractor(str(network), device)
                arrays = _extracted(folder, part, extract, network == "shop", place is not None, batch_size, bar)
                if kept is not None:
                    packed = io.BytesIO()
                    np.savez(packed, **arrays)
                    write_atomically(kept, packed.getvalue())
            else:
                bar.update(len(part))
            rows = start + np.flatnonzero(arrays["readable"])
            readable[rows] = True
            if len(rows):
                if out is None:
                    out = np.empty((len(paths), arrays["features"].shape[1]), dtype=np.float32)
                out[rows] = arrays["features"]
                if seen is not None:
                    seen[rows] = arrays["seen"]
            unreadable += arrays["notes"].tolist()
            marks += arrays["marks"].tolist()
            plain += [path for path, flag in zip(part, arrays["plain"]) if flag]
    if out is None:
        raise ValueError(f"images: none of the {len(paths)} pictures in {folder} can be read: {unreadable[0]}")
    names = [name for name, fine in zip(files, readable) if fine]
    whole = readable.all()
    return (names, out if whole else out[readable], seen if seen is None or whole else seen[readable],
            unreadable + _odd_ones(paths, marks, plain))  # fmt: skip


def _odd_ones(paths: list[Path], marks: list[str], plain: list[Path]) -> list[str]:
    """Notes on pictures in which there is nothing to see, or the same as in many others."""
    notes = []
    if plain:
        notes.append(f"{len(plain):,} pictures are of one colour ({plain[0].as_posix()} first): nothing can be seen in them")
    counts = Counter(mark for mark in marks if mark)
    for mark, n in counts.most_common(3):
        if n > min(MANY, max(2, len(paths) // 10)):
            notes.append(f"{n:,} pictures are one and the same file ({paths[marks.index(mark)].as_posix()} first): a "
                         "stand-in for missing ones?")
    return notes


def _key_of(paths: Sequence[Path], network: str, folder: Path) -> str:
    """All that the features depend on, by names, sizes and dates: no picture is opened for it."""
    found = [folder / path if (folder / path).exists() else None for path in paths]  # None: a link to what is gone
    stats = [(p.as_posix(), f and f.stat().st_size, f and f.stat().st_mtime_ns) for p, f in zip(paths, found)]
    return hashlib.sha256(repr((2, network, str(folder.resolve()), stats)).encode()).hexdigest()[:24]


def _extracted(
    folder: Path, paths: Sequence[Path], extract: Extractor, as_shop: bool, ahead: bool, batch_size: int, bar: Any
) -> dict[str, Any]:
    """``readable``, ``plain``, ``marks`` (n,) of all, ``features`` and ``seen`` of those that can be read, and ``notes``."""
    features, seen, notes = [], [], []
    readable, plain, marks = np.zeros(len(paths), dtype=bool), np.zeros(len(paths), dtype=bool), [""] * len(paths)
    for batch in _opened(folder, paths, extract, batch_size, ahead):
        prepared = []
        for n, (content, one_colour, mark, fault) in batch:
            if fault:
                notes.append(fault)
                continue
            readable[n], plain[n], marks[n] = True, one_colour, mark
            prepared.append(content)
        bar.update(len(batch))
        if not prepared:
            continue
        out = extract.run(prepared)
        features.append(np.asarray(out.cpu() if hasattr(out, "cpu") else out, dtype=np.float32))
        if features[-1].ndim != 2 or len(features[-1]) != len(prepared):
            raise ValueError(f"network gave {features[-1].shape} for {len(prepared)} pictures, not ({len(prepared)}, D)")
        seen += prepared if as_shop else []
    arrays: dict[str, Any] = {"readable": readable, "plain": plain}
    arrays |= {"marks": np.array(marks, dtype=str), "notes": np.array(notes, dtype=str)}
    arrays["features"] = np.concatenate(features) if features else np.empty((0, 0), dtype=np.float32)
    return arrays | ({"seen": np.stack(seen)} if seen else {})


def _opened(
    folder: Path, paths: Sequence[Path], extract: Extractor, batch_size: int, ahead: bool
) -> Iterator[list[tuple[int, tuple[Any, bool, str, str]]]]:
    """Batches of pictures, opened and made ready on all cores; with ``ahead`` the next while the last is looked at."""

    def one(path: Path) -> tuple[Any, bool, str, str]:
        try:
            content = (folder / path).read_bytes()
            picture = open_picture(content)
            mark = hashlib.blake2b(content, digest_size=8).hexdigest()
            return extract.prepare(picture), is_one_colour(picture), mark, ""
        except Exception as error:  # Pillow has many, and a picture from the web may raise any
            why = str(error) if type(error) is ValueError else type(error).__name__
            advice = "" if path.suffix.lower() in PICTURES[:7] else "; save it as .png or .jpg"
            return None, False, "", f"{path.as_posix()} cannot be read as a picture ({why}), left out{advice}"

    with ThreadPoolExecutor(cores()) as pool:
        waiting: list[list[Future[Any]]] = []
        for start in range(0, len(paths), batch_size):
            waiting.append([pool.submit(one, path) for path in paths[start : start + batch_size]])
            if len(waiting) > ahead:
                yield _results(waiting.pop(0), max(0, start - ahead * batch_size))
        for rest in waiting:
            yield _results(rest, len(paths) - len(rest))


def _results(futures: list[Future[Any]], start: int) -> list[tuple[int, tuple[Any, bool, str, str]]]:
    return [(start + n, future.result()) for n, future in enumerate(futures)]


def _cached_part(path: Path, n: int) -> dict[str, Any] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except Exception:  # absent, or damaged: made anew
        return None
    whole = {"readable", "plain", "marks", "notes", "features"} <= set(arrays) and len(arrays["readable"]) == n
    return arrays if whole and len(arrays["features"]) == arrays["readable"].sum() else None
