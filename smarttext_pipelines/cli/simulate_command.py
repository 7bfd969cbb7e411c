"""``smarttext simulate``: sample events, as production writes them, into a database that is ours."""

import threading
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from sqlalchemy import func, select

from smarttext_pipelines.cli.options import parse_day
from smarttext_pipelines.cli.printing import telling
from smarttext_pipelines.core.days import FIRST_DAY
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected, describe, open_engine
from smarttext_pipelines.database.embedded import is_embedded
from smarttext_pipelines.launch.databases import databases
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.schema.tables.source_tables import sms_events
from smarttext_pipelines.settings import Settings, load_settings

_console = Console(highlight=False)


def simulate(
    *,
    days: Annotated[int, typer.Option("--days", min=1, help="Days of events.")] = 30,
    businesses: Annotated[int, typer.Option("--businesses", min=1)] = 40,
    events_per_day: Annotated[int, typer.Option("--events-per-day", min=1, help="Rows a day over all tables.")] = 3000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Same seed, same rows.")] = 7,
    end: Annotated[
        str | None, typer.Option("--end", metavar="YYYY-MM-DD", help="Last day; default today (UTC).")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Load nothing; go on as time goes by.")] = False,
    incident: Annotated[
        bool, typer.Option("--incident", help="With --follow: let texts of one business fail for three minutes.")
    ] = False,
    into_this_database: Annotated[
        bool, typer.Option("--into-this-database", help="Write into a database that is not the embedded one.")
    ] = False,
) -> None:
    """Write sample events."""
    settings = load_settings()
    now = datetime.now(UTC)
    last = parse_day(end) if end is not None else now.date()
    if last > now.date():
        msg = f"{last} is in the future; today is {now.date()} in UTC"
        raise InputError(msg)
    if days > (last - FIRST_DAY).days:
        msg = f"{days:,} days before {last} begin before {FIRST_DAY}; give fewer --days"
        raise InputError(msg)
    with databases(settings) as ready:
        url = _require_ours(ready, allowed=into_this_database)
        from smarttext_pipelines.sample import SampleSpec, load_sample
        from smarttext_pipelines.sample import follow as follow_sample

        until = _newest_event(url) or now if follow else now
        spec = SampleSpec(days, businesses, events_per_day, seed, last, until)
        if follow:
            if incident:
                from smarttext_pipelines.sample.demo import play_incident

                script = (url, _now, threading.Event().wait)
                threading.Thread(target=play_incident, args=script, daemon=True).start()
            follow_sample(url, spec, _now, threading.Event().wait)
            return
        columns = (TextColumn("sample events"), BarColumn(), MofNCompleteColumn(), TextColumn("days"))
        with telling("sample events"), Progress(*columns, console=_console) as progress:
            task = progress.add_task("load", total=days)
            rows = load_sample(url, spec, lambda _day, _rows: progress.advance(task))
        _console.print(", ".join(f"{name} {count:,}" for name, count in rows.items()))


def _now() -> datetime:
    return datetime.now(UTC)


def _require_ours(settings: Settings, *, allowed: bool) -> str:
    url = settings.database_url.get_secret_value()  # type: ignore[union-attr]
    engine = open_engine(url)
    require_installation(engine, settings.zone)
    with connected(engine) as connection:
        ours = is_embedded(connection, settings.data_dir)
    if not ours and not allowed:
        msg = f"{describe(engine.url)} is not the embedded database; to write there say --into-this-database"
        raise InputError(msg)
    return url


def _newest_event(url: str) -> datetime | None:
    with connected(open_engine(url)) as connection:
        return connection.execute(select(func.max(sms_events.c.created_at))).scalar()
