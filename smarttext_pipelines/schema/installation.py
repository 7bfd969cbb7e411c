"""What a process must know of a database before it reads or writes: revision, zone, pooler."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, select, text

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, day_end, day_start
from smarttext_pipelines.core.errors import SchemaError, SettingsError
from smarttext_pipelines.database.connect import connected, describe
from smarttext_pipelines.database.pooler import refuse_transaction_pooler
from smarttext_pipelines.schema.revisions import newest_revision, refuse_newer
from smarttext_pipelines.schema.tables.internal import installation

_REVISION = text("SELECT to_regclass('monitoring.alembic_version') IS NOT NULL")
_INSTALLED = text("SELECT to_regclass('monitoring.installation') IS NOT NULL")
_EVENT_DAYS = text(
    """
    SELECT min(at), max(at) FROM (
        SELECT min(created_at), max(created_at) FROM monitoring.sms_events
        WHERE created_at >= :start AND created_at < :end
        UNION ALL SELECT min(ts), max(ts) FROM monitoring.call_events WHERE ts >= :start AND ts < :end
        UNION ALL SELECT min(created_at), max(created_at) FROM monitoring.api_usage
        WHERE created_at >= :start AND created_at < :end
        UNION ALL SELECT min(created_at), max(created_at) FROM monitoring.owner_alerts
        WHERE created_at >= :start AND created_at < :end
    ) AS spans (oldest, newest), LATERAL (VALUES (oldest), (newest)) AS ends (at)
    """
)


@dataclass(frozen=True)
class EventSpan:
    """Reporting days of the first and of the last event of any source, among those that can be rolled up."""

    first: date
    last: date


def revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None if it was never migrated."""
    if not connection.execute(_REVISION).scalar():
        return None
    return connection.execute(text("SELECT version_num FROM monitoring.alembic_version")).scalar()


def require_installation(engine: Engine, zone: ZoneInfo) -> None:
    """Raise one clear error if this database cannot be used with these settings."""
    refuse_transaction_pooler(engine)
    with connected(engine) as connection:
        found = revision(connection)
        refuse_newer(describe(engine.url), found)
        if found != newest_revision():
            needed = newest_revision()
            state = "was never migrated" if found is None else f"is at revision {found}, this version needs {needed}"
            state = "was put back to the application" if is_put_back(connection) else state
            msg = f"{describe(engine.url)} {state}; run `smarttext migrate`"
            raise SchemaError(msg)
        require_zone(connection, zone)


def stored_zone(connection: Connection) -> str | None:
    """Return the zone the database reports in, or None before a first migration has completed."""
    if not connection.execute(_INSTALLED).scalar():
        return None
    return connection.execute(select(installation.c.reporting_timezone)).scalar()


def is_put_back(connection: Connection) -> bool:
    """Return whether the database was put back to the application, and ``monitoring`` was kept."""
    return revision(connection) is None and stored_zone(connection) is not None


def counts_usage_by_time(connection: Connection) -> bool:
    """Return whether ``created_at`` says the reporting day of usage: where ``reset_date`` holds another zone's days."""
    t = installation.c
    return bool(connection.execute(select(t.reset_date_zone != t.reporting_timezone)).scalar())


def require_zone(connection: Connection, zone: ZoneInfo) -> None:
    """Raise SettingsError when the database reports in another zone than the setting says."""
    stored = stored_zone(connection)
    if stored is None:
        msg = "the first migration of this database has not come to its end; run `smarttext migrate` again"
        raise SchemaError(msg)
    if stored != zone.key:
        message = (
            f"this database reports in {stored}, SMARTTEXT_REPORTING_TIMEZONE says {zone.key}; set it to {stored}, "
            f"or run `smarttext change-zone {zone.key}`, which recomputes every day"
        )
        raise SettingsError(message)


def event_span(connection: Connection, zone: ZoneInfo) -> EventSpan | None:
    """Return the first and last day with events that can be rolled up, or None if there are none."""
    bounds = {"start": day_start(FIRST_DAY, zone), "end": day_end(LAST_DAY, zone)}
    oldest, newest = connection.execute(_EVENT_DAYS, bounds).one()
    return EventSpan(_day(oldest, zone), _day(newest, zone)) if oldest else None


def _day(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()
