"""``/spend/tokens``: tokens of an OpenAI request by week, and requests that lead to no customer, as ``budgets tokens``.

Requests are read row by row, so the page is not kept up to date by itself.
"""

from dataclasses import asdict
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.budgets.ledger import name_of
from smarttext_pipelines.budgets.request_tokens import TokensOfRequests, monday, read_request_tokens, usual_days
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.rates import percent
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.web.view import Ask, Column, Line, Page, Table, View

_MOST = 50
_MAY_READ = text(
    "SELECT has_table_privilege('monitoring.api_usage', 'SELECT')"
    " AND has_table_privilege('monitoring.archive_segments', 'SELECT')"
)
_TITLE = "Tokens a request"


def view(connection: Connection, ask: Ask) -> View:
    """Return the percentiles of some weeks, of one business where the address names one."""
    given = ask.query.get("business", "")
    business = ask.business(given) if given and given != "none" else None
    usual = usual_days(ask.today)
    days = ask.days(len(usual)) if {"from", "to"} & {*ask.query} else usual
    frame = {"as_of": ask.now, "zone": ask.zone.key, "title": _TITLE}
    if not connection.scalar(_MAY_READ):
        return View(headline="Unknown here: the role of this dashboard may not read requests", **frame)
    found = read_request_tokens(connection, days, ask.zone, business=business, by_business=True, most=_MOST)
    return View(
        headline=f"{days.first} to {days.last}" + (f", {_name(connection, business)}" if business else ""),
        note="; ".join(_unknown(found)),
        tables=(_percentiles(found), _without_customer(found)),
        links=(Line(text="Spend", link="/spend"),),
        **frame,
    )


def _name(connection: Connection, business: UUID) -> str:
    return shown_name(name_of(connection, business))


def _unknown(found: TokensOfRequests) -> list[str]:
    """Return what is not known of the days."""
    said = []
    if found.archived_days:
        weeks = counted(len({monday(day) for day in found.archived_days}), "week")
        said.append(f"p50 and p95 are unknown for {weeks}: requests of {found.archived_days[0]} … "
                    f"{found.archived_days[-1]} are in the archive")  # fmt: skip
    if found.days_without_customers:
        said.append(f"{found.days_without_customers} of {len(found.days)} days were not rolled up by customer")
    return said


def _percentiles(found: TokensOfRequests) -> Table:
    return Table(
        name="tokens",
        title=f"By week, business, model and endpoint, the first {_MOST} by tokens",
        columns=(
            Column(key="week", label="Week of"),
            Column(key="business", label="Business", link="link"),
            Column(key="model", label="Model", none="(none)"),
            Column(key="endpoint", label="Endpoint", none="(none)"),
            Column(key="requests", label="Requests"),
            Column(key="without_tokens", label="Without tokens"),
            Column(key="tokens", label="Tokens"),
            Column(key="p50", label="p50", none="–"),
            Column(key="p95", label="p95", none="–"),
        ),
        rows=tuple(
            {
                **asdict(each),
                "business": shown_name(each.business),
                "link": f"/businesses/{each.business_id or 'none'}",
            }
            for each in found.rows
        ),
        empty="There was no request.",
    )


def _without_customer(found: TokensOfRequests) -> Table:
    return Table(
        name="without_customer",
        title="Requests that lead to no customer",
        columns=(
            Column(key="week", label="Week of"),
            Column(key="business", label="Business", link="link"),
            Column(key="requests", label="Requests"),
            Column(key="without_customer", label="No customer"),
            Column(key="percent", label="Share", unit="percent"),
        ),
        rows=tuple(
            {
                **asdict(each),
                "business": "(no business)" if each.business is None else shown_name(each.business),
                "percent": percent(each.without_customer, each.requests),
                "link": f"/businesses/{each.business_id or 'none'}",
            }
            for each in found.attributed
        ),
        empty="There was no request.",
    )


PAGE = Page("request_tokens", "/spend/tokens", view)
