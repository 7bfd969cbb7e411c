"""What ``smarttext up`` does to the event database before anything is served.

The embedded one is made ready: migrated, filled with sample events if it is empty, rolled up. Any other one is
read and never written to.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from rich.console import Console
from sqlalchemy import exists, select

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.connect import connected, open_engine, parse_url
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.launch.processes import Child, ChildEndedError, Children
from smarttext_pipelines.schema.installation import event_span, require_installation
from smarttext_pipelines.schema.tables import SOURCE_TABLES
from smarttext_pipelines.settings import Settings

CLI = "smarttext_pipelines.cli"
SAMPLE = {"days": "30", "businesses": "40", "events-per-day": "3000", "seed": "7"}
_DAYS_BACK = 30
_SAMPLE_MARK = "sample.json"


@contextmanager
def step(console: Console, doing: str) -> Iterator[None]:
    """Show what is being done, and how long it took."""
    begun = time.monotonic()
    with console.status(f"{doing} …"):
        yield
    console.print(f"[green]✓[/green] {doing} [dim]{time.monotonic() - begun:.1f} s[/dim]")


def prepare_embedded(console: Console, children: Children, settings: Settings, url: str, today: date) -> None:
    """Migrate the embedded event database, load the sample if it is empty, roll up what is not rolled up."""
    with step(console, "Schema brought up to date"):
        children.run("migrate", [CLI, "migrate", "--yes"])
    if _is_empty(url):
        with step(console, f"{SAMPLE['days']} days of sample events loaded"):
            children.run("simulate", [CLI, "simulate", *_sample_options()])
        _mark(settings.data_dir).write_text(json.dumps(SAMPLE))
    first = _first_incomplete_day(url, settings, today)
    if first:
        with step(console, f"Days from {first} to {today} rolled up"):
            children.run("rollup", [CLI, "rollup", "--from", str(first), "--to", str(today)])


def first_sample_day(settings: Settings, url: str) -> date | None:
    """Return the day that the sample begins with; None where the events are not the sample's."""
    if not _mark(settings.data_dir).exists():
        return None
    with connected(open_engine(url)) as connection:
        span = event_span(connection, settings.zone)
    return span.first if span else None


def require_ready(console: Console, settings: Settings, url: str) -> None:
    """Check that an event database that is not ours was migrated; raise SmartTextError that names the command."""
    with step(console, "Revision of the event database checked"):
        require_installation(open_engine(url), settings.zone)


def require_embedded_server(settings: Settings, ready: Settings) -> None:
    """Raise ChildEndedError when the embedded server is used (``settings`` lack a URL) and listens no more."""
    fields = ("database_url", "dagster_database_url")
    urls = [getattr(ready, field).get_secret_value() for field in fields if getattr(settings, field) is None]
    for url in map(parse_url, urls[:1]):
        try:
            socket.create_connection((url.host, url.port), timeout=5).close()
        except OSError as error:
            message = f"PostgreSQL has ended ({error.strerror}): see {settings.data_dir / 'logs' / 'postgres.log'}"
            raise ChildEndedError(message) from None


def follow_sample(children: Children, settings: Settings) -> Child | None:
    """Keep sample events coming in, if the events are those that were loaded here."""
    if not _mark(settings.data_dir).exists():
        return None
    return children.start("follow", [CLI, "simulate", "--follow", "--incident", *_sample_options()], grace=3)


def _sample_options() -> list[str]:
    return [part for name, value in SAMPLE.items() for part in (f"--{name}", value)]


def _mark(data_dir: Path) -> Path:
    return data_dir / _SAMPLE_MARK


def _is_empty(url: str) -> bool:
    with connected(open_engine(url)) as connection:
        found = connection.execute(select(*(exists(select(1).select_from(table)) for table in SOURCE_TABLES))).one()
    return not any(found)


def _first_incomplete_day(url: str, settings: Settings, today: date) -> date | None:
    """Return the first of the last days, today left out, that is not completely rolled up."""
    first = max(today - timedelta(days=_DAYS_BACK), settings.start_date)
    if first >= today:
        return None
    days = DayRange(first, today - timedelta(days=1))
    with connected(open_engine(url)) as connection:
        complete = complete_days(connection, days, settings.zone)
    return next((day for day in days if day not in complete), None)
