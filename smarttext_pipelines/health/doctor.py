"""The verdict: all lines in the order in which they break each other. Never raises, changes nothing, sends nothing.

``smarttext doctor`` prints it; ``heartbeat_sensor`` lets it decide whether the switch outside is told; the receiver's
``/healthz`` and ``/readyz`` answer with its summary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from smarttext_pipelines.core.display import shown
from smarttext_pipelines.core.errors import DatabaseError, SmartTextError
from smarttext_pipelines.database.connect import connected, describe, open_engine
from smarttext_pipelines.health import database_lines, probes
from smarttext_pipelines.health.application_lines import application_checks, unreadable
from smarttext_pipelines.health.customer_keys_line import customer_keys
from smarttext_pipelines.health.dagster_storage import dagster_lines
from smarttext_pipelines.health.freshness import read_traffic
from smarttext_pipelines.health.lake_line import lake
from smarttext_pipelines.health.rights_lines import access
from smarttext_pipelines.health.service_lines import disk, service_lines
from smarttext_pipelines.health.verdicts import Line, State, exit_code, judge_traffic
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.schema.migrate import find_drift
from smarttext_pipelines.schema.preflight import find_obstacles
from smarttext_pipelines.settings import Settings

_OK_STATUS, _FAIL_STATUS = 200, 503
_LONGEST = 4000
_LOOK = "SET statement_timeout = '15s'", "SET default_transaction_read_only = on"


@dataclass(frozen=True)
class Report:
    """All lines, and when they were true."""

    at: datetime
    lines: list[Line]

    @property
    def exit_code(self) -> int:
        """0 when all is well, 1 when something should be looked at, 2 when something does not work."""
        return exit_code(self.lines)

    @property
    def http_status(self) -> int:
        """503 when something does not work, else 200."""
        return _FAIL_STATUS if self.exit_code == 2 else _OK_STATUS

    def as_json(self) -> dict[str, Any]:
        """Return the report for machines."""
        lines = [asdict(line) for line in self.lines]
        return {"at": self.at.isoformat(), "exit_code": self.exit_code, "lines": lines}

    def as_summary(self) -> dict[str, Any]:
        """Return what may be told to anyone: which lines are how, not what was found."""
        states = {line.name: line.state for line in self.lines}
        return {"at": self.at.isoformat(), "exit_code": self.exit_code, "lines": states}


def examine(settings: Settings, *, services: bool = True, dagster: bool = True, anew: bool = False) -> Report:
    """Look at everything once.

    Args:
        settings: Where everything is; without a database URL, its line says so.
        services: Whether other companies' services are asked, too.
        dagster: Whether Dagster's storage is looked at; what runs in Dagster knows that it is there.
        anew: Whether rows are tried even if they were in the last quarter of an hour, and OpenAI is asked now.
    """
    now = datetime.now(UTC)
    lines = _events(settings, now, anew=anew)
    if dagster:
        lines += _dagster(settings)
    lines += _guarded("disk", lambda: disk(settings.data_dir))
    if services:
        lines += service_lines(settings, anew=anew)
    return _report(now, lines)


def examine_application(settings: Settings) -> Report:
    """Look only at what the application must do to be measured well, from the last seven days of events."""
    now = datetime.now(UTC)
    line, engine = _database(settings)
    if engine is None:
        return _report(now, [line])
    lines = _each(engine, [("application", unreadable)])
    return _report(now, lines or _each(engine, application_checks(now, settings.zone)))


def readiness(settings: Settings) -> Report:
    """Look only at what a request needs: the database, migrated. For ``/readyz``."""
    line, _ = _database(settings)
    return Report(datetime.now(UTC), [line])


def _report(now: datetime, lines: list[Line]) -> Report:
    return Report(now, [Line(x.name, x.state, shown(x.said, _LONGEST), shown(x.todo, _LONGEST)) for x in lines])


def _database(settings: Settings) -> tuple[Line, Engine | None]:
    if settings.database_url is None:
        todo = "set SMARTTEXT_DATABASE_URL, or start the embedded server with `smarttext up`"
        return Line("database", State.fail, "not configured, and no embedded server runs", todo), None
    try:
        engine = open_engine(settings.database_url.get_secret_value())
        require_installation(engine, settings.zone)
    except SmartTextError as error:
        return Line("database", State.fail, str(error), "every other line depends on it"), None
    return Line("database", State.ok, f"{describe(engine.url)} is reached, migrated, and no transaction pooler"), engine


def _events(settings: Settings, now: datetime, *, anew: bool) -> list[Line]:
    line, engine = _database(settings)
    if engine is None:
        return [line]
    checks: list[tuple[str, Callable[[Connection], Line | list[Line]]]] = [
        ("access", access),
        ("clock", database_lines.clock),
        ("sources", lambda c: [judge_traffic(t, now) for t in read_traffic(c, now, settings.zone)]),
        ("daily_stats", lambda c: database_lines.daily_stats(c, settings.zone, now, settings.start_date)),
        ("heartbeats", lambda c: database_lines.heartbeats(c, now)),
        ("alert rules", database_lines.alert_rules),
        ("checks", database_lines.checks),
        ("sampler", lambda c: database_lines.sampler(c, now, is_expected=settings.web_url is not None)),
        ("outbox", database_lines.outbox),
        ("dead notifications", database_lines.dead_notifications),
        ("tracking", database_lines.tracking),
        ("guardrail", database_lines.guardrail),
        ("unbooked usage", database_lines.unbooked),
        ("archive", database_lines.archive),
        ("lake", lambda c: lake(c, settings, now)),
        ("customer keys", lambda c: customer_keys(c, settings)),
        ("old cron scripts", database_lines.old_scripts),
    ]
    return [
        line,
        *_guarded("schema", lambda: _schema(engine)),
        *_guarded("source tables", lambda: _source_tables(engine, settings)),
        *_guarded(probes.NAME, lambda: probes.table_rows(engine, anew=anew)),
        *_each(engine, checks),
    ]


def _schema(engine: Engine) -> Line:
    drift = find_drift(engine)
    if drift:
        return Line("schema", State.fail, "; ".join(drift[:5]), "run `smarttext migrate --check`, then `migrate`")
    return Line("schema", State.ok, "as this version expects")


def _source_tables(engine: Engine, settings: Settings) -> Line:
    with _looking(engine) as connection:
        findings = find_obstacles(connection, settings.zone)
    said = "; ".join(findings.notes) or "as this version declares them"
    return Line("source tables", State.ok, said)


def _dagster(settings: Settings) -> list[Line]:
    if settings.dagster_database_url is None:
        todo = "set SMARTTEXT_DAGSTER_DATABASE_URL, or start the embedded server with `smarttext up`"
        return [Line("dagster", State.fail, "its storage is not configured, and no embedded server runs", todo)]
    engine = open_engine(settings.dagster_database_url.get_secret_value())
    return _each(engine, [("dagster", dagster_lines)])


def _each(engine: Engine, checks: list[tuple[str, Callable[[Connection], Line | list[Line]]]]) -> list[Line]:
    """Run checks over one connection; one that fails is a line, and the next goes on."""
    lines: list[Line] = []
    try:
        with _looking(engine) as connection:
            for name, check in checks:
                lines += _guarded(name, lambda check=check: check(connection))  # type: ignore[misc]
                connection.rollback()
    except DatabaseError as error:
        lines.append(Line(checks[len(lines) % len(checks)][0], State.fail, str(error), "see that PostgreSQL runs"))
    return lines


@contextmanager
def _looking(engine: Engine) -> Iterator[Connection]:
    with connected(engine) as connection:
        for statement in _LOOK:
            connection.execute(text(statement))
        connection.commit()
        yield connection


def _guarded(name: str, check: Callable[[], Line | list[Line]]) -> list[Line]:
    try:
        found = check()
    except (SmartTextError, SQLAlchemyError, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        return [Line(name, State.fail, f"cannot be looked at: {said}", "see the line of the database")]
    return found if isinstance(found, list) else [found]
