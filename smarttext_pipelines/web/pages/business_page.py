"""``/businesses/{business}``: one business: its days, why its texts failed, its OpenAI limit, its incidents."""

from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.incidents.review import count_open, list_incidents, past_incidents
from smarttext_pipelines.budgets.ledger import name_of, read_budgets
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.customers.robocallers import read_robocalls
from smarttext_pipelines.digest.robocall_figures import in_words, limits_of
from smarttext_pipelines.digest.totals import read_totals, summed
from smarttext_pipelines.web.budget_rows import budgets_table
from smarttext_pipelines.web.failure_rows import failures_table
from smarttext_pipelines.web.incident_rows import incidents_table
from smarttext_pipelines.web.robocall_rows import robocalls_table
from smarttext_pipelines.web.totals_view import by_day, charts, figures
from smarttext_pipelines.web.view import Ask, Line, Page, View

_DAYS = 30
_KNOWN = text("SELECT name FROM monitoring.business_names WHERE id = :id")


class BusinessView(View):
    """A business, and its id for what may be done with it."""

    business: UUID | None


def view(connection: Connection, ask: Ask) -> BusinessView:
    """Return a business; raise InputError when there is none of that id."""
    business = ask.business(ask.path["business"])
    if business is not None and connection.execute(_KNOWN, {"id": business}).first() is None:
        msg = f"there is no business {business}"
        raise InputError(msg)
    days = ask.days(_DAYS)
    found = read_totals(connection, days, business=business, unattributed=business is None)
    robocalls = read_robocalls(
        connection, days, limits_of(ask.settings), ask.zone, business=business, unattributed=business is None
    )
    latest = max(found, default=None)
    scope = f"business:{business or 'none'}"
    open_ones = count_open(connection, scope)
    total = sum(open_ones.values())
    incidents = list_incidents(connection, all_=False, scope=scope)
    past = past_incidents(connection, scope)
    whole = summed(list(found.values()))
    said = f"{days.first} to {days.last}: {whole.missed:,} calls missed, {whole.texts:,} texts, {whole.failed:,} failed"
    return BusinessView(
        title="(no business)" if business is None else shown_name(name_of(connection, business)),
        headline=said if found else f"No day from {days.first} to {days.last} was computed",
        tone="bad" if open_ones.get("critical") else "look" if total else "",
        as_of=ask.now,
        zone=ask.zone.key,
        business=business,
        note=f"The numbers above the charts are those of {latest}." if latest else "",
        figures=tuple(figures(found[latest], latest, ask.settings.reply_minutes, business)) if latest else (),
        lines=(Line(text=_sentence(in_words(found, robocalls, names=False))),) if found else (),
        tables=(
            incidents_table(incidents, ask.now, total=total),
            budgets_table(read_budgets(connection, business), ask.zone),
            *([failures_table(connection, days, business, is_all=False)] if found else []),
            by_day(found, days, is_of_all=False),
            *([robocalls_table(found, robocalls, business)] if robocalls.total.callers else []),
            incidents_table(past, ask.now, name="past", title="Past incidents", empty="There was none yet."),
        ),
        series=charts(found, days),
        links=(Line(text="Tokens a request", link=f"/spend/tokens?business={business}"),) if business else (),
    )


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


PAGE = Page("business", "/businesses/{business}", view, topics=("rollup", "incidents", "budgets"))
