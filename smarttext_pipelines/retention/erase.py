"""Erase one person: rows that mention a number are removed from tables and files; what remains names nobody.

Files are rewritten without the rows and read back like new ones. It can be interrupted anywhere and run again.
"""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date, datetime
from hashlib import sha256
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from psycopg import sql
from sqlalchemy import Connection, Engine, func, insert, literal_column, or_, select, update

from smarttext_pipelines.archive.columns import SESSION, TIME_COLUMNS, is_table, read_shape, run
from smarttext_pipelines.archive.files import verify_file, write_batches
from smarttext_pipelines.archive.manifest import (
    DELETED,
    RESTORED,
    SUPERSEDED,
    UNDATED,
    VERIFIED,
    Segment,
    change_segment,
    find_segments,
    plan_segment,
)
from smarttext_pipelines.archive.rows import ArchivedRows, open_archived
from smarttext_pipelines.archive.session import locked_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.archive.units import USAGE_DAY, unit_condition
from smarttext_pipelines.core.customer_keys import e164, e164_in_sql
from smarttext_pipelines.core.days import FIRST_INSTANT, LAST_INSTANT, day_of
from smarttext_pipelines.core.errors import DamagedFileError, InputError
from smarttext_pipelines.core.number_patterns import spelled_pattern
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.rolled_up_days import request_rollups
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.retention.forget_customer import forget_customer
from smarttext_pipelines.retention.protocol import (
    file_values,
    finish_interrupted,
    publish_file,
    remove_files,
    supersede,
)
from smarttext_pipelines.schema.installation import counts_usage_by_time
from smarttext_pipelines.schema.tables.archive_segments import erasures
from smarttext_pipelines.schema.tables.internal import rollup_days
from smarttext_pipelines.schema.tables.source_tables import businesses
from smarttext_pipelines.schema.tables.statistics import sms_outcomes

_REASON = "rows of a person were erased"


@dataclass
class Erased:
    """What an erasure removed.

    Attributes:
        live_rows: Rows deleted, by table.
        archived_rows: Rows cut out of the archive, by table.
        segments_rewritten: Files that were rewritten or removed.
        days_forgotten: Rows of ``customer_days`` that are nobody's now.
    """

    live_rows: Counter[str] = field(default_factory=Counter)
    archived_rows: Counter[str] = field(default_factory=Counter)
    segments_rewritten: int = 0
    days_forgotten: int = 0


@dataclass(frozen=True)
class _Erasure:
    id: UUID
    digits: str
    zone: ZoneInfo
    usage_by_time: bool
    archive: ArchiveTarget
    erased: Erased


def erase(
    database: Engine,
    archive: ArchiveTarget,
    phone: str,
    *,
    zone: ZoneInfo,
    shared_senders: Collection[str] = (),
    begun: Callable[[int], None] = lambda _days: None,
    done: Callable[[], None] = lambda: None,
    customer_key: str | None = None,
    elsewhere: Callable[[str], None] = lambda _digits: None,
) -> Erased:
    """Delete every row that mentions a telephone number, in the tables and in the archive.

    Args:
        database: Result of ``open_engine``.
        archive: Where the files are stored.
        phone: The number, in any spelling with which ``core.customer_keys.e164`` reads it.
        zone: Reporting zone.
        shared_senders: Numbers that identify no business.
        begun: Called with the number of archive days that are searched.
        done: Called with each.
        customer_key: Key of the number in ``customer_days``; None where numbers have none here.
        elsewhere: Called with the number without its plus when its rows are gone from tables and archive, to take them
            out of copies; the erasure is complete when that is.

    Raises:
        InputError: The text is no number, or the number is that of a business.
        ArchiveError: A file cannot be read or written; run it again.
    """
    number = require_number(phone)
    with connected(database) as connection:
        _refuse_businesses(connection, number, shared_senders)
        _refuse_views(connection)
        with connection.begin():
            by_time = counts_usage_by_time(connection)
            erasure = _Erasure(uuid4(), number.removeprefix("+"), zone, by_time, archive, Erased())
            connection.execute(insert(erasures).values(id=erasure.id))
            _erase_tables(connection, erasure)
        days = _archived_days(connection)
    begun(len(days))
    for table, day in days:
        with locked_day(database, table, day) as connection:
            _erase_day(connection, erasure, table, day)
        done()
    with connected(database) as connection, connection.begin():
        if days:
            # A day may have been restored since, before its file was searched; from now on none can bring a row back.
            _erase_tables(connection, erasure)
        if customer_key:
            erasure.erased.days_forgotten = forget_customer(connection, customer_key)
    elsewhere(erasure.digits)
    with connected(database) as connection, connection.begin():
        _record(connection, erasure, finished_at=func.now())
    return erasure.erased


