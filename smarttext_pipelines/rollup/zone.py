"""Report in another zone: every day whose events are still there is forgotten, and asked for again."""

from zoneinfo import ZoneInfo

from sqlalchemy import Engine, delete, func, select, text, update

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange, load_zone
from smarttext_pipelines.core.errors import SchemaError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.rolled_up_days import request_rollups
from smarttext_pipelines.engines import SourceDay
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup.drift import readable_days, recorded_days
from smarttext_pipelines.schema.installation import revision
from smarttext_pipelines.schema.reset_date import reset_date_default
from smarttext_pipelines.schema.revisions import newest_revision
from smarttext_pipelines.schema.tables.internal import installation, rollup_days

_ALONE = text("SELECT pg_advisory_xact_lock(hashtextextended('smarttext:' || :asset, 0))")


def change_reporting_zone(engine: Engine, zone: ZoneInfo, archive: ArchiveTarget | None = None) -> None:
    """Store the zone, forget what was read of every day whose events are still all there, and ask for those days.

    Days that have lost events are frozen with the numbers of the old zone's days. Waits for rollups in progress.

    Raises:
        SchemaError: The database is not migrated.
    """
    with connected(engine) as connection, connection.begin():
        if revision(connection) != newest_revision():
            msg = "the database is not at the newest revision; run `smarttext migrate`"
            raise SchemaError(msg)
        for asset in METRICS:
            connection.execute(_ALONE, {"asset": asset})
        old = load_zone(connection.execute(select(installation.c.reporting_timezone).with_for_update()).scalar_one())
        bounds = connection.execute(select(func.min(rollup_days.c.row_day), func.max(rollup_days.c.row_day))).one()
        if bounds[0]:
            days = DayRange(*bounds)
            live, recorded = readable_days(connection, days, old, archive), recorded_days(connection, days)
            short = {d for (source, d), read in recorded.items() if live.get((source, d), SourceDay()).rows < read.rows}
            connection.execute(delete(rollup_days).where(rollup_days.c.row_day.not_in(short)))
            request_rollups(connection, {day: "the reporting zone changed" for day in days if day not in short})
        connection.execute(update(installation).values(reporting_timezone=zone.key))
        # Locks api_usage against writers until the end.
        connection.exec_driver_sql(reset_date_default(zone))
        connection.exec_driver_sql("SELECT monitoring.recount_openai_usage()")
