"""The manifest of the archive: which file speaks for which rows. The only place that reads or writes its table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError
from smarttext_pipelines.storage.schema.retention import archive_segments

PLANNED, VERIFIED, DELETED, RESTORED, SUPERSEDED = "planned", "verified", "deleted", "restored", "superseded"
_T = archive_segments.c


@dataclass(frozen=True)
class Segment:
    """A row of the manifest; the data dictionary says what each column means."""

    id: UUID
    table_name: str
    day: date
    seq: int
    state: str
    object_key: str | None
    file_sha256: str | None
    content_sha256: str | None
    rows: int | None
    bytes: int | None
    uncompressed_bytes: int | None
    deleted_rows: int | None
    changed_rows: int | None
    changed_ids: Sequence[UUID] | None
    hold_until: datetime | None
    failure: str | None

    @property
    def folder(self) -> str:
        """Where files of the table and day lie, below the URL of the archive."""
        return f"{self.table_name}/day={self.day}"

    @property
    def file(self) -> tuple[str, str]:
        """Key and SHA-256 of the file; raise ArchiveError where the manifest names none."""
        if self.object_key is None or self.file_sha256 is None:
            msg = f"the manifest names no file for segment {self.seq} of {self.table_name}, {self.day}"
            raise ArchiveError(msg)
        return self.object_key, self.file_sha256


_COLUMNS = [_T[name] for name in Segment.__dataclass_fields__]


def find_segments(
    connection: Connection,
    *,
    tables: Collection[str] | None = None,
    days: DayRange | None = None,
    times: tuple[datetime, datetime] | None = None,
    states: Collection[str] | None = None,
) -> list[Segment]:
    """Return segments in the order of table, day and seq; None means any.

    Args:
        connection: In a transaction.
        tables: Tables whose rows they hold.
        days: Days of the archive.
        times: Instants between which there may be rows, the second not included.
        states: What they are.
    """
    found = select(*_COLUMNS).order_by(_T.table_name, _T.day, _T.seq, _T.planned_at)
    if tables is not None:
        found = found.where(_T.table_name.in_(tables))
    if days is not None:
        found = found.where(_T.day.between(days.first, days.last))
    if times is not None:
        found = found.where(_T.min_at < times[1], _T.max_at >= times[0])
    if states is not None:
        found = found.where(_T.state.in_(states))
    return [Segment(**row) for row in connection.execute(found).mappings()]


def find_segment(connection: Connection, segment_id: UUID) -> Segment:
    """Return a segment by its id."""
    row = connection.execute(select(*_COLUMNS).where(_T.id == segment_id)).mappings().one()
    return Segment(**row)


def plan_segment(connection: Connection, segment_id: UUID, table: str, day: date, *, seq: int | None = None) -> Segment:
    """Insert a planned segment; default seq is the next of its table and day."""
    if seq is None:
        newest = select(func.coalesce(func.max(_T.seq), 0)).where(_T.table_name == table, _T.day == day)
        seq = int(connection.scalar(newest) or 0) + 1
    values = {"id": segment_id, "table_name": table, "day": day, "seq": seq, "state": PLANNED}
    row = connection.execute(insert(archive_segments).values(values).returning(*_COLUMNS)).mappings().one()
    return Segment(**row)


def change_segment(connection: Connection, segment: Segment, **values: Any) -> Segment:
    """Change a segment that nobody else has changed; return it as it is now.

    Raises:
        ArchiveError: Its state is no longer what was read; somebody works on it without our lock.
    """
    changed = update(archive_segments).where(_T.id == segment.id, _T.state == segment.state).values(values)
    row = connection.execute(changed.returning(*_COLUMNS)).mappings().one_or_none()
    if row is None:
        msg = f"segment {segment.seq} of {segment.table_name}, {segment.day} is no longer {segment.state}; run it again"
        raise ArchiveError(msg)
    return Segment(**row)
