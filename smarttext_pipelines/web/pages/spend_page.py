"""``/spend``: the month to date, what it is expected to be, by service, model and business; today's budgets."""

from calendar import monthrange
from datetime import date

from sqlalchemy import Connection, text

from smarttext_pipelines.budgets.ledger import read_budgets
from smarttext_pipelines.budgets.month import read_month
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.digest.totals import read_totals
from smarttext_pipelines.web.bill_rows import bill_tables
from smarttext_pipelines.web.budget_rows import budgets_table
from smarttext_pipelines.web.totals_view import charts
from smarttext_pipelines.web.view import Ask, Column, Figure, Line, Page, Table, View

_WITHIN = "WHERE s.day BETWEEN :first AND :last"
_MODELS = text(
    f"""
    SELECT s.service, coalesce(s.model, '(none)') AS model, sum(s.request_count)::bigint AS requests,
           sum(s.tokens_used)::bigint AS tokens, sum(s.cost_usd) AS usd,
           sum(s.unpriced_requests)::bigint AS unpriced, sum(s.unpriced_cost_upper_usd) AS upper_usd
    FROM monitoring.spend AS s {_WITHIN} GROUP BY s.service, s.model ORDER BY usd DESC, s.service, model LIMIT 100
    """  # noqa: S608 - a constant
)
_BUSINESSES = text(
    f"""
    SELECT b.name AS business, s.business_id, sum(s.request_count)::bigint AS requests,
           sum(s.tokens_used)::bigint AS tokens, sum(s.cost_usd) AS usd
    FROM monitoring.spend AS s LEFT JOIN monitoring.business_names AS b ON b.id = s.business_id
    {_WITHIN} GROUP BY s.business_id, b.name ORDER BY usd DESC, business, s.business_id LIMIT 50
    """  # noqa: S608 - a constant
)

_NOBODYS = text(
    """
    WITH known AS (
        SELECT row_day AS day FROM monitoring.rollup_days
        WHERE table_name = 'customer_days' AND rolled_up_at IS NOT NULL AND row_day BETWEEN :first AND :last
    )
    SELECT (SELECT count(*) FROM known) AS days,
           (SELECT coalesce(sum(s.request_count), 0)::bigint FROM monitoring.spend AS s JOIN known USING (day)
            WHERE s.service = 'openai') AS requests,
           (SELECT coalesce(sum(c.openai_requests), 0)::bigint FROM monitoring.customer_days AS c JOIN known USING (day)
            WHERE c.customer_key IS NULL) AS without_customer
    """
)


def view(connection: Connection, ask: Ask) -> View:
    """Return the month of a day; default is today's."""
    last = ask.day(ask.today)
    if last != ask.today:
        # A month of the past is shown whole.
        last = min(ask.today, last.replace(day=monthrange(last.year, last.month)[1]))
    days = DayRange(last.replace(day=1), last)
    month = read_month(connection, last, is_over=last < ask.today)
    values = {"first": days.first, "last": days.last}
    is_known = month.days_missing < len(days)
    said = f"{month.month_usd:,.2f} USD from {days.first} to {days.last}"
    unpriced = f"{month.unpriced_requests:,} requests without a price are not in it" if month.unpriced_requests else ""
    missing = f"{month.days_missing} of {len(days)} days were not rolled up" if month.days_missing else ""
    return View(
        title="Spend",
        headline=said if is_known else f"No day from {days.first} to {days.last} was computed",
        as_of=ask.now,
        zone=ask.zone.key,
        note="; ".join(part for part in (missing, unpriced) if part),
        figures=(
            Figure(name="month_usd", label="This month", value=month.month_usd if is_known else None, unit="USD"),
            Figure(name="expected_usd", label="Expected at the month's end", value=month.expected_usd, unit="USD",
                   note="" if month.expected_usd is not None else "unknown while a day is missing or not over"),
            _of_nobody(connection, days),
            Figure(name="unpriced", label="Requests without a price", value=month.unpriced_requests,
                   tone="look" if month.unpriced_requests else ""),
        ),
        tables=(
            budgets_table(read_budgets(connection), ask.zone),
            _by_model(connection, values),
            _by_business(connection, values),
            *bill_tables(connection, days),
        ),
        series=charts(read_totals(connection, days), days)[2:],
        links=(Line(text="Tokens a request, by week", link="/spend/tokens"),),
    )  # fmt: skip


def _of_nobody(connection: Connection, days: DayRange) -> Figure:
    found = connection.execute(_NOBODYS, {"first": days.first, "last": days.last}).one()
    of = f"of {found.requests:,}"
    return Figure(
        name="without_customer",
        label="OpenAI requests that lead to no customer",
        value=found.without_customer if found.days else None,
        note=of if found.days == len(days) else f"{of}; {found.days} of {len(days)} days were rolled up by customer",
    )


def _by_model(connection: Connection, values: dict[str, date]) -> Table:
    return Table(
        name="models",
        title="By service and model",
        columns=(
            Column(key="service", label="Service"),
            Column(key="model", label="Model"),
            Column(key="requests", label="Requests"),
            Column(key="tokens", label="Tokens"),
            Column(key="usd", label="Cost", unit="USD"),
            Column(key="unpriced", label="Without a price"),
            Column(key="upper_usd", label="These at most", unit="USD"),
        ),
        rows=tuple(dict(row) for row in connection.execute(_MODELS, values).mappings()),
        empty="Nothing was spent.",
    )


def _by_business(connection: Connection, values: dict[str, date]) -> Table:
    return Table(
        name="businesses",
        title="By business, the first 50",
        columns=(
            Column(key="business", label="Business", link="link"),
            Column(key="requests", label="Requests"),
            Column(key="tokens", label="Tokens"),
            Column(key="usd", label="Cost", unit="USD"),
        ),
        rows=tuple(
            {
                **row,
                "business": "(no business)" if row["business"] is None else shown_name(row["business"]),
                "link": f"/businesses/{row['business_id'] or 'none'}",
            }
            for row in connection.execute(_BUSINESSES, values).mappings()
        ),
        empty="Nothing was spent.",
    )


PAGE = Page("spend", "/spend", view, menu="Spend", topics=("rollup", "budgets"))
