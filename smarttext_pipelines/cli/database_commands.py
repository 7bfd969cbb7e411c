"""``smarttext up``, ``migrate`` and ``change-zone``: what concerns a whole database."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.cli.rights_table import YesOption, agreement
from smarttext_pipelines.cli.up_command import up
from smarttext_pipelines.core.days import day_of
from smarttext_pipelines.core.errors import DatabaseError, InputError
from smarttext_pipelines.database.connect import connected, describe, open_engine
from smarttext_pipelines.launch.databases import databases
from smarttext_pipelines.schema.public_state import VIEWS
from smarttext_pipelines.settings import Settings, load_settings

__all__ = ["change_zone", "migrate", "up"]

_console = Console(highlight=False, soft_wrap=True)


def migrate(
    *,
    sql: Annotated[
        bool,
        typer.Option(
            "--sql", help="Print what is missing as a script instead of running it; without a database all of it."
        ),
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Compare the database with the schema; change nothing.")
    ] = False,
    roles: Annotated[
        bool, typer.Option("--roles", help="Also make roles with least privilege, without login; see SECURITY.md.")
    ] = False,
    yes: YesOption = False,
    down: Annotated[
        bool, typer.Option("--down-to-application", help="Put back what adopting changed; no event row is touched.")
    ] = False,
    drop_monitoring: Annotated[
        bool, typer.Option("--drop-monitoring", help="With --down-to-application: drop the schema monitoring, too.")
    ] = False,
) -> None:
    """Bring the database to the newest schema; adopts a database that already holds the tables.

    Changes to objects of others are shown in one table and need your agreement.
    """
    from smarttext_pipelines.schema import migrate as migration

    settings = load_settings()
    if down or drop_monitoring:
        _require_alone(down=down, others=check or roles)
        _go_down(settings, sql=sql, yes=yes, drop_monitoring=drop_monitoring)
        return
    if sql:
        typer.echo(_script(settings, with_roles=roles))
        return
    with databases(settings, create=not check) as ready:
        engine = open_engine(_url(ready))
        if check:
            drift = migration.find_drift(engine)
            if drift:
                msg = f"{describe(engine.url)}: {'; '.join(drift)}"
                raise DatabaseError(msg)
            _console.print(f"{describe(engine.url)} is as this version expects it")
            return
        notes = migration.migrate(engine, ready.zone, agree=agreement(yes=yes), with_roles=roles)
        _console.print(f"{describe(engine.url)} is migrated; reporting days are those of {ready.reporting_timezone}")
        for note in notes:
            _console.print(f"note: {note}")
        _tell_what_to_run(ready)


def _require_alone(*, down: bool, others: bool) -> None:
    if not down or others:
        msg = "use --drop-monitoring with --down-to-application, which goes with --sql and --yes only"
        raise InputError(msg)


def _go_down(settings: Settings, *, sql: bool, yes: bool, drop_monitoring: bool) -> None:
    from smarttext_pipelines.schema.adoption.take_off import down_sql, down_to_application
    from smarttext_pipelines.schema.migrate import LOCK_TIMEOUT

    with databases(settings, create=False) as ready:
        engine = open_engine(_url(ready))
        if sql:
            typer.echo(down_sql(engine, lock_timeout=LOCK_TIMEOUT, drop_monitoring=drop_monitoring))
            return
        fate = "is dropped for good" if drop_monitoring else "stays; the next `smarttext migrate` goes on with it"
        agree = agreement(yes=yes, then=f"The schema monitoring {fate}. Stop `smarttext up` before you agree.")
        down_to_application(engine, agree, lock_timeout=LOCK_TIMEOUT, drop_monitoring=drop_monitoring)
        _console.print(f"{describe(engine.url)} is the application's as it was found; no event row was touched")


def _script(settings: Settings, *, with_roles: bool) -> str:
    from smarttext_pipelines.schema.script import migration_sql

    if settings.database_url is None:
        return migration_sql(settings.zone, with_roles=with_roles)
    engine = open_engine(_url(settings))
    try:
        with connected(engine):
            pass
    except DatabaseError as error:
        return f"-- {error}\n{migration_sql(settings.zone, with_roles=with_roles)}"
    return migration_sql(settings.zone, engine, with_roles=with_roles)


def change_zone(
    zone: Annotated[str, typer.Argument(help="IANA zone, such as America/New_York.")],
) -> None:
    """Report in another time zone from now on, and say which days to recompute."""
    from smarttext_pipelines.core.days import load_zone
    from smarttext_pipelines.rollup.zone import change_reporting_zone

    new = load_zone(zone)
    with databases(load_settings()) as ready:
        change_reporting_zone(open_engine(_url(ready)), new, ArchiveTarget(ready.archive_location))
        _console.print(f"reporting days are now those of {zone}; set SMARTTEXT_REPORTING_TIMEZONE={zone} everywhere")
        _tell_what_to_run(ready.model_copy(update={"reporting_timezone": zone}))


def _tell_what_to_run(settings: Settings) -> None:
    from smarttext_pipelines.schema.installation import event_span

    with connected(open_engine(_url(settings))) as connection:
        span = event_span(connection, settings.zone)
    if span is None:
        _console.print("there are no events yet")
        return
    first, last = max(span.first, settings.start_date), min(span.last, day_of(datetime.now(UTC), settings.zone))
    until = f"; {', '.join(VIEWS)} are empty for days that were never rolled up; roll them up with"
    _console.print(f"events from {span.first} to {span.last}" + (until if first <= last else ""))
    if first <= last:
        _console.print(f"  smarttext rollup --from {first} --to {last}")
    if span.first < settings.start_date:
        _console.print(f"  (days before {settings.start_date} need SMARTTEXT_START_DATE={span.first})")


def _url(settings: Settings) -> str:
    if settings.database_url is None:
        msg = "SMARTTEXT_DATABASE_URL is not set; set it to the address of the application's database"
        raise InputError(msg)
    return settings.database_url.get_secret_value()
