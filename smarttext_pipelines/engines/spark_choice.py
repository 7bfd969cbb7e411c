"""Opens Spark for a transaction where it is worth it and the lake holds what the database and its archive hold."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack

from sqlalchemy import Connection

from smarttext_pipelines.archive.manifest import Segment
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import EngineError
from smarttext_pipelines.engines.engine import Parameters
from smarttext_pipelines.engines.lake_cover import Cover, archived_rows, cover_of, differing_days
from smarttext_pipelines.engines.live import live_rows
from smarttext_pipelines.engines.spark import SparkEngine, SparkRows
from smarttext_pipelines.engines.spark_session import SparkPlace
from smarttext_pipelines.lake.lake_days import rows_by_day
from smarttext_pipelines.metrics.event_tables import SOURCE_TIMES
from smarttext_pipelines.schema.tables.lookup import table_named


def open_spark(
    connection: Connection,
    parameters: Parameters,
    place: SparkPlace,
    tables: Collection[str],
    segments: Sequence[Segment],
    days: DayRange,
) -> tuple[SparkEngine | None, str | None]:
    """Return the engine, or why it is not used; neither where the window is too small for it.

    Args:
        connection: REPEATABLE READ, so that the lake's manifest and the rows are of one snapshot.
        parameters: The parameter tables.
        place: Where Spark is.
        tables: What is read.
        segments: Archived rows that are part of it.
        days: Days of the lake that share an instant with the window and its neighbours.

    Raises:
        SmartTextError: Spark is wanted and cannot be used; see ``spark_session.open_session``.
    """
    covers = [
        _cover(connection, place, name, [s for s in segments if s.table_name == name], days)
        for name in tables
        if name in SOURCE_TIMES
    ]
    if not covers or sum(cover.rows for cover in covers) < place.min_rows:
        return None, None
    obstacle = next((cover.obstacle for cover in covers if cover.obstacle), None)
    if obstacle:
        return None, obstacle
    return _opened(connection, parameters, place, covers, has_businesses="businesses" in tables)


def _cover(connection: Connection, place: SparkPlace, table: str, segments: Sequence[Segment], days: DayRange) -> Cover:
    files = place.lake_files(connection, table, days)
    covered = {f.day for f in files}
    others = [day for day in days if day not in covered]
    archived = archived_rows(segments)
    now = rows_by_day(connection, table, DayRange(others[0], others[-1])) if others else {}
    live = {day: max(0, found.rows - archived.get(day, 0)) for day, found in now.items()}
    return cover_of(table, files, live, archived)


def _opened(
    connection: Connection, parameters: Parameters, place: SparkPlace, covers: Sequence[Cover], *, has_businesses: bool
) -> tuple[SparkEngine | None, str | None]:
    window = parameters.window
    rows = {
        cover.table: SparkRows(
            live_rows(connection, table_named(cover.table), window, {f.day for f in cover.files}), cover.files
        )
        for cover in covers
    }
    if has_businesses:
        rows["businesses"] = SparkRows(live_rows(connection, table_named("businesses"), window))
    try:
        return _agreeing(SparkEngine(connection, parameters, place, rows), covers)
    except EngineError as error:
        if any(cover.files for cover in covers):
            return None, f"its files of the lake cannot be read, it {error.reason}"
        raise


def _agreeing(engine: SparkEngine, covers: Sequence[Cover]) -> tuple[SparkEngine | None, str | None]:
    """Return an engine whose files hold what the lake's manifest says; it cannot hash them before it reads them."""
    with ExitStack() as stack:
        stack.enter_context(engine)
        for cover in covers:
            found = engine.rows_by_day(cover.table) if cover.files else {}
            days = differing_days(cover.files, found)
            if days:
                said = sum(f.rows for f in cover.files if f.day == days[0])
                what = f"{found.get(days[0], 0):,} rows of {cover.table} of {days[0]}"
                return None, f"the lake holds {what}, its manifest says {said:,}"
        stack.pop_all()
    return engine, None
