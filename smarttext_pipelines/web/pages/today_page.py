"""``/``: today, live: who needs a human, whether customers were answered, what it costs, how fresh it is."""

from datetime import timedelta

from sqlalchemy import Connection

from smarttext_pipelines.alerting.incidents.review import count_open, list_incidents
from smarttext_pipelines.budgets.ledger import read_budgets
from smarttext_pipelines.budgets.month import read_month
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.digest.facts import read_refusals
from smarttext_pipelines.digest.totals import Totals, read_totals
from smarttext_pipelines.web.incident_rows import incidents_table
from smarttext_pipelines.web.live_today import LiveToday, read_live_today
from smarttext_pipelines.web.totals_view import charts, explain_link, figures, headline
from smarttext_pipelines.web.view import Ask, Column, Figure, Page, Table, View

_DAYS = 30
_NEEDING = 10
_NEAR_PERCENT = 80
_MAX_AGE = timedelta(minutes=15)


def view(connection: Connection, ask: Ask) -> View:
    """Return today as the sampler last saw it, else as it was rolled up."""
    today = ask.today
    days = DayRange(today - timedelta(days=_DAYS - 1), today)
    found = dict(read_totals(connection, days))
    live = read_live_today(connection, today)
    if live is not None and ask.now - live.as_of > _MAX_AGE:
        # It stands still, and the rollup knows more.
        live = None
    if live is not None:
        found[today] = live.totals
    totals = found.get(today)
    incidents = list_incidents(connection, all_=False)
    open_ones = count_open(connection)
    said, tone = headline(totals, open_ones)
    refused = read_refusals(connection, today)
    month = read_month(connection, today, is_over=False)
    spent = month.month_usd if month.days_missing < today.day else None
    numbers = figures(totals, today, ask.settings.reply_minutes) if totals else []
    numbers += [
        Figure(name="refused", label="OpenAI requests refused by the guard", value=sum(refused.values()),
               note=", ".join(f"{reason} {count:,}" for reason, count in refused.items()), link="/spend",
               tone="look" if refused else ""),
        Figure(name="month_usd", label="Spent this month, until now", value=spent, unit="USD", link="/spend",
               note=f"{month.days_missing} days not rolled up" if month.days_missing else ""),
    ]  # fmt: skip
    return View(
        title="Today",
        headline=said,
        tone=tone,
        as_of=live.as_of if live else ask.now,
        zone=ask.zone.key,
        note=_freshness(live, totals),
        figures=tuple(numbers),
        tables=(
            incidents_table(incidents, ask.now, total=sum(open_ones.values())),
            _needing(connection, ask, live),
            _sources(live),
        ),
        series=charts(found, days),
    )


def _freshness(live: LiveToday | None, totals: Totals | None) -> str:
    if live is not None:
        return "Counted from the events as they come in; today is not over, so compare it with nothing."
    if totals is not None:
        return "As of the last rollup; nothing samples today's events: start `smarttext up` or `smarttext sampler`."
    return "Today was not computed yet: its numbers are unknown."


def _needing(connection: Connection, ask: Ask, live: LiveToday | None) -> Table:
    """Return whose callers were left without a text, and who is about to reach a limit of OpenAI."""
    rows = []
    for each in live.unanswered[:_NEEDING] if live else ():
        link = explain_link("missed_calls_unreplied", ask.today, each.business_id)
        rows.append(
            {
                "business": each.business,
                "business_link": f"/businesses/{each.business_id}" if each.business_id else None,
                "why": f"{each.unreplied:,} of {each.missed:,} callers without a text",
                "why_link": link,
            }
        )
    for use in read_budgets(connection):
        if use.percent is not None and use.percent >= _NEAR_PERCENT:
            until = f"; reached at {use.reached_at.astimezone(ask.zone):%H:%M}" if use.reached_at else ""
            rows.append(
                {
                    "business": shown_name(use.business),
                    "business_link": f"/businesses/{use.business_id}" if use.business_id else None,
                    "why": f"{use.percent:.0f} % of today's OpenAI limit used{until}",
                    "why_link": "/spend",
                }
            )
    return Table(
        name="needing",
        title="Businesses that need someone",
        columns=(
            Column(key="business", label="Business", link="business_link"),
            Column(key="why", label="Why", link="why_link"),
        ),
        rows=tuple(rows),
        empty="No business is known to need someone.",
    )


def _sources(live: LiveToday | None) -> Table:
    rows = tuple({"source": name, "newest": at} for name, at in live.newest.items()) if live else ()
    return Table(
        name="sources",
        title="Newest row of each source",
        columns=(Column(key="source", label="Source"), Column(key="newest", label="Newest row")),
        rows=rows,
        empty="Unknown: today's events are not sampled.",
    )


PAGE = Page("today", "/", view, menu="Today", topics=("today", "incidents", "budgets", "rollup"))
