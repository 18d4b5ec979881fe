"""Files that are packed: gzip, bzip2, xz, or zip with one file in it, known by their first bytes."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any

BY_MAGIC: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)


def without_packing(path: Path) -> Path:
    """``x.tsv`` for ``x.tsv.gz``."""
    return path.with_suffix("") if path.suffix in (".gz", ".bz2", ".xz", ".zip") else path


def unpacked(raw: Any, path: Path) -> Any:
    """A file of bytes to read from, whatever ``raw`` is packed with."""
    start = raw.read(8)
    raw.seek(0)
    for magic, unpack in BY_MAGIC.items():
        if start.startswith(magic):
            return unpack(raw)
    if start.startswith(b"PK\x03\x04"):
        archive = zipfile.ZipFile(raw)
        members = [m for m in archive.namelist() if not m.startswith("__MACOSX") and not m.endswith("/")]
        if len(members) != 1:
            raise ValueError(f"{path.name} holds {len(members)} files; unpack it, and name one")
        return archive.open(members[0])
    return raw
