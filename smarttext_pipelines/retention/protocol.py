"""The protocol for one table and day: plan, write, read back, publish, verify, and in a new step delete.

If a step is killed, each row is in its table or in a file that the manifest names.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, func
from sqlalchemy.exc import DBAPIError

from smarttext_pipelines.archive.columns import Shape, read_shape
from smarttext_pipelines.archive.files import Written, verify_file, write_day
from smarttext_pipelines.archive.manifest import (
    DELETED,
    PLANNED,
    SUPERSEDED,
    UNDATED,
    VERIFIED,
    Segment,
    change_segment,
    find_segments,
    is_named_by_another,
    name_day,
    plan_segment,
)
from smarttext_pipelines.archive.rows import ReadBack, open_archived
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError, SmartTextError
from smarttext_pipelines.retention.deletion import count_archived, delete_archived

SEGMENT_ROWS = 100_000
"""Rows of a segment at most; a larger day has several, so that no deletion takes long."""

OnStep = Callable[[str], None]


def finish_interrupted(connection: Connection, target: ArchiveTarget, table: str, day: date) -> Segment | None:
    """Remove the files of failed segments; return a verified segment that waits for its deletion.

    Only files that this database planned are touched: another one may keep its archive in the same place.

    Raises:
        ArchiveError: A failed segment names a file that it did not make; that file was left alone.
    """
    waiting = None
    with connection.begin():
        found = [s for s in find_segments(connection, tables=[table]) if s.day == day]
    for segment in found:
        if segment.state in (PLANNED, SUPERSEDED):
            remove_files(connection, target, segment)
        if segment.state == PLANNED:
            supersede(connection, segment, segment.failure or "interrupted")
        if segment.state == VERIFIED:
            waiting = segment
    return waiting


def archive_segment(
    connection: Connection, target: ArchiveTarget, table: str, day: date, *, limit: int, on_step: OnStep
) -> Segment | None:
    """Write rows of a day into a file that is read back and published; return None when there are no rows.

    Args:
        connection: Session that holds the lock of the table and day.
        target: Where the file goes.
        table: Table to read.
        day: Day of the archive.
        limit: Rows at most.
        on_step: Called with the name of each step.

    Raises:
        ArchiveError: The file could not be written, or is not what was written; no row was deleted.
    """
    with connection.begin():
        shape = replace(read_shape(connection, table), is_text=day == UNDATED)
        segment = plan_segment(connection, uuid4(), table, day)
    on_step("planned")
    path = target.temporary(segment.folder, str(segment.id))
    try:
        written = write_day(target, path, connection.engine.url, shape, day, limit, on_step)
        on_step("written")
        if not written.rows:
            target.discard(path)
            supersede(connection, segment, None)
            return None
        found = verify_file(path, written)
        on_step("read back")
        segment = publish_file(connection, target, segment, path, written, on_step)
        with connection.begin():
            segment = change_segment(connection, segment, state=VERIFIED, **file_values(shape, written, found))
        on_step("verified")
        return segment
    except SmartTextError as error:
        note_failure(connection, segment, error)
        raise


def publish_file(
    connection: Connection, target: ArchiveTarget, segment: Segment, path: Path, written: Written, on_step: OnStep
) -> Segment:
    """Name the file of a planned segment in the manifest, then give it that name in the target."""
    with connection.begin():
        segment = change_segment(connection, segment, object_key=segment.name)
    on_step("named")
    target.publish(path, segment.name, written.sha256)
    on_step("published")
    return segment


def file_values(shape: Shape, written: Written, found: ReadBack) -> dict[str, Any]:
    """Return what the manifest says of a file that was read back."""
    return {
        "file_sha256": written.sha256,
        "content_sha256": found.content_sha256,
        "rows": written.rows,
        "bytes": written.bytes,
        "uncompressed_bytes": written.uncompressed_bytes,
        "min_at": found.min_at,
        "max_at": found.max_at,
        "schema_version": shape.version,
        "verified_at": func.now(),
        "failure": None,
    }


def delete_segment(connection: Connection, target: ArchiveTarget, segment: Segment, on_step: OnStep) -> Segment:
    """Delete what the file of a verified segment holds exactly; from then on the file is their only copy.

    Raises:
        DamagedFileError: The file is not the one that was verified; the segment is given up and its rows stay.
    """
    with TemporaryDirectory(prefix="smarttext-") as folder:
        try:
            path = open_archived(target, segment, Path(folder)).path
            on_step("hashed again")
            with connection.begin():
                deleted = delete_archived(connection, segment, path)
                on_step("deleting")
                if not deleted.rows:
                    msg = f"no row of {segment.table_name}, {name_day(segment.day)} is any longer as it was archived"
                    raise DamagedFileError(msg)
                segment = change_segment(
                    connection,
                    segment,
                    state=DELETED,
                    deleted_rows=deleted.rows,
                    changed_rows=deleted.changed_rows,
                    changed_ids=deleted.changed_ids,
                    deleted_at=func.now(),
                )
        except DamagedFileError as error:
            supersede(connection, segment, str(error))
            raise
    on_step("deleted")
    return segment


def compare_segment(connection: Connection, target: ArchiveTarget, segment: Segment) -> Segment:
    """Count how many live rows a verified file holds exactly, where nothing may be deleted.

    Raises:
        DamagedFileError: The file is not the verified one; it is given up.
    """
    with TemporaryDirectory(prefix="smarttext-") as folder:
        path = open_archived(target, segment, Path(folder)).path
        with connection.begin():
            same = count_archived(connection, segment, path)
            segment = change_segment(connection, segment, changed_rows=int(segment.rows or 0) - same)
    if not same:
        msg = f"no row of {segment.table_name}, {name_day(segment.day)} is as its file says; the file was given up"
        supersede(connection, segment, msg)
        raise DamagedFileError(msg)
    return segment


def supersede(connection: Connection, segment: Segment, failure: str | None) -> Segment:
    """Mark a segment as superseded; its rows are live."""
    with connection.begin():
        return change_segment(connection, segment, state=SUPERSEDED, failure=failure)


def note_failure(connection: Connection, segment: Segment, error: SmartTextError) -> None:
    """Record why a segment failed, if the database can still be reached; the next run finishes it in any case."""
    with suppress(DBAPIError), connection.begin():
        change_segment(connection, segment, failure=str(error))


def remove_files(connection: Connection, target: ArchiveTarget, segment: Segment) -> None:
    """Remove the files of a segment that is not valid for any row, then forget their names.

    A planned one is superseded after that: nobody looks for the temporary file of a superseded segment without a name.

    Raises:
        ArchiveError: The manifest names a file that the segment did not make: that was left alone, and is forgotten.
    """
    target.discard(target.temporary(segment.folder, str(segment.id)))
    if segment.object_key is None:
        return
    target.remove(segment.name)
    with connection.begin():
        is_its_own = segment.names_its_own_file and not is_named_by_another(connection, segment)
    if is_its_own:
        target.remove(segment.object_key)
    msg = f"the manifest named a file for {segment.title} that is not its own; it was left alone, run it again"
    with connection.begin():
        values = {} if is_its_own else {"state": SUPERSEDED, "failure": msg}
        change_segment(connection, segment, object_key=None, **values)
    if not is_its_own:
        raise ArchiveError(msg)


def archive_rows(
    connection: Connection,
    target: ArchiveTarget,
    table: str,
    day: date,
    *,
    waiting: Segment | None,
    deletes: bool,
    max_rows: int,
    on_step: OnStep = lambda _step: None,
    segment_rows: int = SEGMENT_ROWS,
) -> Iterator[Segment]:
    """Bring a day into the archive, segment by segment, and yield each when it is done.

    Args:
        connection: Session that holds the lock of the table and day.
        target: Where the files go.
        table: Table to read.
        day: Day of the archive.
        waiting: Verified segment of an earlier run.
        deletes: Whether rows are deleted; else one segment is written and compared with the live rows.
        max_rows: Rows after which to stop.
        on_step: Called with the name of each step.
        segment_rows: Rows of a segment at most.
    """
    done = 0
    if waiting and not deletes:
        return
    while done < max_rows:
        is_last = False
        if waiting is None:
            segment = archive_segment(connection, target, table, day, limit=segment_rows, on_step=on_step)
            if segment is None:
                return
            # Rows that changed or arrived meanwhile are for the next run.
            is_last = (segment.rows or 0) < segment_rows
        else:
            segment, waiting = waiting, None
        if not deletes:
            yield compare_segment(connection, target, segment)
            return
        segment = delete_segment(connection, target, segment, on_step)
        done += segment.rows or 0
        yield segment
        if is_last:
            return
