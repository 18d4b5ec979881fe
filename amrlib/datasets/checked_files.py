"""Files that are known: by a checksum, or by what was noted of them when they were last whole.

Beside a finished file lies ``<name>.seen``: its size, date and SHA-256, so that the next call knows in a moment that
nothing changed, and checks the bytes again when something did.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..atomic_files import write_atomically

__all__ = ["Remote", "accept", "beside", "noted", "read_json", "unchanged"]


@dataclass(frozen=True)
class Remote:
    """A file on the web: where it goes in the cache, where it comes from, how it is recognised.

    ``name`` is a path inside the cache folder. ``urls`` are tried in order. ``sha256`` or ``git`` (a git blob id,
    which is a checksum too) tell whether it is the right file; where its makers publish neither, ``check`` and the
    file's own format (zip and gzip carry checksums) must do. ``size``, in bytes and maybe approximate, is for
    people to read.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None = None
    git: str | None = None
    size: int | None = None
    check: Callable[[Path], None] | None = None


def accept(arrived: Path, path: Path, remote: Remote, sha256: str | None = None) -> None:
    """Check ``arrived``, rename it to ``path`` and note what it is; ``sha256``: of the copy seen earlier, if any."""
    size = arrived.stat().st_size
    sha, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open(arrived, "rb") as file:
        while chunk := file.read(1 << 20):
            sha.update(chunk)
            if remote.git:
                git.update(chunk)
    for kind, expected, got in (
        ("SHA-256", remote.sha256 or sha256, sha.hexdigest()),
        ("git blob id", remote.git, git.hexdigest()),
    ):
        if expected and expected != got:
            raise ValueError(f"not the file expected: its {kind} is {got}, not {expected} ({size:,} bytes)")
    if not (remote.sha256 or remote.git):
        _whole(arrived, remote.name)
        if remote.check:
            remote.check(arrived)
    os.replace(arrived, path)
    stat = path.stat()
    seen: dict[str, Any] = {"size": stat.st_size, "changed": stat.st_mtime_ns, "sha256": sha.hexdigest()}
    if remote.git:
        seen["git"] = git.hexdigest()
    write_atomically(beside(path, ".seen"), json.dumps(seen).encode())


def _whole(path: Path, name: str) -> None:
    """Use the checksums that zip and gzip files carry."""
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(f"{damaged} is damaged")
        elif name.endswith(".gz"):
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass
    except Exception as error:  # each layer of a damaged archive has its own
        raise ValueError(f"damaged: {error}") from None


def beside(path: Path, ending: str) -> Path:
    """The path of what belongs to a file: ``beside(f.zip, ".seen")`` is ``f.zip.seen``."""
    return path.with_name(path.name + ending)


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file; empty where there is no such file or something else in it."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def noted(path: Path) -> dict[str, Any]:
    """What was noted of a file when it was accepted; empty where nothing was."""
    return read_json(beside(path, ".seen"))


def unchanged(path: Path, remote: Remote | None = None) -> bool:
    """Whether the file is as it was noted, and the one that ``remote`` now wants: a newer version may want another."""
    seen = noted(path)
    if not seen or not path.is_file():
        return False
    if remote and any(sum_ and seen.get(kind) != sum_ for kind, sum_ in (("sha256", remote.sha256), ("git", remote.git))):
        return False
    stat = path.stat()
    return (seen.get("size"), seen.get("changed")) == (stat.st_size, stat.st_mtime_ns)
