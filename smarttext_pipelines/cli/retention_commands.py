"""``smarttext retention``: archive and delete, look, restore, verify."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from smarttext_pipelines.archive.manifest import UNDATED, name_day
from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.cli.options import JsonOption, parse_day
from smarttext_pipelines.cli.printing import print_cells, print_json, table_console, telling
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError, SettingsError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.embedded import is_embedded
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.retention.policy import require_days
from smarttext_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from smarttext_pipelines.retention.run import DayDone, DayPlanned, Retention

app = typer.Typer(help="Archive old events, delete only what was read back, restore it.", no_args_is_help=True)

DaysOption = Annotated[
    int | None, typer.Option("--days", min=1, help="Days that rows stay; default SMARTTEXT_RETENTION_DAYS.")
]
UndatedOption = Annotated[
    bool, typer.Option("--undated", help="The rows that no day has, whose time is missing or out of reach.")
]
TableOption = Annotated[str | None, typer.Option("--table", help="One table; default all four.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would happen; change nothing.")]


@app.command()
def run(
    *,
    days: DaysOption = None,
    table: TableOption = None,
    undated: UndatedOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Archive days that are old enough, and delete them once their files were read back."""
    if undated and days is not None:
        msg = "use either --undated or --days: rows without a day have no age"
        raise InputError(msg)
    with opened() as (settings, engine, archive):
        from smarttext_pipelines.retention.run import archive_days, plan, raise_failures

        retention = _retention(settings, days, table, undated=undated)
        nothing = "every row has a day" if undated else "no day is old enough"
        _require_place(settings, engine)
        if dry_run:
            planned = plan(engine, archive, retention)
            _print_plan(planned, nothing)
            raise_failures(planned)
            return
        with telling("retention"), progress() as bars:
            bar = bars.add_task("archiving")
            results = archive_days(
                engine,
                archive,
                retention,
                done=lambda _day: bars.advance(bar),
                begun=lambda number: bars.update(bar, total=number),
            )
        _print_days(results, "archived and deleted", nothing)
        raise_failures(results)


def cleanup(*, days: DaysOption = None, dry_run: DryRunOption = False) -> None:
    """Archive and delete old days; has the name of the old cron script."""
    run(days=days, table=None, undated=False, dry_run=dry_run)


@app.command()
def status(*, as_json: JsonOption = False) -> None:
    """Show what is archived, table by table."""
    with opened() as (settings, engine, archive):
        from smarttext_pipelines.retention.status import read_status

        with connected(engine) as connection:
            lines = read_status(connection)
        if not lines:
            nothing = f"nothing is archived yet; {_place(settings, engine, archive)}"
            print_json([]) if as_json else _say(nothing)
            return
        names = ("table", "state", "days", "files", "rows", "bytes", "from", "to", "failures")
        cells = [[cell if isinstance(cell, int) else str(cell or "undated") for cell in line] for line in lines]
        if as_json:
            print_json([dict(zip(names, line, strict=True)) for line in cells])
            return
        print_cells(names, cells, title=archive.name)


@app.command()
def restore(
    *,
    table: Annotated[str, typer.Option("--table", help="Table to restore.")],
    first: Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First day (UTC).")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day (UTC).")] = None,
    undated: UndatedOption = False,
    hold_days: Annotated[int, typer.Option("--hold-days", min=1, help="Days before they may be archived again.")] = 30,
) -> None:
    """Put archived rows back into their table, exactly as they were."""
    days = _days_to_restore(first, last, undated=undated)
    require_days(hold_days)
    with opened() as (_settings, engine, archive):
        from smarttext_pipelines.retention.restore import restore as restore_days

        with telling("retention"), progress() as bars:
            bar = bars.add_task("restoring", total=None)
            results = restore_days(
                engine, archive, table, days, hold_days=hold_days, done=lambda _day: bars.advance(bar)
            )
        if not results:
            _say(
                f"nothing to restore: no archived row of {table}, {'undated' if undated else days}, is missing from its"
                " table; see `smarttext retention status`"
            )
            return
        rows, there = sum(r.rows for r in results), sum(r.rows_already_live for r in results)
        _say(
            f"{counted(rows, 'row')} of {counted(len(results), 'day')} of {table} {'is' if rows == 1 else 'are'} live"
            f" again; {there:,} {'was' if there == 1 else 'were'} there already"
        )


