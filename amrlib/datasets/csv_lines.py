"""Lines of a text to rows of a table: whole blocks where nothing is odd, and one by one where something is, to name it."""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .text_codes import encoded

BLOCK = 1 << 22  # bytes at once
LONGEST = 1 << 26  # bytes of a line
LINES = 1 << 15  # lines, where texts may go on over their ends
Column = tuple[bytes, np.ndarray, np.ndarray]  # texts, where each starts, how long it is


class Lines:
    """Lines to rows: one sign as separator as :mod:`csv` has it, a longer one by splitting."""

    def __init__(self, name: str, sep: str, quote: str | None, multiline: bool, skip: bool) -> None:
        if quote is not None and (not isinstance(quote, str) or len(quote) != 1):
            raise ValueError(f"quote must be one sign, or None where quotes mean nothing, not {quote!r}")
        if not isinstance(sep, str) or "\n" in sep or "\r" in sep or sep == quote:
            raise ValueError(f"sep must be text that stands between columns, not {sep!r}")
        if multiline and (quote is None or len(sep) > 1):
            raise ValueError("multiline=True needs quotes, and a separator of one sign")
        self.name, self.sep, self.quote, self.multiline, self.skip = name, sep, quote, multiline, skip
        self.places: list[int] = []  # of the needed columns
        self.width = 0

    def parse(self, lines: Any) -> Iterator[list[str]]:
        if len(self.sep) > 1:  # the csv module has separators of one sign alone
            return (line.rstrip("\r\n").split(self.sep) if line.strip() else [] for line in lines)
        how: dict[str, Any] = {"quotechar": self.quote} if self.quote else {"quoting": csv.QUOTE_NONE}
        return csv.reader(lines, delimiter=self.sep, strict=True, **how)

    def rows(
        self, file: Any, needed: Sequence[str], columns: Sequence[str] | None, skipped: list[str]
    ) -> Iterator[tuple[Sequence[int], list[Column]]]:
        """Numbers of lines, and the needed columns of the rows in them, again and again."""
        blocks = _blocks(file, self.name)
        data = next(blocks, b"").removeprefix(b"\xef\xbb\xbf")
        end = data.find(b"\n") + 1 or data.find(b"\r") + 1 or len(data)
        if b"\0" in data[:end] or data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ValueError(f"{self.name}, line 1: not UTF-8 but UTF-16, it seems; save it as UTF-8")
        self._header(self._text(data[:end], 1), needed, columns)
        number = 1
        if columns is None:
            number, data = 2, data[end:]
        blocks = itertools.chain([data], blocks)
        if self.multiline:  # a row may go on in the next block
            stream = self._lines_of(blocks, number)
            while every := list(itertools.islice(stream, LINES)):
                lines, found, number = self._one_by_one(every, stream, number, skipped)
                if lines:
                    yield lines, found
            return
        for data in blocks:
            quick = self._taken_apart(data, number)
            if quick is not None:
                lines, found, number = range(number, number + len(quick[0][1])), quick, number + len(quick[0][1])
            else:
                every = list(io.StringIO(self._text(data, number), newline=""))
                lines, found, number = self._one_by_one(every, iter(()), number, skipped)
            if lines:
                yield lines, found

    def _lines_of(self, blocks: Iterator[bytes], number: int) -> Iterator[str]:
        for data in blocks:
            yield from io.StringIO(self._text(data, number), newline="")
            number += len(data.splitlines())

    def _text(self, data: bytes, number: int) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            line = number + len(data[: error.start + 1].splitlines()) - 1
            raise ValueError(f"{self.name}, line {line}: not UTF-8 ({error.reason}); save it as UTF-8") from None

    def _header(self, line: str, needed: Sequence[str], columns: Sequence[str] | None) -> None:
        try:
            first = next(self.parse(iter([line.partition("\n")[0]])), [])
        except csv.Error as error:
            raise ValueError(f"{self.name}, line 1: a quote is opened and not closed ({error}); close it, or pass quote=None "
                             "if quotes mean nothing here") from None
        names = [name.strip() for name in first] if columns is None else list(columns)
        missing = [name for name in needed if name not in names]
        if missing and columns is None:
            hint = next((f"; its columns seem to be parted by {s!r}: pass sep={s!r}" for s in ("::", ";", "\t", "|", ",")
                         if len(names) == 1 and s in names[0]), "")  # fmt: skip
            raise ValueError(
                f"{self.name}, line 1: no column {missing[0]!r}, only {', '.join(map(repr, names[:10]))}{hint}; "
                "name the columns with user=, item=, time=, the separator with sep=, or, if the file has no header line, "
                "what its columns are with columns=['user', 'item', …]"
            )
        if missing:
            raise ValueError(f"columns= has no {missing[0]!r}, only {', '.join(map(repr, names))}")
        twice = [name for name in needed if names.count(name) > 1]
        if twice:
            raise ValueError(f"{self.name}: two columns are named {twice[0]!r}; rename one")
        if columns is not None and set(needed) <= {name.strip() for name in first}:
            raise ValueError(f"{self.name}, line 1 is a header line; leave out columns=, or the line")
        self.places, self.width = [names.index(name) for name in needed], len(names)

    def _taken_apart(self, data: bytes, number: int) -> list[Column] | None:
        """The needed columns of a block in which every line is a row; None where something has to be looked at."""
        sep = self.sep.encode()
        quote = self.quote.encode() if self.quote else b""
        if len(sep) > 1 or len(quote) > 1 or not data.endswith(b"\n"):
            return None
        signs = np.frombuffer(data, dtype=np.uint8)
        ends, seps = np.flatnonzero(signs == 10), np.flatnonzero(signs == sep[0])
        returns = data.count(b"\r")
        if len(seps) != len(ends) * (self.width - 1) or returns not in (0, len(ends)):
            return None
        edges = np.empty((len(ends), self.width + 1), dtype=np.int64)
        edges[:, 0] = np.append(-1, ends[:-1])
        edges[:, 1:-1] = seps.reshape(len(ends), -1)
        edges[:, -1] = ends - (returns > 0)
        if (edges[:, 1:] <= edges[:, :-1]).any() or (returns and (signs[edges[:, -1]] != 13).any()):
            return None
        columns = [(data, edges[:, c] + 1, edges[:, c + 1] - edges[:, c] - 1) for c in self.places]
        if quote and quote in data:  # all of them around whole fields, which then hold no separator and no quote
            around = (signs[edges[:, :-1] + 1] == quote[0]) & (signs[edges[:, 1:] - 1] == quote[0]) & (np.diff(edges) > 2)
            if data.count(quote) != 2 * around.sum():
                return None
            columns = [(data, starts + around[:, c], n - 2 * around[:, c]) for c, (_, starts, n) in zip(self.places, columns)]
        for _, starts, lengths in columns[:2]:  # an empty id, or one with a blank before it, which may be nothing else
            if lengths.min() == 0 or (signs[starts] <= 32).any():
                return None
        # decoded to say where it is not UTF-8; a blank that is not ASCII may be all there is to an id
        if not data.isascii() and re.search(r"[^\S\x00-\x20]", self._text(data, number)):
            return None
        return columns

    def _one_by_one(
        self, every: list[str], rest_of_file: Iterator[str], number: int, skipped: list[str]
    ) -> tuple[Sequence[int], list[Column], int]:
        """Lines and columns of those rows that are sound, and the number of the line behind it."""
        try:
            whole = list(self.parse(every))
        except csv.Error:
            whole = []
        if len(whole) == len(every) and all(map(self._sound, whole)):
            return range(number, number + len(whole)), self._columns(whole), number + len(whole)
        lines, rows, rest = [], [], iter(every)
        for line in rest:
            fed = [line]
            try:
                (row,) = self.parse(fed)
            except csv.Error as error:
                if "unexpected end" not in str(error):
                    raise ValueError(f"{self.name}, line {number}: {error}; correct it, or pass quote=None if quotes "
                                     "mean nothing here") from None  # fmt: skip
                row = self._over_lines(fed, itertools.chain(rest, rest_of_file), number)
            fault = self._fault(row)
            if fault and not self.skip:
                raise ValueError(f"{self.name}, line {number}: {fault}; correct it, or pass bad_rows='skip'")
            if fault:
                skipped.append(f"{self.name}, line {number}: {fault}")
            elif any(map(str.strip, row)):
                lines.append(number)
                rows.append(row)
            number += len(fed)
        return lines, self._columns(rows), number

    def _columns(self, rows: list[list[str]]) -> list[Column]:
        return [encoded([row[c] for row in rows]) for c in self.places]

    def _sound(self, row: list[str]) -> bool:
        return len(row) == self.width and bool(row[self.places[0]].strip() and row[self.places[1]].strip())

    def _fault(self, row: list[str]) -> str:
        if self._sound(row) or not any(map(str.strip, row)):  # the second: a blank line
            return ""
        return "user or item is empty" if len(row) == self.width else f"{len(row)} columns where the header has {self.width}"

    def _over_lines(self, fed: list[str], rest: Iterator[str], number: int) -> list[str]:
        """A row of which a quoted field goes on over the line's end; ``fed`` gets its lines."""
        if not self.multiline:
            raise ValueError(f"{self.name}, line {number}: a quote is opened and not closed in the line; close it, "
                             "pass quote=None if quotes mean nothing here, or multiline=True if texts go on over several "
                             "lines")  # fmt: skip

        def more() -> Iterator[str]:
            yield fed[0]
            for line in rest:
                fed.append(line)
                yield line

        try:
            row = next(self.parse(more()))
        except csv.Error as error:
            raise ValueError(f"{self.name}, line {number}: a quote is opened and never closed ({error})") from None
        if len(row) == self.width and any("\n" in row[c] or "\r" in row[c] for c in self.places):
            raise ValueError(f"{self.name}, line {number}: a user, item or time goes on over the line's end; a quote "
                             "is not closed")
        return row


def _blocks(file: Any, name: str) -> Iterator[bytes]:
    """The file in parts that end at a line's end."""
    rest = b""
    while part := file.read(BLOCK):
        part = rest + part
        end = part.rfind(b"\n") + 1 or part.rfind(b"\r", 0, -1) + 1  # not the last sign: a \n may follow it
        rest = part[end:]
        if end:
            yield part[:end]
        elif len(rest) > LONGEST:
            raise ValueError(f"{name}: a line of more than {LONGEST >> 20} MB; this is no table in text")
    if rest:
        yield rest
