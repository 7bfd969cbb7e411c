"""``smarttext lake``: what the event lake holds, days written into it, every file read back."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from smarttext_pipelines.archive.target import ArchiveTarget, without_credentials
from smarttext_pipelines.cli.options import JsonOption, parse_day
from smarttext_pipelines.cli.printing import print_json, print_rows, say, telling
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.lake.lake_target import LakeTarget, require_lake
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

app = typer.Typer(help="Daily copies of the events as Parquet, for engines that read files.", no_args_is_help=True)


@app.command()
def status(
    *,
    files: Annotated[bool, typer.Option("--files", help="Every file with its URL, for other readers.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the lake holds, table by table."""
    with _opened() as (settings, engine, lake):
        from smarttext_pipelines.lake.lake_check import read_status
        from smarttext_pipelines.lake.lake_manifest import find_files

        with connected(engine) as connection, connection.begin():
            found = find_files(connection) if files else []
            rows = [
                {"table": f.table_name, "day": f"{f.day}", "url": _url(settings, f.key), "rows": f.rows or 0}
                for f in found
                if f.key is not None
            ]
            rows = rows if files else read_status(connection)
    if as_json:
        print_json(rows)
    elif not rows:
        say(f"nothing is exported yet; files go to {lake.name}")
    else:
        print_rows(rows, title=lake.name, right=("files", "rows", "bytes"))


@app.command()
def export(
    *,
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day (UTC).")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day (UTC).")],
    table: Annotated[str | None, typer.Option("--table", help="One table; default all four.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also days whose file is current, but damaged.")] = False,
) -> None:
    """Write the days whose file is missing or no longer holds every row; leave the others alone."""
    days = DayRange(parse_day(first), parse_day(last))
    today = datetime.now(UTC).date()
    if days.last > today:
        msg = f"{days.last} is in the future; today is {today} in UTC"
        raise InputError(msg)
    with _opened() as (settings, engine, lake):
        from smarttext_pipelines.archive.columns import TIME_COLUMNS
        from smarttext_pipelines.lake.export import export_days, raise_failures
        from smarttext_pipelines.lake.lake_day import Places

        tables = (table,) if table else tuple(TIME_COLUMNS)
        with telling("exporting"):
            places = Places(lake, ArchiveTarget(settings.archive_location))
            results = export_days(engine, places, days, tables=tables, again=again)
        written = [r for r in results if not r.failure]
        if written:
            of = sum(r.rows for r in written)
            say(f"{counted(of, 'row')} in {counted(len(written), 'file')} of {days} written to {lake.name}")
        elif not results:
            say(f"every file of {days} is current")
        raise_failures(results)


@app.command()
def verify(*, as_json: JsonOption = False) -> None:
    """Read every file back and compare its bytes and rows with the manifest. Exit code 1: one differs."""
    with _opened() as (_settings, engine, lake):
        from smarttext_pipelines.lake.lake_check import verify_lake

        with telling("verifying"):
            results = verify_lake(engine, lake)
    failed = [r for r in results if r.failure]
    if as_json:
        print_json({"verified_files": len(results),
                    "different": [{"file": each.file.title, "why": each.failure} for each in failed]})  # fmt: skip
        raise typer.Exit(1 if failed else 0)
    for each in failed:
        say(f"{each.file.title}: {each.failure}", stderr=True)
    if failed:
        first, last = (pick(each.file.day for each in failed) for pick in (min, max))
        todo = f"write their days again with `smarttext lake export --from {first} --to {last} --again`"
        say(f"{len(failed)} of {counted(len(results), 'file')} differ; {todo}", stderr=True)
        raise typer.Exit(1)
    is_one = len(results) == 1
    say(f"{counted(len(results), 'file')} {'is as it was' if is_one else 'are as they were'} written")


@contextmanager
def _opened() -> "Iterator[tuple[Settings, Engine, LakeTarget]]":
    settings = load_settings()
    with event_database(settings) as (ready, engine):
        yield ready, engine, require_lake(ready)


def _url(settings: Settings, key: str) -> str:
    return f"{without_credentials(settings.lake_spark_location or '').rstrip('/')}/{key}"