def require_number(phone: str) -> str:
    """Return a number in E.164; raise InputError where it is none, or nobody's."""
    number = e164(phone)
    if number is None:
        msg = "write the number with a plus and its country, such as +15551234567; nothing was deleted"
        raise InputError(msg)
    return number


def _refuse_businesses(connection: Connection, number: str, shared_senders: Collection[str]) -> None:
    with connection.begin():
        is_its = [literal_column(e164_in_sql(name)) == number for name in ("twilio_phone", "public_phone")]
        found = connection.scalar(select(select(businesses).where(or_(*is_its)).exists()))
    if found or number in map(e164, shared_senders):
        msg = "that is the number of a business: all its events would go"
        raise InputError(msg)


def _refuse_views(connection: Connection) -> None:
    with connection.begin():
        views = [f"public.{table}" for table in TIME_COLUMNS if not is_table(connection, table)]
    if views:
        msg = f"{', '.join(views)} is a view: delete the rows in the tables that it reads; nothing was erased"
        raise InputError(msg)


def _erase_tables(connection: Connection, erasure: _Erasure, **values: Any) -> None:
    """Delete the person's live rows and record it, in the caller's transaction."""
    for statement in SESSION:
        connection.exec_driver_sql(statement)
    for table in TIME_COLUMNS:
        _erase_live(connection, erasure, table)
    is_theirs = sms_outcomes.c.sender.regexp_match(spelled_pattern(erasure.digits))
    connection.execute(update(sms_outcomes).where(is_theirs).values(sender="erased"))
    _record(connection, erasure, **values)


def _erase_live(connection: Connection, erasure: _Erasure, table: str) -> None:
    shape = read_shape(connection, table)
    no_zone = sql.SQL(" AT TIME ZONE 'UTC'" if shape.has_no_zone(TIME_COLUMNS[table]) else "")
    at = sql.SQL("(t.{}{} AT TIME ZONE {})::date").format(
        sql.Identifier(TIME_COLUMNS[table]), no_zone, sql.Literal(erasure.zone.key)
    )
    day = USAGE_DAY if table == "api_usage" else at
    mentions = shape.mentions(erasure.digits, "regexp_like")
    query = sql.SQL("DELETE FROM public.{} AS t WHERE {} RETURNING CASE WHEN NOT {} THEN {} END").format(
        sql.Identifier(table), sql.SQL(mentions), unit_condition(table, UNDATED), day
    )
    rows = [row[0] for row in run(connection, query)]
    erasure.erased.live_rows[table] += len(rows)
    _adjust(connection, table, Counter(day for day in rows if day is not None))


def _erase_day(connection: Connection, erasure: _Erasure, table: str, day: date) -> None:
    finish_interrupted(connection, erasure.archive, table, day)
    with connection.begin():
        segments = [s for s in find_segments(connection, tables=[table]) if s.day == day and s.state != SUPERSEDED]
    with TemporaryDirectory(prefix="smarttext-") as folder:
        files = [(s, open_archived(erasure.archive, s, Path(folder))) for s in segments]
        mentioning = [(s, rows, found) for s, rows in files if (found := rows.about(erasure.digits))]
        # Their rows are live. A day has one unfinished segment at most: a verified one makes room for new files.
        useless = [s for s, _, _ in mentioning if s.state == RESTORED]
        useless += [s for s in segments if s.state == VERIFIED and mentioning]
        for segment in useless:
            remove_files(connection, erasure.archive, supersede(connection, segment, None))
            erasure.erased.segments_rewritten += 1
        for segment, rows, found in mentioning:
            if segment.state == DELETED:
                _rewrite(connection, erasure, segment, rows, found)


