"""What a process must know of a database before it reads or writes: revision, zone, pooler."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, select, text

from smarttext_pipelines.core.errors import SchemaError, SettingsError
from smarttext_pipelines.storage.connect import connected, describe
from smarttext_pipelines.storage.pooler import refuse_transaction_pooler
from smarttext_pipelines.storage.schema.internal import installation

HEAD = "0016"
"""Newest revision; a test holds it to Alembic's own answer."""

_REVISION = text("SELECT to_regclass('monitoring.alembic_version') IS NOT NULL")
_INSTALLED = text("SELECT to_regclass('monitoring.installation') IS NOT NULL")
_EVENT_DAYS = text(
    """
    SELECT min(at), max(at) FROM (
        SELECT min(created_at), max(created_at) FROM public.sms_events
        WHERE created_at BETWEEN '0002-01-01' AND '9990-01-01'
        UNION ALL SELECT min(ts), max(ts) FROM public.call_events
        WHERE ts BETWEEN '0002-01-01' AND '9990-01-01'
        UNION ALL SELECT min(created_at), max(created_at) FROM public.api_usage
        WHERE created_at BETWEEN '0002-01-01' AND '9990-01-01'
        UNION ALL SELECT min(created_at), max(created_at) FROM public.owner_alerts
        WHERE created_at BETWEEN '0002-01-01' AND '9990-01-01'
    ) AS spans (oldest, newest), LATERAL (VALUES (oldest), (newest)) AS ends (at)
    """
)


@dataclass(frozen=True)
class EventSpan:
    """Reporting days of the first and of the last event of any source."""

    first: date
    last: date


def revision(connection: Connection) -> str | None:
    """Return the revision of the database, or None when nothing was ever migrated."""
    if not connection.execute(_REVISION).scalar():
        return None
    return connection.execute(text("SELECT version_num FROM monitoring.alembic_version")).scalar()


def require_installation(engine: Engine, zone: ZoneInfo) -> None:
    """Raise one clear error when this database cannot be worked with as the settings say."""
    refuse_transaction_pooler(engine)
    with connected(engine) as connection:
        found = revision(connection)
        if found != HEAD:
            state = "was never migrated" if found is None else f"is at revision {found}, this version needs {HEAD}"
            msg = f"{describe(engine.url)} {state}; run `smarttext migrate`"
            raise SchemaError(msg)
        require_zone(connection, zone)


def stored_zone(connection: Connection) -> str | None:
    """Return the zone the database reports in, or None before a first migration has come to its end."""
    if not connection.execute(_INSTALLED).scalar():
        return None
    return connection.execute(select(installation.c.reporting_timezone)).scalar()


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
    """Return the days between which there are events, or None when there are none."""
    oldest, newest = connection.execute(_EVENT_DAYS).one()
    return EventSpan(_day(oldest, zone), _day(newest, zone)) if oldest else None


def _day(at: datetime, zone: ZoneInfo) -> date:
    return at.astimezone(zone).date()
