"""``/delivery``: what became of texts, by status, sender and code, and how much of it is known."""

from sqlalchemy import Connection, text

from smarttext_pipelines.core.rates import percent
from smarttext_pipelines.digest.totals import read_totals, summed
from smarttext_pipelines.web.failure_rows import failures_table
from smarttext_pipelines.web.totals_view import by_day, charts
from smarttext_pipelines.web.view import Ask, Column, Figure, Page, Table, View

_DAYS = 7
_STATUSES = text(
    """
    SELECT status_class AS class, status, audience, sum(message_count)::bigint AS texts FROM monitoring.sms_outcomes
    WHERE day BETWEEN :first AND :last GROUP BY status_class, status, audience HAVING sum(message_count) > 0
    ORDER BY texts DESC, status, audience
    """
)
_SENDERS = text(
    """
    SELECT coalesce(sender, '(none)') AS sender, sum(message_count)::bigint AS texts,
           coalesce(sum(message_count) FILTER (WHERE status_class = 'successful'), 0)::bigint AS ok,
           coalesce(sum(message_count) FILTER (WHERE status_class = 'failed'), 0)::bigint AS failed
    FROM monitoring.sms_outcomes WHERE day BETWEEN :first AND :last GROUP BY sender
    HAVING sum(message_count) > 0 ORDER BY failed DESC, texts DESC, sender LIMIT 50
    """
)


def view(connection: Connection, ask: Ask) -> View:
    """Return the outcomes of some days."""
    days = ask.days(_DAYS)
    found = read_totals(connection, days)
    if not found:
        return View(
            title="Delivery",
            headline=f"No day from {days.first} to {days.last} was computed",
            as_of=ask.now,
            zone=ask.zone.key,
            tables=(by_day(found, days),),
        )
    whole = summed(list(found.values()))
    values = {"first": days.first, "last": days.last}
    missing = len(days) - len(found)
    senders = [
        {**row, "failed_percent": percent(row["failed"], row["ok"] + row["failed"])}
        for row in connection.execute(_SENDERS, values).mappings()
    ]
    return View(
        title="Delivery",
        headline=f"{whole.texts:,} texts from {days.first} to {days.last}, {whole.failed:,} failed",
        as_of=ask.now,
        zone=ask.zone.key,
        note=f"{missing} of {len(days)} days were not rolled up; they are not in the sums." if missing else "",
        figures=(
            Figure(name="texts", label="Texts sent", value=whole.texts),
            Figure(name="ok", label="Succeeded", value=whole.ok),
            Figure(name="failed", label="Failed", value=whole.failed, note=f"of {whole.decided:,} with an outcome"),
            Figure(name="failed_percent", label="Failure rate", value=whole.failed_percent, unit="percent"),
            Figure(name="known_percent", label="Outcomes known", value=whole.known_percent, unit="percent"),
            Figure(name="suppressed", label="Suppressed", value=whole.suppressed),
        ),
        tables=(
            failures_table(connection, days, None, is_all=True),
            Table(
                name="statuses",
                title="By status",
                columns=tuple(
                    Column(key=key, label=key.capitalize()) for key in ("class", "status", "audience", "texts")
                ),
                rows=tuple(dict(row) for row in connection.execute(_STATUSES, values).mappings()),
            ),
            Table(
                name="senders",
                title="By sender",
                columns=(
                    Column(key="sender", label="Sender"),
                    Column(key="texts", label="Texts"),
                    Column(key="ok", label="Succeeded"),
                    Column(key="failed", label="Failed"),
                    Column(key="failed_percent", label="Failed", unit="percent"),
                ),
                rows=tuple(senders),
            ),
            by_day(found, days),
        ),
        series=charts(found, days)[1:2],
    )


PAGE = Page("delivery", "/delivery", view, menu="Delivery", topics=("rollup",))