@app.command()
def verify(*, as_json: JsonOption = False) -> None:
    """Hash every file of the archive, and compare its rows with the manifest."""
    with opened() as (_settings, engine, archive):
        from smarttext_pipelines.retention.manifest_check import raise_damage, scrub

        with telling("retention"), progress() as bars:
            bar = bars.add_task("verifying")
            results = scrub(
                engine,
                archive,
                begun=lambda number: bars.update(bar, total=number),
                done=lambda: bars.advance(bar),
            )
        raise_damage(results)
        if as_json:
            print_json({"verified_files": len(results)})
            return
        if not results:
            _say("nothing is archived yet")
            return
        is_one = len(results) == 1
        _say(f"{counted(len(results), 'file')} {'is as it was' if is_one else 'are as they were'} verified")


@contextmanager
def opened() -> "Iterator[tuple[Settings, Engine, ArchiveTarget]]":
    """Give settings with every database URL set, an engine, and the archive."""
    with event_database(load_settings()) as (ready, engine):
        yield ready, engine, ArchiveTarget(ready.archive_location)


def _days_to_restore(first: str | None, last: str | None, *, undated: bool) -> DayRange:
    if undated == (first is not None or last is not None) or (first is None) != (last is None):
        msg = "say what to restore: --from and --to, or --undated"
        raise InputError(msg)
    return DayRange(parse_day(first), parse_day(last)) if first and last else DayRange(UNDATED, UNDATED)


def _retention(settings: Settings, days: int | None, table: str | None, *, undated: bool) -> "Retention":
    from smarttext_pipelines.archive.columns import TIME_COLUMNS
    from smarttext_pipelines.retention.run import Retention

    tables = (table,) if table else tuple(TIME_COLUMNS)
    stay = days or settings.retention_days
    return Retention(settings.zone, settings.settle_days, stay, deletes=True, tables=tables, undated=undated)


def _lacks_place(settings: Settings, engine: "Engine") -> bool:
    """Return whether a folder of this machine would silently become the only holder of another database's rows."""
    if settings.archive_url is not None:
        return False
    with connected(engine) as connection:
        return not is_embedded(connection, settings.data_dir)


def _require_place(settings: Settings, engine: "Engine") -> None:
    if _lacks_place(settings, engine):
        msg = "set SMARTTEXT_ARCHIVE_URL to a directory or bucket first: it will be the only holder of these rows"
        raise SettingsError(msg)


def _place(settings: Settings, engine: "Engine", archive: ArchiveTarget) -> str:
    advice = "; set SMARTTEXT_ARCHIVE_URL before anything is deleted" if _lacks_place(settings, engine) else ""
    return f"files go to {archive.name}{advice}"


def _say(what: str) -> None:
    table_console().print(what, soft_wrap=True)


def progress() -> Progress:
    """Return a bar on standard error, which a terminal shows."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    # Without a terminal it would leave an empty line.
    return Progress(*columns, console=console, transient=True, disable=not console.is_interactive)


def _print_days(results: "list[DayDone]", title: str, nothing: str) -> None:
    if not results:
        _say(nothing)
        return
    names = ("table", "day", "rows live", "archived", "deleted", "bytes", "stays", "why")
    cells = [
        (r.table, name_day(r.day), r.rows_live, r.rows_archived, r.rows_deleted, r.bytes, r.rows_left,
         r.failure or r.waits or "")
        for r in results
    ]  # fmt: skip
    print_cells(names, cells, title=title)


def _print_plan(planned: "list[DayPlanned]", nothing: str) -> None:
    if not planned:
        _say(nothing)
        return
    names = ("table", "day", "rows live", "archived and deleted", "stays", "why")
    cells = [(p.table, name_day(p.day), p.rows_live, p.rows, p.rows_left, p.failure or p.waits or "") for p in planned]
    print_cells(names, cells, title="would be archived and deleted")