def _rewrite(connection: Connection, erasure: _Erasure, old: Segment, rows: ArchivedRows, found: list[Any]) -> None:
    """Put a file without the rows in the place of another, and adjust what rollups recorded, in one transaction."""
    with connection.begin():
        new = plan_segment(connection, uuid4(), old.table_name, old.day)
    path = erasure.archive.temporary(new.folder, str(new.id))
    written = write_batches(erasure.archive, path, rows.shape, rows.without(erasure.digits), lambda _step: None)
    read = verify_file(path, written)
    _require_same_rows(old, [*chain.from_iterable(ArchivedRows(path).hashes()), *(row[:2] for row in found)])
    if written.rows:
        new = publish_file(connection, erasure.archive, new, path, written, lambda _step: None)
    else:
        erasure.archive.discard(path)
    with connection.begin():
        gone = change_segment(connection, old, state=SUPERSEDED)
        if written.rows:
            kept = {"seq": old.seq, "deleted_rows": written.rows, "changed_ids": old.changed_ids}
            values = file_values(rows.shape, written, read)
            change_segment(connection, new, state=DELETED, deleted_at=func.now(), **kept, **values)
        else:
            change_segment(connection, new, state=SUPERSEDED)
        erasure.erased.archived_rows[old.table_name] += len(found)
        erasure.erased.segments_rewritten += 1
        changed = {str(id_) for id_ in old.changed_ids or ()}
        spoken = [(at, day) for id_, _, at, day in found if id_ not in changed]
        days = [_reporting_day(at, day, erasure) for at, day in spoken]
        _adjust(connection, old.table_name, Counter(day for day in days if day is not None))
        _record(connection, erasure)
    remove_files(connection, erasure.archive, gone)


def _require_same_rows(old: Segment, rows: list[tuple[str, str]]) -> None:
    """Let what stays and what goes be what was verified: a file may be spoilt between being hashed and being read."""
    if sha256("".join(row_hash for _, row_hash in sorted(rows)).encode()).hexdigest() != old.content_sha256:
        msg = f"{old.object_key} is damaged: its rows are not those that were verified; nothing was cut out of it"
        raise DamagedFileError(msg)


def _reporting_day(at: datetime | None, day: date | None, erasure: _Erasure) -> date | None:
    is_sane = at is not None and FIRST_INSTANT <= at < LAST_INSTANT
    if day and not (erasure.usage_by_time and is_sane):
        return day
    return day_of(at, erasure.zone) if at is not None else None


def _adjust(connection: Connection, table: str, rows: Counter[date]) -> None:
    """Let every rollup that reads the table expect fewer rows of these days, and ask for one."""
    t = rollup_days.c
    names = {m.recorded_as for m in METRICS.values() if table in m.sources}
    for day, number in sorted(rows.items()):
        fewer = update(rollup_days).where(t.table_name.in_(names), t.row_day == day)
        connection.execute(fewer.values(rows=func.greatest(t.rows - number, 0)))
    request_rollups(connection, dict.fromkeys(rows, _REASON))


def _archived_days(connection: Connection) -> list[tuple[str, date]]:
    """Return the tables and days with a file, also one that is about to go."""
    with connection.begin():
        found = find_segments(connection)
    return sorted({(s.table_name, s.day) for s in found if s.object_key or s.state != SUPERSEDED})


def _record(connection: Connection, erasure: _Erasure, **values: Any) -> None:
    counted = {
        "live_rows": dict(erasure.erased.live_rows),
        "archived_rows": dict(erasure.erased.archived_rows),
        "segments_rewritten": erasure.erased.segments_rewritten,
    }
    connection.execute(update(erasures).where(erasures.c.id == erasure.id).values(**counted, **values))
