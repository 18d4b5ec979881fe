"""Which picture is whose: the files of a folder, and the ids of a table."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from .ids import Id

PICTURES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".heic",
            ".heif", ".jxl", ".svg", ".tga", ".psd", ".dng", ".cr2", ".nef", ".arw")  # fmt: skip
NOT_LOOKED_INTO = ("__MACOSX", "@eaDir")  # what a Mac and a storage box put beside pictures


def pictures_in(folder: Path) -> list[Path]:
    """Every picture in a folder and its subfolders, as paths within it, in their order.

    Raises
    ------
    ValueError
        No such folder, or none in it.
    """
    if not folder.is_dir():
        raise ValueError(f"images: there is no folder {folder}")
    found = []
    for place, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith(".") and name not in NOT_LOOKED_INTO)
        within = Path(place).relative_to(folder)
        found += [within / name for name in names if not name.startswith(".") and Path(name).suffix.lower() in PICTURES]
    if not found:
        raise ValueError(f"images: no picture in {folder} and its subfolders; looked for names that end in "
                         f"{', '.join(PICTURES)}")
    return sorted(found, key=lambda path: (len(path.parts), path.as_posix()))


def nfc(text: str) -> str:
    """Composed letters: a Mac stores é as e and an accent."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def by_name(files: Sequence[Path], notes: list[str]) -> dict[str, Path]:
    """Name without ending → file, in the order of the names; the upper of two folders goes before the lower.

    Raises
    ------
    ValueError
        One name in two subfolders.
    """
    found: dict[str, Path] = {}
    for path in files:
        name = nfc(path.stem)
        if name in found:
            notes.append(_second(path, found[name], name))
        found.setdefault(name, path)
    return dict(sorted(found.items()))


def _second(path: Path, first: Path, name: Id) -> str:
    """A note on a second picture of one name, which is refused where nothing says which of them it is."""
    if path.parent != first.parent and len(first.parts) > 1:
        raise ValueError(f"images: {first.as_posix()} and {path.as_posix()} are both a picture of {name!r}; leave one "
                         f"of them, or write the folder into the ids ({path.with_suffix('').as_posix()!r})")  # fmt: skip
    return f"{path.as_posix()}: {first.as_posix()} is the picture of that item already, left out"


def of_items(files: Sequence[Path], ids: Sequence[Id], untouched: bool | None, notes: list[str]) -> dict[Id, Path]:
    """Item id → picture: of the table's items, and of those that nobody has touched.

    An id is looked for as a name with or without its ending, and with or without the folder; then in other letters' case,
    where that leaves no doubt.

    Parameters
    ----------
    files : as :func:`pictures_in` gives them
    untouched : bool, optional
        Whether a picture of no item of the table is an item too. Left out: unless its name begins with another item's.
    """
    exact: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        for form in dict.fromkeys((path.with_suffix("").as_posix(), path.as_posix(), path.stem, path.name)):
            exact[nfc(form)].append(path)
    loose: dict[str, set[str]] = defaultdict(set)
    for form in exact:
        loose[form.casefold()].add(form)
    of_case: dict[str, list[Id]] = defaultdict(list)
    for key in ids:
        of_case[str(key).casefold()].append(key)
    found: dict[Id, Path] = {}
    taken: set[Path] = set()
    bare: list[Id] = []
    other_case = []
    for key in ids:
        candidates = exact.get(str(key), [])
        forms = loose.get(str(key).casefold(), set())
        if not candidates and len(forms) == 1 and len(of_case[str(key).casefold()]) == 1:
            candidates = exact[next(iter(forms))]
            other_case.append((key, candidates[0]))
        if not candidates:
            bare.append(key)
            continue
        found[key] = candidates[0]
        taken.update(candidates)
        notes += [_second(path, candidates[0], key) for path in candidates[1:]]
    if other_case:
        key, path = other_case[0]
        notes.append(f"images: {len(other_case):,} pictures are named in other letters ({path.as_posix()!r} for "
                     f"{key!r} first), taken all the same")
    if bare:
        notes.append(_hint(bare, files))
    return found | _untouched([path for path in files if path not in taken], ids, untouched, notes)


def _untouched(rest: list[Path], ids: Sequence[Id], untouched: bool | None, notes: list[str]) -> dict[Id, Path]:
    if not rest:
        return {}
    known = {str(key) for key in ids}
    views = [path for path in rest if untouched is None and _begins_with(nfc(path.stem), known)]
    left = set(views)
    joining = [] if untouched is False else [path for path in rest if path not in left]
    names = by_name(joining, notes)
    if views:
        notes.append(f"images: {len(views):,} pictures whose names begin with an item's ({views[0].as_posix()!r} "
                     "first) are taken for further views of it and left out; untouched=True makes each an item")  # fmt: skip
    if untouched is False:
        notes.append(f"images: {len(rest):,} pictures of no item of the table ({rest[0].as_posix()!r} first), left out")
    elif names:
        first = next(iter(names.values())).as_posix()
        notes.append(f"images: {len(names):,} pictures of no item of the table ({first!r} first) join the catalogue as "
                     "items that nobody has met; untouched=False leaves them out")  # fmt: skip
    if ids and isinstance(ids[0], int):  # the table's ids are numbers, so these have to be
        odd = [name for name in names if not re.fullmatch(r"-?(0|[1-9]\d*)", name)]
        if odd:
            raise ValueError(f"images: {odd[0]!r} is no id like those of the table, whole numbers; pass "
                             "untouched=False, or make the ids text")
        return {int(name): path for name, path in names.items()}
    return {name: path for name, path in names.items()}


def _begins_with(name: str, known: set[str]) -> bool:
    """Whether a name goes on, behind a sign, after an item's: ``hat_2``, ``hat-back``, ``hat (1)``."""
    return any(name[: match.start()] in known for match in re.finditer(r"[-_. (]", name))


def _hint(bare: list[Id], files: Iterable[Path]) -> str:
    """What was looked for in vain, and what lies there that may be meant."""
    key = str(bare[0])
    text = f"images: no picture for {len(bare):,} items; looked for {key + PICTURES[0]!r}, {key + PICTURES[3]!r} and so on"
    lost = {str(key).lstrip("0"): str(key) for key in bare if str(key).isdigit()}
    short = {str(key): key for key in bare}
    last = {re.split(r"[/\\]", str(key))[-1]: key for key in bare if re.search(r"[/\\]", str(key))}
    for path in files:
        stem = nfc(path.stem)
        number = lost.get(stem.lstrip("0")) if stem.isdigit() else None
        if number is not None and stem != number:
            return text + (f". {path.as_posix()!r} differs from {number!r} by its zeros: were they lost when the table "
                           "was written? Read the ids as text (dtype=str)")  # fmt: skip
        part = last.get(nfc(path.name), last.get(stem))
        if part is not None:
            return text + (f". {path.as_posix()!r} is the last part of {part!r}: keep that part alone in the ids")
        for match in re.finditer(r"[-_. (]", stem):
            if stem[: match.start()] in short:
                return text + (f". {path.as_posix()!r} begins with {stem[: match.start()]!r}: name the one to take after the "
                               "item alone")  # fmt: skip
    return text
