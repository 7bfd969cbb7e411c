"""Calls of likely robocallers by day, and the promise figures without them beside those with them. Pure."""

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from smarttext_pipelines.customers.robocallers import RobocallsOfDays
from smarttext_pipelines.digest.robocall_figures import without
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.web.view import Cell, Column, Table

_COLUMNS = (
    Column(key="day", label="Day"),
    Column(key="callers", label="Numbers"),
    Column(key="calls", label="Calls"),
    Column(key="texts", label="Texts to them"),
    Column(key="texts_usd", label="Texts, about", unit="USD"),
    Column(key="openai_usd", label="OpenAI", unit="USD"),
    Column(key="missed", label="Missed"),
    Column(key="missed_without", label="Missed without them"),
    Column(key="in_time_percent", label="In time", unit="percent"),
    Column(key="in_time_percent_without", label="In time without them", unit="percent"),
)


def robocalls_table(totals: Mapping[date, Totals], found: RobocallsOfDays, business: UUID | None) -> Table:
    """Return a row for each day with a likely robocaller or of which it is unknown, the newest first.

    Args:
        totals: Of the business by day.
        found: What likely robocallers did to it on these days.
        business: The business.
    """
    rows = [_row(day, totals[day], found, business) for day in sorted(totals, reverse=True)]
    return Table(
        name="robocallers",
        title="Likely robocallers",
        columns=_COLUMNS,
        rows=tuple(row for row in rows if row["callers"] != 0),
        empty="There was none.",
    )


def _row(day: date, totals: Totals, found: RobocallsOfDays, business: UUID | None) -> dict[str, Cell]:
    with_them: dict[str, Cell] = {"day": day, "missed": totals.missed, "in_time_percent": totals.in_time_percent}
    did = found.of(day, business)
    if did is None:
        return with_them | {"callers": None}
    rest = without(totals, did)
    return with_them | {
        "callers": did.callers,
        "calls": did.calls,
        "texts": did.texts,
        "texts_usd": did.texts_usd,
        "openai_usd": did.openai_usd,
        "missed_without": rest.missed,
        "in_time_percent_without": rest.in_time_percent,
    }
