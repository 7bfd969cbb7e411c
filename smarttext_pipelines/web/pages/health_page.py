"""``/health``: what ``smarttext doctor`` says: whether the monitoring itself works."""

from collections import Counter

from sqlalchemy import Connection

from smarttext_pipelines.health.doctor import examine
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.web.view import Ask, Column, Page, Table, View

_TONES = {State.fail: "bad", State.warn: "look"}


def view(_connection: Connection, ask: Ask) -> View:
    """Return the doctor's lines; other companies' services are not asked, since anyone may reload a page."""
    report = examine(ask.settings, services=False, dagster=ask.settings.dagster_database_url is not None)
    states = Counter(line.state for line in report.lines)
    worst = next((state for state in (State.fail, State.warn) if states[state]), State.ok)
    return View(
        title="Health",
        headline=", ".join(f"{states[state]} {state}" for state in State if states[state]),
        tone=_TONES.get(worst, "good"),
        as_of=report.at,
        zone=ask.zone.key,
        tables=(
            Table(
                name="lines",
                title="What was looked at",
                columns=(
                    Column(key="name", label="What"),
                    Column(key="state", label="State"),
                    Column(key="said", label="Found"),
                    Column(key="todo", label="What to do"),
                ),
                rows=tuple(
                    {"name": line.name, "state": line.state.value, "said": line.said, "todo": line.todo}
                    for line in report.lines
                ),
            ),
        ),
    )


PAGE = Page("health", "/health", view, menu="Health")
