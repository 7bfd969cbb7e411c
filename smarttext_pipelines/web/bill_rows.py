"""What OpenAI charges beside what was recorded, by its days, and by project and line item."""

from sqlalchemy import Connection, text

from smarttext_pipelines.billing import BilledDay, read_billed
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.web.view import Cell, Column, Table

_ITEMS = text(
    """
    SELECT coalesce(project_id, '(none)') AS project, coalesce(line_item, '(none)') AS item, currency,
           sum(amount) AS amount, count(DISTINCT day)::bigint AS days
    FROM monitoring.openai_costs WHERE day BETWEEN :first AND :last
    GROUP BY project_id, line_item, currency ORDER BY abs(sum(amount)) DESC, project, item, currency LIMIT 100
    """
)
_DAYS = (
    Column(key="day", label="Day (UTC)"),
    Column(key="billed_usd", label="OpenAI charges", unit="USD"),
    Column(key="recorded_usd", label="Recorded", unit="USD"),
    Column(key="unexplained_usd", label="Unexplained", unit="USD"),
    Column(key="unpriced", label="Without a price"),
    Column(key="others", label="Other currencies", none="none"),
)
_LINES = (
    Column(key="project", label="Project"),
    Column(key="item", label="Line item"),
    Column(key="currency", label="Currency"),
    Column(key="amount", label="OpenAI charges"),
    Column(key="days", label="Days"),
)


def bill_tables(connection: Connection, days: DayRange) -> tuple[Table, ...]:
    """Return OpenAI's bill by day, and by line item where there is one; the days are taken as days in UTC."""
    found = read_billed(connection, days)
    by_day = Table(
        name="openai_bill",
        title="OpenAI's own costs, the newest first",
        columns=_DAYS,
        rows=tuple(_row(each) for each in reversed(found)),
        empty="OpenAI was not asked for its costs of these days.",
    )
    if not any(each.billed for each in found):
        return (by_day,)
    rows = connection.execute(_ITEMS, {"first": days.first, "last": days.last}).mappings()
    named = tuple({**row, "project": shown(row["project"]), "item": shown(row["item"])} for row in rows)
    return by_day, Table(name="openai_items", title="By line of OpenAI's invoice", columns=_LINES, rows=named)


def _row(each: BilledDay) -> dict[str, Cell]:
    return {
        "day": each.day,
        "billed_usd": each.billed_usd,
        "recorded_usd": each.recorded_usd,
        "unexplained_usd": each.unexplained_usd,
        "unpriced": each.unpriced_requests,
        "others": each.other_currencies or None,
    }
