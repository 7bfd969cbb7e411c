"""``/businesses``: every business with its numbers of some days; the database searches, sorts and cuts into pages."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, text

from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.web.view import Ask, Cell, Column, Line, Page, Table, View

PAGE_SIZE = 50
_DAYS = 7
_SORTS = {
    "name": "business NULLS LAST",
    "missed": "missed DESC NULLS LAST",
    "never": "never DESC NULLS LAST",
    "texts": "texts DESC NULLS LAST",
    "failed": "failed DESC NULLS LAST",
    "tokens": "tokens DESC NULLS LAST",
    "usd": "openai_usd DESC NULLS LAST",
}
_ROWS = """
    SELECT b.name AS business, s.business_id, sum(s.calls_missed)::bigint AS missed,
           CASE WHEN bool_and(s.missed_calls_unreplied IS NOT NULL) THEN sum(s.missed_calls_unreplied)::bigint
               END AS never,
           sum(s.messages_sent)::bigint AS texts, sum(s.sms_success_count)::bigint AS ok,
           sum(s.sms_failure_count)::bigint AS failed,
           CASE WHEN bool_and(s.sms_delivered_count IS NOT NULL) THEN sum(s.sms_delivered_count)::bigint
               END AS delivered,
           CASE WHEN bool_and(s.sms_suppressed_count IS NOT NULL) THEN sum(s.sms_suppressed_count)::bigint
               END AS suppressed,
           sum(s.openai_tokens_used)::bigint AS tokens, sum(s.openai_cost_estimate) AS openai_usd,
           count(*) OVER () AS found
    FROM public.daily_stats AS s LEFT JOIN monitoring.business_names AS b ON b.id = s.business_id
    WHERE s.date BETWEEN :first AND :last AND (CAST(:like AS text) IS NULL OR b.name ILIKE :like)
    GROUP BY s.business_id, b.name ORDER BY {order}, s.business_id LIMIT :size OFFSET :skip
"""
_COLUMNS = (
    Column(key="business", label="Business", link="link"),
    Column(key="missed", label="Missed"),
    Column(key="never", label="Never answered"),
    Column(key="texts", label="Texts"),
    Column(key="failed", label="Failed"),
    Column(key="failed_percent", label="Failed", unit="percent"),
    Column(key="tokens", label="Tokens"),
    Column(key="openai_usd", label="OpenAI", unit="USD"),
)


def view(connection: Connection, ask: Ask) -> View:
    """Return one page of businesses."""
    days, page = ask.days(_DAYS), max(1, ask.number("page", 1))
    search, sort = ask.query.get("search", "").strip()[:100], ask.query.get("sort", "missed")
    sort = sort if sort in _SORTS else "missed"
    escaped = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    values = {
        "first": days.first,
        "last": days.last,
        "like": f"%{escaped}%" if search else None,
        "size": PAGE_SIZE,
        "skip": PAGE_SIZE * min(page - 1, 10_000),
    }
    found = connection.execute(text(_ROWS.format(order=_SORTS[sort])), values).mappings().all()
    if not found and page > 1:
        msg = f"there is no page {page}"
        raise InputError(msg)
    total = found[0]["found"] if found else 0
    state = {"from": days.first, "to": days.last, **({"search": search} if search else {})}
    links = [Line(text=f"by {name}", link=_at({**state, "sort": name}), tone="here" if name == sort else "")
             for name in _SORTS]  # fmt: skip
    if page > 1:
        links.append(Line(text="earlier page", link=_at({**state, "sort": sort, "page": page - 1})))
    if page * PAGE_SIZE < total:
        links.append(Line(text="next page", link=_at({**state, "sort": sort, "page": page + 1})))
    return View(
        title="Businesses",
        headline=f"{counted(total, 'business', 'businesses')} with events from {days.first} to {days.last}",
        as_of=ask.now,
        zone=ask.zone.key,
        note="Only days that were rolled up are summed; today's row is as of its last rollup.",
        links=tuple(links),
        tables=(
            Table(
                name="businesses",
                title=f"Businesses {PAGE_SIZE * (page - 1) + 1}–{min(PAGE_SIZE * page, total)} of {total:,}",
                columns=_COLUMNS,
                rows=tuple(_row(dict(row)) for row in found),
                empty="No business matches.",
            ),
        ),
    )


def _at(state: dict[str, object]) -> str:
    return f"/businesses?{urlencode(state)}"


def _row(row: Mapping[str, Any]) -> dict[str, Cell]:
    counts: dict[str, Any] = {key: row[key] or 0 for key in ("texts", "ok", "failed")}
    totals = Totals(**counts, delivered=row["delivered"], suppressed=row["suppressed"])
    return {
        **{key: row[key] for key in ("missed", "never", "texts", "failed", "tokens", "openai_usd")},
        "business": "(no business)" if row["business"] is None else shown_name(row["business"]),
        "link": f"/businesses/{row['business_id'] or 'none'}",
        "failed_percent": totals.failed_percent,
    }


PAGE = Page("businesses", "/businesses", view, menu="Businesses", topics=("rollup",))
