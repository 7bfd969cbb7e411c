"""How rows are stored in a journal, so that the rows around a damaged place can still be read.

A record is one line: a mark that JSON never holds, its number in the file, length and checksum of the row, and the row
as ASCII JSON. A mark is where reading resumes after damage; a gap between numbers shows how many rows the damage took.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal
from zlib import crc32

MARK = b"\x1e"
HEADER_BYTES = 28
MAX_ROW_BYTES = 4 * 2**20
"""Bytes of a row at most; a greater length is damage."""

UNNUMBERED = 2**32 - 1
"""Number of each record in a file that several processes append to: nothing follows from it."""

CHUNK_BYTES = 2**18


@dataclass(frozen=True)
class Position:
    """How far a file was read.

    Attributes:
        offset: Where to go on.
        number: Number that the next record should have.
        damaged: Rows that damage took so far.
        garbage: Unreadable bytes since the last good record.
        marks: Marks among them.
        rows: Good rows so far.
        row_bytes: Their bytes.
    """

    offset: int = 0
    number: int = 0
    damaged: int = 0
    garbage: int = 0
    marks: int = 0
    rows: int = 0
    row_bytes: int = 0


@dataclass
class Piece:
    """What was read in one go.

    Attributes:
        after: Where that leaves the reader.
        is_last: Whether the file ends there.
        rows: Good rows, in order, with their numbers.
    """

    after: Position
    is_last: bool = False
    rows: list[tuple[int, bytes]] = field(default_factory=list)


def encode(number: int, row: bytes) -> bytes:
    """Return the record of a row."""
    return b"\x1e%08x %08x %08x %s\n" % (number, len(row), crc32(row, number), row)


def read(
    load: Callable[[int, int], bytes], position: Position, size: int, max_rows: int, written: int, *, is_exact: bool
) -> Piece:
    """Return the next rows of a file.

    Args:
        load: Returns as many bytes from an offset on as the file has, at most a number of them.
        position: Where to begin.
        size: Bytes of the file.
        max_rows: Rows to return at most.
        written: Records that were written to the file.
        is_exact: Whether that number is exact.
    """
    for length in (CHUNK_BYTES, MAX_ROW_BYTES + HEADER_BYTES):
        data = load(position.offset, min(length, size - position.offset))
        piece = _parse(data, position, max_rows, is_last=position.offset + length >= size)
        if piece.is_last or piece.after.offset > position.offset:
            break
    if piece.is_last:
        piece.after = _at_end(piece.after, size, written, is_exact=is_exact)
    return piece


def _parse(data: bytes, position: Position, max_rows: int, *, is_last: bool) -> Piece:
    piece, at = Piece(position), 0
    while len(piece.rows) < max_rows:
        mark = data.find(MARK, at)
        if mark < 0:
            _skip(piece, data[at:])
            at, piece.is_last = len(data), is_last
            break
        _skip(piece, data[at:mark])
        found, at = _record(data, mark), mark
        if found == "cut" and not is_last:
            break
        if isinstance(found, str):
            _skip(piece, MARK)
            at += 1
            continue
        _note(piece, *found)
        at += HEADER_BYTES + len(found[1])
    piece.after = replace(piece.after, offset=position.offset + at)
    return piece


def _record(data: bytes, mark: int) -> tuple[int, bytes] | Literal["cut", "bad"]:
    start = mark + HEADER_BYTES
    if start > len(data):
        return "cut"
    try:
        number, length, checksum = (int(data[mark + at : mark + at + 8], 16) for at in (1, 10, 19))
    except ValueError:
        return "bad"
    if not 0 < length <= MAX_ROW_BYTES:
        return "bad"
    if start + length > len(data):
        return "cut"
    row = data[start : start + length]
    return (number, row) if crc32(row, number & UNNUMBERED) == checksum else "bad"


def _skip(piece: Piece, garbage: bytes) -> None:
    if length := len(garbage.strip(b"\n")):
        was = piece.after
        piece.after = replace(was, garbage=was.garbage + length, marks=was.marks + garbage.count(MARK))


def _note(piece: Piece, number: int, row: bytes) -> None:
    was = piece.after
    piece.rows.append((number, row))
    if number == UNNUMBERED:
        damaged, following = _guess(was), was.number
    else:
        damaged, following = max(number - was.number, 0), max(number + 1, was.number)
    piece.after = Position(
        was.offset, following, was.damaged + damaged, rows=was.rows + 1, row_bytes=was.row_bytes + len(row)
    )


def _at_end(position: Position, size: int, written: int, *, is_exact: bool) -> Position:
    damaged = max(written - position.number, 0 if is_exact else _guess(position))
    return replace(
        position, offset=size, number=position.number + damaged, damaged=position.damaged + damaged, garbage=0, marks=0
    )


def _guess(position: Position) -> int:
    """Return how many rows the unreadable bytes were, where no number shows it."""
    if not position.garbage:
        return 0
    length = position.row_bytes / position.rows + HEADER_BYTES + 1 if position.rows else position.garbage
    return max(position.marks, round(position.garbage / length), 1)
