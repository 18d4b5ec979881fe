"""A reader's run, made ready to be sent in: a file for ``book/replications`` and the text of a pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amrlib.atomic_files import write_atomically

from .record import problems, read_record

__all__ = ["FOLDER", "file_name", "submit", "text_of"]

FOLDER = Path(__file__).resolve().parents[2] / "book" / "replications"


def file_name(record: dict[str, Any]) -> str:
    """By data set, kind and content, so that two runs never share a name."""
    return f"{record['dataset']['name']}{'-quick' if record['quick'] else ''}-{record['checksum'][:8]}.json"


def submit(path: Path, folder: Path | None = None) -> tuple[Path, str]:
    """Copy a record under its name into ``book/replications``; a record that cannot be is a ValueError that says why."""
    if not path.exists():
        raise ValueError(f"{path} is not there: run the same command without --submit first")
    record = read_record(path)
    wrong = problems(record)
    if wrong:
        raise ValueError(f"{path} cannot be sent in:\n  " + "\n  ".join(wrong))
    target = (folder or FOLDER) / file_name(record)
    write_atomically(target, path.read_bytes())
    return target, text_of(record, target.name)


def text_of(record: dict[str, Any], name: str) -> str:
    data = record["dataset"]
    lines = [
        f"A recorded run on {data['name']}{' (quick)' if record['quick'] else ''}",
        "",
        f"- file: book/replications/{name}",
        f"- data: {data['users']:,} users, {data['items']:,} items, {data['rows'] + data['held out']:,} interactions",
        f"- versions: {', '.join(f'{word} {value}' for word, value in record['versions'].items())}",
        f"- made on: {'; '.join(record['devices'])}",
    ]
    for recipe, about in record["recipes"].items():
        seconds = sum(entry["seconds"] for models in about["seeds"].values() for entry in models.values())
        lines.append(f"- recipe {recipe}: {len(about['seeds'])} seeds, {seconds / 60:.0f} minutes of training")
    lines += ["", "Made with `python -m amrbook replicate`; drawn with `python -m amrbook replicate page`.", "",
              "- [ ] I ran it myself and changed nothing in the file.",
              "- [ ] No data of the set is in this request."]  # fmt: skip
    return "\n".join(lines) + "\n"
