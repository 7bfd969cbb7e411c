"""``/incidents``: what is open, what was, what is silenced."""

from sqlalchemy import Connection

from smarttext_pipelines.alerting.incidents.review import (
    count_open,
    list_incidents,
    past_incidents,
    rule_states,
    silences,
)
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.web.incident_rows import incidents_table, silences_table
from smarttext_pipelines.web.view import Ask, Column, Page, Table, View


def view(connection: Connection, ask: Ask) -> View:
    """Return the incidents, the open ones first, the silences, and rules that are not evaluated."""
    by_severity = count_open(connection)
    total = sum(by_severity.values())
    states = [row for row in rule_states(connection) if row["verdict"] not in ("ok", "breach")]
    return View(
        title="Incidents",
        headline=f"{counted(total, 'incident')} open" if total else "No incident is open",
        tone="bad" if by_severity.get("critical") else "look" if total else "good",
        as_of=ask.now,
        zone=ask.zone.key,
        tables=(
            incidents_table(list_incidents(connection, all_=False), ask.now, total=total),
            silences_table(silences(connection, all_=False)),
            Table(
                name="rules",
                title="Rules without a verdict",
                columns=(
                    Column(key="rule", label="Rule"),
                    Column(key="verdict", label="Verdict"),
                    Column(key="note", label="Why"),
                ),
                rows=tuple({key: row[key] for key in ("rule", "verdict", "note")} for row in states),
                empty="Every rule was evaluated.",
            ),
            incidents_table(
                past_incidents(connection), ask.now, name="past", title="Past", empty="There was none yet."
            ),
        ),
    )


PAGE = Page("incidents", "/incidents", view, menu="Incidents", topics=("incidents",))
