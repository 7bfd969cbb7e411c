"""The manifest of the lake: the one current file of a table and day. The only module that writes its table.

No directory is listed. Names of files follow from table, day and a random id; a file that has another name in the
table is never opened and never removed.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError
from smarttext_pipelines.schema.tables.lake_files import lake_files

_T = lake_files.c
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.parquet")


@dataclass(frozen=True)
class LakeFile:
    """A row of the manifest; the data dictionary says what each column means."""

    table_name: str
    day: date
    key: str | None
    sha256: str | None
    rows: int | None
    bytes: int | None
    oldest_event_at: datetime | None
    newest_event_at: datetime | None
    source_rows: int | None
    exported_at: datetime | None
    planned_key: str | None
    replaced_key: str | None

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.table_name}, {self.day}"

    @property
    def folder(self) -> str:
        """Where files of the table and day are stored, below the URL of the lake."""
        return folder_of(self.table_name, self.day)

    @property
    def file(self) -> tuple[str, str]:
        """Key and SHA-256 of the current file.

        Raises:
            DamagedFileError: The manifest names none, or one that is not of this table and day.
        """
        if self.key is None or self.sha256 is None:
            msg = f"the lake has no file for {self.title}"
            raise DamagedFileError(msg)
        return self.own(self.key), self.sha256

    def own(self, key: str) -> str:
        """Return a key of this table and day; raise DamagedFileError for any other."""
        if not key.startswith(f"{self.folder}/") or not _ID.fullmatch(key.removeprefix(f"{self.folder}/")):
            msg = f"the manifest names a file for {self.title} that is not its own; correct monitoring.lake_files"
            raise DamagedFileError(msg)
        return key


_COLUMNS = [_T[name] for name in LakeFile.__dataclass_fields__]


def folder_of(table: str, day: date) -> str:
    """Return where files of a table and day are stored, below the URL of the lake."""
    return f"{table}/day={day}"


def find_files(
    connection: Connection, *, tables: Collection[str] | None = None, days: DayRange | None = None
) -> list[LakeFile]:
    """Return what the manifest says, in the order of table and day; None means any."""
    found = select(*_COLUMNS).order_by(_T.table_name, _T.day)
    if tables is not None:
        found = found.where(_T.table_name.in_(tables))
    if days is not None:
        found = found.where(_T.day.between(days.first, days.last))
    return [LakeFile(**row) for row in connection.execute(found).mappings()]


def find_file(connection: Connection, table: str, day: date) -> LakeFile | None:
    """Return what the manifest says of a table and day."""
    found = find_files(connection, tables=[table], days=DayRange(day, day))
    return found[0] if found else None


def plan_file(connection: Connection, table: str, day: date) -> LakeFile:
    """Name the file that is about to be written, so that whoever comes after a kill knows of it."""
    planned = f"{folder_of(table, day)}/{uuid4()}.parquet"
    new = insert(lake_files).values(table_name=table, day=day, planned_key=planned)
    new = new.on_conflict_do_update(index_elements=["table_name", "day"], set_={"planned_key": planned})
    return LakeFile(**connection.execute(new.returning(*_COLUMNS)).mappings().one())


def publish_planned(connection: Connection, file: LakeFile, **values: Any) -> LakeFile:
    """Let the planned file be the current one; the one before it stays in the manifest until it is removed."""
    return change_file(
        connection,
        file,
        key=file.planned_key,
        planned_key=None,
        replaced_key=file.key,
        exported_at=func.clock_timestamp(),
        **values,
    )


def change_file(connection: Connection, file: LakeFile, **values: Any) -> LakeFile:
    """Change what the manifest says of a table and day, if nobody else has; return it as it is now.

    Raises:
        ArchiveError: It is no longer what was read; somebody works on it without the lock of the day.
    """
    changed = update(lake_files).where(*_unchanged(file)).values(values).returning(*_COLUMNS)
    row = connection.execute(changed).mappings().one_or_none()
    if row is None:
        raise ArchiveError(_changed_meanwhile(file))
    return LakeFile(**row)


def forget_file(connection: Connection, file: LakeFile) -> None:
    """Remove a table and day from the manifest; none of its files may be left."""
    gone = delete(lake_files).where(*_unchanged(file))
    if connection.execute(gone).rowcount != 1:
        raise ArchiveError(_changed_meanwhile(file))


def _unchanged(file: LakeFile) -> list[Any]:
    keys = ("table_name", "day", "key", "planned_key", "replaced_key")
    return [_T[name].is_not_distinct_from(getattr(file, name)) for name in keys]


def _changed_meanwhile(file: LakeFile) -> str:
    return f"the lake's file of {file.title} changed meanwhile; run it again"
