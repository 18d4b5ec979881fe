"""Fetching files: several addresses, a resumed transfer, a checksum, and never half a file under its own name.

A file grows as ``<name>.part`` beside its place and is renamed when every byte has been checked. A file put there by
hand is taken when it passes the same check.

The usual library for this, pooch, would serve for the cache folder and the checksum alone: it begins a broken transfer
anew, takes one address for a file and knows no git blob ids.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from filelock import FileLock  # torch needs it too, so it is always there

from ..atomic_files import write_atomically
from ..progress import progress_bar
from .checked_files import Remote, accept, beside, noted, read_json, unchanged

__all__ = ["cache_folder", "checksum", "fetch", "is_cached"]

CHUNK = 1 << 18  # bytes read at once
PATIENCE = 30  # seconds without a byte before an address is given up
ATTEMPTS = 3  # how often one address may break off before the next is tried


def cache_folder() -> Path:
    """Where downloads are kept: ``AMRLIB_DATA``, or ``amrlib`` in the user's cache folder (~/.cache)."""
    named = os.environ.get("AMRLIB_DATA")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "amrlib"


def is_cached(remote: Remote, folder: str | Path | None = None) -> bool:
    """Whether a finished file lies in the cache; its bytes are not read."""
    return (Path(folder or cache_folder()) / remote.name).is_file()


def checksum(path: Path) -> str:
    """The SHA-256 of a file that :func:`fetch` gave, as it noted it; empty where there is no note. No bytes are read."""
    return str(noted(path).get("sha256", "")) if unchanged(path) else ""


def fetch(remote: Remote, folder: str | Path | None = None, progress: bool = True) -> Path:
    """The path of a checked copy of ``remote``, downloaded if need be.

    Safe to call from several processes: one downloads, the others wait for it. After a broken transfer the next
    call goes on where it stopped.

    Parameters
    ----------
    folder : path, optional
        Instead of :func:`cache_folder`.
    progress : bool
        A bar for whatever takes more than a second.

    Raises
    ------
    OSError
        No address could be reached, or the disk is full; the message tells what each address answered and how to
        put the file there by hand.
    ValueError
        A whole file came and was not the one expected (its checksum differs, or it is damaged), and no other did.
    """
    path = Path(folder or cache_folder()) / remote.name
    if unchanged(path, remote):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(beside(path, ".lock")):  # the system lets go of it if the process is killed
        if unchanged(path, remote):  # another process has fetched it while this one waited
            return path
        if path.exists():
            try:
                accept(path, path, remote, noted(path).get("sha256"))
                return path
            except ValueError:  # changed since, or never whole
                path.unlink()
        return _download(remote, path, progress)


def _download(remote: Remote, path: Path, progress: bool) -> Path:
    part, failures, wrong = beside(path, ".part"), [], 0
    for url in remote.urls:
        for attempt in range(ATTEMPTS):
            resumed = part.exists()
            try:
                before = part.stat().st_size if resumed else 0
                _transfer(url, part, remote, progress)
                accept(part, path, remote)
                beside(path, ".from").unlink(missing_ok=True)
                return path
            except _DiskError as error:
                raise OSError(
                    f"{path.parent}: {error}; free some space, or name another folder in AMRLIB_DATA. "
                    f"What came so far is kept, and the next call goes on from there"
                ) from None
            except ValueError as error:  # whole, but not what it should be
                part.unlink(missing_ok=True)
                failures.append(f"{url}: {error}")
                wrong += 1
                if not resumed:
                    break
            except (OSError, http.client.HTTPException) as error:
                failures.append(f"{url}: {_why(error)}")
                gone = isinstance(error, urllib.error.HTTPError) and 400 <= error.code < 500
                if gone or (part.stat().st_size if part.exists() else 0) <= before or attempt == ATTEMPTS - 1:
                    break
    raise (ValueError if wrong else OSError)(
        f"{remote.name} could not be downloaded:\n  "
        + "\n  ".join(failures)
        + f"\nTry again later, or save it yourself as {path}: it is checked when it is read"
    )


class _DiskError(Exception):
    """Writing failed, not the network: other addresses would not help."""


def _transfer(url: str, part: Path, remote: Remote, progress: bool) -> None:
    """Append to ``part`` what is missing; start afresh where the server cannot resume, or the file has changed."""
    if not url.startswith(("http://", "https://")):
        raise OSError("only http and https addresses are fetched")
    # where the part is from, and the server's mark of that version of the file
    note = part.with_name(part.name.removesuffix(".part") + ".from")
    origin = read_json(note)
    start = part.stat().st_size if part.exists() else 0
    known = bool(remote.sha256 or remote.git)
    if start and not known and (origin.get("url") != url or not origin.get("mark")):
        start = 0  # without a checksum two versions of the file could be glued together
    headers = {"User-Agent": "amrlib", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if origin.get("url") == url and origin.get("mark"):
            headers["If-Range"] = origin["mark"]
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # nothing is left to send, or the part is too long
                whole = error.headers.get("Content-Range", "").rpartition("/")[2]
                if whole == str(start):
                    return
                part.unlink(missing_ok=True)
            raise
    with answer:
        rest = answer.headers.get("Content-Length")
        if answer.status == 206:
            sent = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if sent != str(start):
                part.unlink(missing_ok=True)
                raise OSError(f"sent bytes from {sent or 'somewhere'} on, not from {start} on")
        else:
            start = 0
        total = start + int(rest) if rest else None
        with _disk():
            free = shutil.disk_usage(part.parent).free
            if rest and int(rest) > free:
                raise OSError(errno.ENOSPC, f"{int(rest):,} bytes are to come and {free:,} are free")
            etag = answer.headers.get("ETag", "")
            mark = etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")
            write_atomically(note, json.dumps({"url": url, "mark": mark}).encode())
            file = open(part, "r+b" if start else "wb")
        settings: dict[str, Any] = dict(total=total, initial=start, unit="B", unit_scale=True, unit_divisor=1024)
        with contextlib.closing(file), progress_bar(None, remote.name, progress, **settings) as bar:
            file.seek(start)
            while chunk := answer.read(CHUNK):
                with _disk():
                    file.write(chunk)
                start += len(chunk)
                bar.update(len(chunk))
            with _disk():
                file.flush()
                os.fsync(file.fileno())
    if total is not None and start != total:
        raise OSError(f"broke off after {start:,} of {total:,} bytes")


@contextlib.contextmanager
def _disk() -> Any:
    try:
        yield
    except OSError as error:
        raise _DiskError(error.strerror or str(error)) from None


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"cannot be reached ({error.reason})"
    return str(error) or type(error).__name__
