"""A file inside a zip file, whatever folder it lies in there."""

import zipfile
from pathlib import Path


def member(archive: zipfile.ZipFile, name: str, path: Path) -> zipfile.ZipInfo:
    """The entry of that name; a ValueError names the file where there is none."""
    for info in archive.infolist():
        if info.filename.rpartition("/")[2] == name:
            return info
    raise ValueError(f"{path} does not hold {name}, only {', '.join(archive.namelist()[:5])}; delete it and load again")
