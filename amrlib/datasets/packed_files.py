"""Files that are packed: gzip, bzip2, xz, or zip with one file in it, known by their first bytes."""

import bz2
import gzip
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any

BY_MAGIC: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
# What is no table in text, by its first bytes, and what to do about it.
OTHERS = {
    b"\x28\xb5\x2f\xfd": "is packed with zstd; unpack it, or pack it as .gz",
    b"7z\xbc\xaf": "is packed with 7-Zip; unpack it, or pack it as .gz",
    b"Rar!": "is packed with RAR; unpack it, or pack it as .gz",
    b"\xd0\xcf\x11\xe0": "is an Excel workbook; save its sheet as CSV, in UTF-8",
    b"PAR1": "is a table in Parquet; let its name end in .parquet",
    b"ARROW1": "is a table in Arrow's own form; save it as .parquet or .csv",
    b"SQLite": "is a database; write the table out as CSV",
}
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile)


def without_packing(path: Path) -> Path:
    """``x.tsv`` for ``x.tsv.gz``."""
    return path.with_suffix("") if path.suffix in (".gz", ".bz2", ".xz", ".zip") else path


def unpacked(raw: Any, path: Path) -> Any:
    """A file of bytes to read from, whatever ``raw`` is packed with."""
    start = raw.read(8)
    raw.seek(0)
    if not start:
        raise ValueError(f"{path.name} is empty; is it the right file?")
    for magic, words in OTHERS.items():
        if start.startswith(magic):
            raise ValueError(f"{path.name} {words}")
    for magic, unpack in BY_MAGIC.items():
        if start.startswith(magic):
            return unpack(raw)
    if start.startswith(b"PK\x03\x04"):
        try:
            archive = zipfile.ZipFile(raw)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path.name}: damaged ({error}); pack or download it again") from None
        members = [m for m in archive.namelist() if not m.startswith("__MACOSX") and not m.endswith("/")]
        if "xl/workbook.xml" in members:
            raise ValueError(f"{path.name} is an Excel workbook; save its sheet as CSV, in UTF-8")
        if len(members) != 1:
            raise ValueError(f"{path.name} holds {len(members)} files; unpack it, and name one")
        return archive.open(members[0])
    return raw
