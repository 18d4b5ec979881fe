"""A table in a file, read in blocks: memory holds a block of text, and of every row a few numbers.

A row is a line. A quoted field that goes on over a line's end may be a forgotten quote that swallows the rows behind it, so
it is refused unless the caller says that the file has such fields. A block in which every line has its columns
is taken apart at once, as bytes; any other is read line by line, and what is wrong is named.
"""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..progress import progress_bar
from .csv_lines import Column, Lines
from .dates import Times
from .packed_files import DAMAGED, unpacked, without_packing
from .text_codes import Collision, TextCodes, distinct_texts, texts_at


class CsvTable:
    """Users and items as codes into their distinct texts, and the line of every row."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self.sides = TextCodes(), TextCodes()
        self.codes: tuple[list[np.ndarray], list[np.ndarray]] = [], []
        self.rows = 0
        self.runs: tuple[list[int], list[int]] = [], []  # from this row on, lines follow one another from this one on
        self.skipped: list[str] = []

    def add(self, columns: list[Column], lines: Sequence[int]) -> None:
        """The next rows, and the line of each."""
        for codes, side, column in zip(self.codes, self.sides, columns):
            codes.append(side(*column))
        for place, line in [(0, lines[0])] if isinstance(lines, range) else enumerate(lines):
            row = self.rows + place
            if not self.runs[0] or line - self.runs[1][-1] != row - self.runs[0][-1]:
                self.runs[0].append(row)
                self.runs[1].append(line)
        self.rows += len(lines)

    def column(self, which: int) -> tuple[np.ndarray, list[str]]:
        """Codes (n,) and the texts that they stand for, of users (0) or items (1); to be asked for once."""
        parts = self.codes[which]
        codes = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
        parts.clear()
        return codes, self.sides[which].texts

    def say(self, row: int) -> str:
        """The file and the line of a row."""
        run = bisect_right(self.runs[0], row) - 1
        return f"{self.name}, line {self.runs[1][run] + row - self.runs[0][run]}"


def read_table(
    path: Path,
    needed: Sequence[str],
    times: Times | None,
    sep: str | None = None,
    columns: Sequence[str] | None = None,
    quote: str | None = '"',
    multiline: bool = False,
    skip: bool = False,
    progress: bool = True,
) -> CsvTable:
    """The needed columns (user, item, and the time where ``times`` is given) of a text, packed or not.

    Raises
    ------
    ValueError
        What the file is not: UTF-8, a table with these columns, whole. With file and line.
    """
    sep = sep or ("\t" if without_packing(path).suffix in (".tsv", ".tab") else ",")
    reader, table = Lines(path.name, sep, quote, multiline, skip), CsvTable(path)
    with open(path, "rb") as raw, unpacked(raw, path) as file:
        with progress_bar(None, path.name, progress, total=path.stat().st_size, unit="B", unit_scale=True) as bar:
            try:
                for lines, found in reader.rows(file, needed, columns, table.skipped):
                    table.add(found[:2], lines)
                    if times is not None:
                        codes, first, _ = distinct_texts(*found[2])
                        times.add_texts(codes, texts_at(*found[2], first))
                    bar.update(raw.tell() - bar.n)
            except DAMAGED as error:
                raise ValueError(f"{path.name}: damaged ({error}); pack or download it again") from None
            except Collision:
                raise ValueError(f"{path.name}: two ids cannot be told apart here; read it with pandas, and use "
                                 "from_frame") from None
    return table
