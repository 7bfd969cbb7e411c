"""Options that several commands share, and how their texts become values."""

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection, Text, cast, or_, select

from smarttext_pipelines.core.days import DayRange, day_of, require_day
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.schema.tables.source_tables import businesses
from smarttext_pipelines.settings import Settings

DateOption = Annotated[str | None, typer.Option("--date", metavar="YYYY-MM-DD", help="One reporting day.")]
FromOption = Annotated[str | None, typer.Option("--from", metavar="YYYY-MM-DD", help="First day of a range.")]
ToOption = Annotated[str | None, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day of a range.")]

BusinessOption = Annotated[str | None, typer.Option("--business", help="Id, name or part of a name.")]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

NOT_COMPUTED = 3
"""Exit code for numbers of a day that was not rolled up."""

UnattributedOption = Annotated[bool, typer.Option("--unattributed", help="What names no business.")]


def parse_day(text: str) -> date:
    """Return a date; raise InputError for an invalid one, and for days outside the supported range."""
    try:
        return require_day(date.fromisoformat(text))
    except ValueError:
        msg = f"'{text}' is no date; write it as 2026-01-31"
        raise InputError(msg) from None


def first_of_month(text: str) -> date:
    """Return the first day of a month; raise InputError for what is none."""
    try:
        return parse_day(f"{text}-01")
    except InputError:
        msg = f"'{text}' is no month; write it as 2026-01"
        raise InputError(msg) from None


def today(settings: Settings) -> date:
    """Return the reporting day that it is now."""
    return day_of(datetime.now(UTC), settings.zone)


def parse_days(
    settings: Settings,
    day: str | None,
    first: str | None,
    last: str | None,
    *,
    default: date,
    partitions_only: bool = True,
) -> DayRange:
    """Return the days that the options name.

    Raises:
        InputError: Both forms are used, or a date is invalid, in the future or before the first partition.
    """
    if day is not None and (first is not None or last is not None):
        msg = "use either --date or --from and --to"
        raise InputError(msg)
    if (first is None) != (last is None):
        msg = "--from and --to go together; give both, or --date for one day"
        raise InputError(msg)
    given = day if day is not None else first
    start = default if given is None else parse_day(given)
    days = DayRange(start, start if last is None else parse_day(last))
    if days.last > today(settings):
        msg = f"{days.last} is in the future; today is {today(settings)} in {settings.reporting_timezone}"
        raise InputError(msg)
    if partitions_only and days.first < settings.start_date:
        msg = f"{days.first} is before the first partition {settings.start_date}; set SMARTTEXT_START_DATE"
        raise InputError(msg)
    return days


def find_business(connection: Connection, text: str) -> UUID:
    """Return the business that a text names; raise InputError for none and for several."""
    if not text.strip():
        msg = "--business is empty; give an id, a name or a part of a name"
        raise InputError(msg)
    id_, name = businesses.c.id, businesses.c.name
    escaped = text.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
    found = connection.execute(
        select(id_, name)
        .where(or_(cast(id_, Text) == text.lower(), name.ilike(f"%{escaped}%")))
        .order_by(name)
        .limit(6)
    ).all()
    exact = [row for row in found if text.lower() in (row.name.lower(), str(row.id))]
    if len(exact) == 1 or len(found) == 1:
        return UUID(str((exact or found)[0].id))
    if not found:
        msg = f"no business is called '{text}' or has that id; `smarttext stats` lists those of a day"
        raise InputError(msg)
    names = ", ".join(shown_name(row.name) for row in found[:5])
    msg = f"'{text}' fits several businesses: {names}; give more of the name"
    raise InputError(msg)


def end_not_computed(days: Collection[date]) -> None:
    """Say which days have no numbers because they were not rolled up, and end with 3; nothing where there are none."""
    if days:
        first, last = min(days), max(days)
        what = str(first) if first == last else f"{len(days)} of the days from {first} to {last}"
        said = f"not rolled up: {what}; run `smarttext rollup --from {first} --to {last}`"
        typer.echo(said, err=True)
        raise typer.Exit(NOT_COMPUTED)


_LONGEST_NUMBER = 18


def is_number(text: str) -> bool:
    """Return whether it is a number that a row of the database can have."""
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER


def require_text(*options: tuple[str, str | None]) -> None:
    """Raise InputError for an option, given with its name, that is empty."""
    for name, value in options:
        if value is not None and not value.strip():
            msg = f"{name} is empty; give a value"
            raise InputError(msg)
