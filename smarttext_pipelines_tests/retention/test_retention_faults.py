"""Whatever the archive's disk or store does, no row is deleted that was not read back, and a later run goes on."""

import errno
import os
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from smarttext_pipelines.archive.manifest import find_segments
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.retention.protocol import archive_rows, delete_segment, finish_interrupted
from smarttext_pipelines_tests.conftest import Database

DAY = date(2026, 3, 15)
ROWS = 400


class Faulty:
    """A file that fails after some bytes."""

    def __init__(self, file: IO[bytes], code: int, after: int) -> None:
        self._file, self._code, self._left = file, code, after

    def _count(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise OSError(self._code, os.strerror(self._code))

    def write(self, data: Any) -> int:
        self._count(len(data))
        return self._file.write(data)

    def read(self, size: int = -1) -> bytes:
        found = self._file.read(size)
        self._count(len(found))
        return found

    def __enter__(self) -> "Faulty":
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class FaultyTarget(ArchiveTarget):
    """A directory whose files fail when they are written, or when they are read."""

    def __init__(self, url: str, code: int, mode: str, after: int = 1000) -> None:
        super().__init__(url)
        self._code, self._mode, self._after = code, mode, after

    def opened(self, file: IO[bytes]) -> IO[bytes]:
        return Faulty(file, self._code, self._after) if file.mode == self._mode else file  # type: ignore[return-value]


class FullDisk(ArchiveTarget):
    """The kernel's own full device."""

    def temporary(self, folder: str, name: str) -> Path:
        super().temporary(folder, name)
        return Path("/dev/full")

    def discard(self, path: Path) -> None:
        pass


@pytest.fixture
def loaded(database: Database) -> Database:
    database.run(
        "INSERT INTO public.sms_events (from_number, to_number, status, created_at, message_sid, payload)"
        " SELECT 'a', 'b', 'sent', %s::timestamptz + n * interval '1 s', md5(n::text), jsonb_build_object('n', n)"
        " FROM generate_series(1, %s) AS n",
        datetime(2026, 3, 15, 12, tzinfo=UTC),
        ROWS,
    )
    return database


@pytest.fixture
def archive(tmp_path: Path) -> ArchiveTarget:
    return ArchiveTarget(str(tmp_path / "archive"))


def run(database: Database, target: ArchiveTarget, *, deletes: bool = True) -> None:
    with locked_day(database.engine, "sms_events", DAY) as connection:
        waiting = finish_interrupted(connection, target, "sms_events", DAY)
        list(
            archive_rows(
                connection,
                target,
                "sms_events",
                DAY,
                waiting=waiting,
                deletes=deletes,
                max_rows=10**6,
                segment_rows=150,
            )
        )


def live(database: Database) -> int:
    return int(database.rows("SELECT count(*) FROM public.sms_events")[0]["count"])


def segments(database: Database, *states: str) -> list[Any]:
    with database.engine.connect() as connection:
        return find_segments(connection, states=states or None)


def require_resumed(database: Database, archive: ArchiveTarget, folder: Path) -> None:
    run(database, archive)
    assert live(database) == 0
    named = {s.object_key for s in segments(database) if s.object_key}
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == named
    assert sum(s.deleted_rows for s in segments(database, "deleted")) == ROWS


@pytest.mark.parametrize(
    ("code", "mode"),
    [(errno.ENOSPC, "wb"), (errno.EIO, "wb"), (errno.EROFS, "wb"), (errno.EIO, "rb")],
    ids=["disk full", "EIO when written", "read-only", "EIO when read"],
)
def test_a_failing_disk_deletes_nothing_and_is_told(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path, code: int, mode: str
) -> None:
    place = str(tmp_path / "archive")
    with pytest.raises(ArchiveError, match=os.strerror(code)):
        run(loaded, FaultyTarget(place, code, mode))
    assert live(loaded) == ROWS
    assert any(os.strerror(code) in (s.failure or "") for s in segments(loaded)) or mode == "rb"
    require_resumed(loaded, archive, tmp_path / "archive")


def test_a_disk_that_is_really_full_deletes_nothing(loaded: Database, archive: ArchiveTarget, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No space left"):
        run(loaded, FullDisk(str(tmp_path / "archive")))
    assert live(loaded) == ROWS
    require_resumed(loaded, archive, tmp_path / "archive")


def test_a_place_where_nothing_can_be_made_is_told(loaded: Database) -> None:
    with pytest.raises(ArchiveError, match="nothing was deleted"):
        run(loaded, ArchiveTarget("/proc/archive"))
    assert live(loaded) == ROWS


def test_every_flipped_bit_is_found_before_a_row_is_deleted(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path
) -> None:
    run(loaded, archive, deletes=False)
    (segment,) = segments(loaded, "verified")
    path = tmp_path / "archive" / segment.object_key
    content, chance, found = path.read_bytes(), random.Random(3), 0
    with locked_day(loaded.engine, "sms_events", DAY) as connection:
        for _ in range(100):
            bit = chance.randrange(8 * len(content))
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            with pytest.raises(DamagedFileError, match="is damaged"):
                delete_segment(connection, archive, segment, lambda _step: None)
            found += 1
            loaded.run("UPDATE monitoring.archive_segments SET state = 'verified', failure = NULL")
    assert found == 100
    assert live(loaded) == ROWS
    with pytest.raises(DamagedFileError):
        run(loaded, archive)
    assert [s.state for s in segments(loaded)] == ["superseded"]
    require_resumed(loaded, archive, tmp_path / "archive")


@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_a_file_that_the_disk_does_not_give_back_is_never_published(
    loaded: Database, archive: ArchiveTarget, tmp_path: Path, damage: str
) -> None:
    def spoil(step: str) -> None:
        if step == "written":
            (path,) = (tmp_path / "archive").rglob("*.tmp")
            content = bytearray(path.read_bytes())
            content[len(content) // 3] ^= 4
            path.write_bytes(content if damage == "flip" else content[:-50])

    with locked_day(loaded.engine, "sms_events", DAY) as connection, pytest.raises(DamagedFileError):
        list(
            archive_rows(
                connection, archive, "sms_events", DAY, waiting=None, deletes=True, max_rows=10**6, on_step=spoil
            )
        )
    assert live(loaded) == ROWS
    require_resumed(loaded, archive, tmp_path / "archive")


def test_a_truncated_file_deletes_nothing(loaded: Database, archive: ArchiveTarget, tmp_path: Path) -> None:
    run(loaded, archive, deletes=False)
    path = tmp_path / "archive" / segments(loaded, "verified")[0].object_key
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedFileError, match="is damaged"):
        run(loaded, archive)
    assert live(loaded) == ROWS
    require_resumed(loaded, archive, tmp_path / "archive")


def test_files_are_readable_by_their_owner_alone(loaded: Database, archive: ArchiveTarget, tmp_path: Path) -> None:
    run(loaded, archive)
    paths = list((tmp_path / "archive").rglob("*"))
    assert {oct(p.stat().st_mode & 0o777) for p in paths if p.is_file()} == {"0o600"}
    assert {oct(p.stat().st_mode & 0o777) for p in paths if p.is_dir()} == {"0o700"}


def test_a_file_of_another_database_is_left_alone(loaded: Database, archive: ArchiveTarget, tmp_path: Path) -> None:
    strange = tmp_path / "archive" / "sms_events" / f"day={DAY}" / "seq=1-0000000000000000.parquet"
    strange.parent.mkdir(parents=True)
    strange.write_text("of another database")
    run(loaded, archive)
    assert strange.exists()


def test_a_file_never_speaks_for_a_row_whose_newer_version_went_into_the_file_of_another_day(
    loaded: Database, archive: ArchiveTarget
) -> None:
    run(loaded, archive, deletes=False)
    (waiting,) = segments(loaded, "verified")
    in_file = pq.read_table(archive.fetch(*waiting.file, Path(archive.name)), columns=["id"])["id"].to_pylist()
    moved = [UUID(id_) for id_ in in_file[:3]]
    loaded.run(
        "UPDATE public.sms_events SET status = 'failed', created_at = created_at + interval '1 day'"
        " WHERE id = ANY (%s)",
        moved,
    )
    next_day = DAY + timedelta(days=1)
    with locked_day(loaded.engine, "sms_events", next_day) as connection:
        list(archive_rows(connection, archive, "sms_events", next_day, waiting=None, deletes=True, max_rows=10**6))
    run(loaded, archive)
    (waited,) = [s for s in segments(loaded, "deleted") if s.id == waiting.id]
    assert set(waited.changed_ids) == set(moved)
    assert waited.deleted_rows == waited.rows - len(moved)
    assert live(loaded) == 0
