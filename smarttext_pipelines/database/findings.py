"""The finding of a failed check: one sentence with numbers, a few rows, and the SQL that shows all of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.core.days import DayRange, day_end, day_start

MAX_ROWS = 20


@dataclass(frozen=True)
class Finding:
    """The finding of a failed check.

    Attributes:
        said: The finding in one sentence.
        rows: At most ``MAX_ROWS`` of the rows or days concerned.
        sql: Shows all of them; can be pasted as it is.
    """

    said: str
    rows: Sequence[Mapping[str, Any]]
    sql: str


def first_rows(connection: Connection, sql: str) -> Sequence[Mapping[str, Any]]:
    """Return the first rows that a statement without a limit of its own shows."""
    return [dict(row) for row in connection.execute(text(f"{sql}\nLIMIT {MAX_ROWS}")).mappings()]


def ranges(days: Iterable[date]) -> list[DayRange]:
    """Return the days as ranges without gaps, in order."""
    found: list[DayRange] = []
    for day in sorted(set(days)):
        if found and day - found[-1].last == timedelta(days=1):
            found[-1] = DayRange(found[-1].first, day)
        else:
            found.append(DayRange(day, day))
    return found


def date_phrase(first: date, last: date) -> str:
    """Return when something was, for a sentence."""
    return f"on {first}" if first == last else f"from {first} to {last}"


def on_days(column: str, days: Iterable[date]) -> str:
    """Return the condition that a date is one of the days."""
    parts = [
        f"{column} = '{r.first}'" if r.first == r.last else f"{column} BETWEEN '{r.first}' AND '{r.last}'"
        for r in ranges(days)
    ]
    return f"({' OR '.join(parts)})"


def at_times(column: str, days: Iterable[date], zone: ZoneInfo) -> str:
    """Return the condition that an instant is within one of the reporting days; it can use an index."""
    parts = [
        f"{column} >= '{day_start(r.first, zone):%Y-%m-%d %H:%M:%S}+00' "
        f"AND {column} < '{day_end(r.last, zone):%Y-%m-%d %H:%M:%S}+00'"
        for r in ranges(days)
    ]
    return f"({' OR '.join(parts)})"


def texts(*values: str) -> str:
    """Return trusted texts as a list of SQL literals."""
    return ", ".join(f"'{value}'" for value in values)
