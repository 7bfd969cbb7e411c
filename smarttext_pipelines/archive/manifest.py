"""The manifest of the archive: which file holds which rows. The only module that reads or writes its table.

Names of files follow from table, day and id. A file that has another name in
the table is never opened and never removed.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.schema.tables.archive_segments import archive_segments

UNDATED = date.min
"""Day of undated rows in the manifest."""

PLANNED, VERIFIED, DELETED, RESTORED, SUPERSEDED = "planned", "verified", "deleted", "restored", "superseded"
_T = archive_segments.c
_FORMER_NAME = re.compile(r"seq=[0-9]{1,9}-([0-9a-f]{16})\.parquet")
"""Files of earlier versions: the number, and the beginning of the file's SHA-256."""


def name_day(day: date) -> str:
    """Return a day of the archive as people and folders call it."""
    return "undated" if day == UNDATED else f"{day}"


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
    max_at: datetime | None
    failure: str | None

    @property
    def folder(self) -> str:
        """Where files of the table and day are stored, below the URL of the archive."""
        return f"{self.table_name}/{'undated' if self.day == UNDATED else f'day={self.day}'}"

    @property
    def name(self) -> str:
        """Path of the file that this segment makes, below the URL of the archive."""
        return f"{self.folder}/{self.id}.parquet"

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"segment {self.seq} of {self.table_name}, {name_day(self.day)}"

    @property
    def names_its_own_file(self) -> bool:
        """Whether the manifest names the file that this segment made, also one that an earlier version named."""
        if self.object_key == self.name or self.object_key is None:
            return self.object_key is not None
        former = _FORMER_NAME.fullmatch(self.object_key.removeprefix(f"{self.folder}/"))
        return former is not None and former[1] == (self.file_sha256 or "")[:16]

    @property
    def file(self) -> tuple[str, str]:
        """Key and SHA-256 of the file.

        Raises:
            ArchiveError: The manifest names none.
            DamagedFileError: It names one that this segment did not make.
        """
        if self.object_key is None or self.file_sha256 is None:
            msg = f"the manifest names no file for {self.title}"
            raise ArchiveError(msg)
        if not self.names_its_own_file:
            msg = (
                f"the manifest names a file for {self.title} that is not its own, and that is not opened; "
                "correct object_key in monitoring.archive_segments"
            )
            raise DamagedFileError(msg)
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


def is_named_by_another(connection: Connection, segment: Segment) -> bool:
    """Return whether a second segment, in any state, names the same file."""
    named = select(_T.id).where(_T.object_key == segment.object_key, _T.id != segment.id)
    return connection.execute(named.limit(1)).first() is not None


def change_segment(connection: Connection, segment: Segment, **values: Any) -> Segment:
    """Change a segment that nobody else has changed; return it as it is now.

    Raises:
        ArchiveError: Its state is no longer what was read; somebody works on it without our lock.
    """
    changed = update(archive_segments).where(_T.id == segment.id, _T.state == segment.state).values(values)
    row = connection.execute(changed.returning(*_COLUMNS)).mappings().one_or_none()
    if row is None:
        msg = f"{segment.title} is no longer {segment.state}; run it again"
        raise ArchiveError(msg)
    return Segment(**row)
