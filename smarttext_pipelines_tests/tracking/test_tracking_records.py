"""Damage to a file costs the rows that it touched, which are counted, and no other."""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.tracking import journal
from smarttext_pipelines.tracking.journals import Journals, require_folder
from smarttext_pipelines.tracking.records import CHUNK_BYTES, MAX_ROW_BYTES, Position, encode, read
from smarttext_pipelines_tests.conftest import SOAK

FILES = 1000 if SOAK else 100


@dataclass
class Damaged:
    """A file after its damage, and the rows that were not touched."""

    data: bytes
    whole: list[bytes]
    is_tail: bool


def damage(chance: random.Random, rows: list[bytes]) -> Damaged:
    records = [encode(n, row) for n, row in enumerate(rows)]
    data = b"".join(records)
    first = chance.randrange(len(data))
    end = min(first + chance.choice([1, 1, 5, 300, 5000]), len(data))
    kind = chance.choice(["flip", "zero", "remove", "cut", "noise"])
    if kind == "flip":
        end = first + 1
        spoiled = bytes([data[first] ^ (1 << chance.randrange(8))])
    else:
        spoiled = {"zero": b"\0" * (end - first), "noise": chance.randbytes(end - first)}.get(kind, b"")
        end = len(data) if kind == "cut" else end
    whole, at = [], 0
    for record, row in zip(records, rows, strict=True):
        # The line's end is there for people.
        if first >= at + len(record) - 1 or end <= at or data[first:end] == spoiled:
            whole.append(row)
        at += len(record)
    return Damaged(data[:first] + spoiled + data[end:], whole, rows[-1] not in whole)


def drain(data: bytes, most: int, written: int | None = None) -> tuple[list[bytes], int]:
    position, found = Position(), []
    for _ in range(len(data) + 10):
        piece = read(
            lambda at, length: data[at : at + length],
            position,
            len(data),
            most,
            written or 0,
            is_exact=written is not None,
        )
        found += [row for _, row in piece.rows]
        position = piece.after
        if piece.is_last:
            return found, position.damaged
    raise AssertionError


def some_rows(chance: random.Random, count: int) -> list[bytes]:
    return [json.dumps({"n": n, "text": "x" * chance.randrange(300)}).encode() for n in range(count)]


@pytest.mark.parametrize("seed", range(FILES))
def test_every_row_that_damage_did_not_touch_is_read_and_every_other_counted(seed: int) -> None:
    chance = random.Random(seed)
    rows = some_rows(chance, chance.randrange(2, 60))
    spoiled = damage(chance, rows)
    found, lost = drain(spoiled.data, chance.choice([1, 7, 500]))
    # What stands between the numbers of a header, and the case of their letters, can be read past.
    assert set(spoiled.whole) <= set(found) <= set(rows)
    assert len(found) + lost == len(rows) or spoiled.is_tail
    # Who appended knows how many, also of the end.
    assert drain(spoiled.data, 50, written=len(rows)) == (found, len(rows) - len(found))


def test_an_end_of_zeros_counts_as_many_rows_as_fit_into_it() -> None:
    records = [encode(n, b'{"n": "%05d"}' % n) for n in range(100)]
    data = b"".join(records[:60]) + b"\0" * len(b"".join(records[60:]))
    assert drain(data, 500)[1] == 40


def test_a_length_that_grew_by_damage_hides_no_row_behind_it() -> None:
    chance = random.Random(1)
    rows = some_rows(chance, 30_000)
    records = [encode(n, row) for n, row in enumerate(rows)]
    assert len(b"".join(records)) > MAX_ROW_BYTES
    records[3] = records[3].replace(b" 000", b" 002", 1)
    records[7] = records[7].replace(b" 000", b" fff", 1)
    found, lost = drain(b"".join(records), 500)
    assert (lost, found) == (2, [row for n, row in enumerate(rows) if n not in (3, 7)])


def test_a_row_larger_than_a_chunk_is_read() -> None:
    rows = [b"{}", b'{"x": "%s"}' % (b"x" * CHUNK_BYTES * 3), b"{}"]
    assert drain(b"".join(encode(n, row) for n, row in enumerate(rows)), 500) == (rows, 0)


def test_a_file_that_is_shortened_under_its_process_costs_what_was_cut_off(tmp_path: Path) -> None:
    journals = Journals(tmp_path, 10**6)
    rows = [b'{"n": %d}' % n for n in range(20)]
    for row in rows:
        assert journals.append("sms_events", row)
    file = journals.first_own("sms_events")
    assert file is not None
    journals.done(file, file.read(5))
    with file.path.open("r+b") as handle:
        handle.truncate(len(b"".join(encode(n, row) for n, row in enumerate(rows[:10]))))
    assert journals.append("sms_events", b'{"n": 20}')
    found, lost = [], 0
    while (file := journals.first_own("sms_events")) is not None:
        piece = file.read(500)
        found += [row for _, row in piece.rows]
        lost += journals.done(file, piece)
    assert (found, lost, journals.pending()) == ([*rows[5:10], b'{"n": 20}'], 10, 0)
    journals.release()


def test_an_end_that_was_cut_off_while_its_rows_waited_is_missed(tmp_path: Path) -> None:
    one, other = Journals(tmp_path, 10**6), Journals(tmp_path, 10**6)
    for n in range(20):
        assert one.append("sms_events", b'{"n": %02d}' % n)
    one.note_told()
    file = one.first_own("sms_events")
    assert file is not None
    one.release()
    os.truncate(file.path, file.size // 2)
    other.take_over()
    taken = other.first_taken("sms_events")
    assert taken is not None
    piece = taken.read(500)
    assert (len(piece.rows), other.done(taken, piece)) == (10, 10)
    assert list(tmp_path.iterdir()) == []


def test_a_drained_file_is_emptied_and_used_again_and_a_large_one_is_followed_by_another(tmp_path: Path) -> None:
    journals, seen = Journals(tmp_path, 40_000), set()
    for burst in range(30):
        for _ in range(3):
            assert journals.append("sms_events", b"{}")
        (path,) = tmp_path.iterdir()
        seen.add(path)
        file = journals.first_own("sms_events")
        assert file is not None
        assert len(file.read(500).rows) == 3, burst
        journals.done(file, file.read(500))
        assert path.stat().st_size == 0
    assert len(seen) == 1
    while journals.append("sms_events", b'{"x": "%s"}' % (b"x" * 1000)):
        pass
    assert len(list(tmp_path.iterdir())) > 2
    assert 38_000 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000
    journals.release()


def test_files_of_a_living_process_are_left_alone_and_renamed_away_ones_are_followed(tmp_path: Path) -> None:
    one, other = Journals(tmp_path, 10**6), Journals(tmp_path, 10**6)
    assert one.append("sms_events", b"{}")
    other.take_over()
    assert other.first_taken("sms_events") is None
    for path in tmp_path.iterdir():
        path.unlink()
    one.take_over()
    assert one.append("sms_events", b"{}")
    assert one.pending() == 2
    assert len(list(tmp_path.iterdir())) == 1
    one.release()
    other.take_over()
    assert other.first_taken("sms_events") is not None
    other.release()
    assert not journal._handles


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"cannot be kept in .*spill: not a directory; give configure"):
        require_folder(tmp_path / "file" / "spill")
    require_folder(tmp_path / "new" / "spill")
    assert list((tmp_path / "new" / "spill").iterdir()) == []
