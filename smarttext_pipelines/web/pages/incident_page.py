"""``/incidents/{number}``: one incident: what was counted, who was notified, what to do; acknowledge and silence."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from smarttext_pipelines.alerting.incidents import review
from smarttext_pipelines.alerting.incidents.counted_rows import counted_rows
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.alerting.rules.runbook_text import read_runbook
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.explain.masked_span import masked_engine
from smarttext_pipelines.web.incident_rows import counted_of, whom
from smarttext_pipelines.web.view import Ask, Cell, Column, Figure, Line, Page, Table, View

_ROWS = 200


class IncidentView(View):
    """An incident with its runbook, and what may be done with it."""

    number: int
    is_open: bool
    runbook: str


def view(connection: Connection, ask: Ask) -> IncidentView:
    """Return an incident; raise InputError when there is none of that number."""
    number = ask.number("number")
    found = review.find_incident(connection, number)
    rules = load_rules(ask.settings.alert_rules)
    notices = review.why(connection, number).notices
    counted = counted_rows(connection, number, rules, Place.of(ask.settings), masked_engine)
    is_open = found["state"] in ("firing", "recovering")
    message = review.last_message(connection, number) or {}
    return IncidentView(
        title=f"INC-{number}",
        headline=_said(message, found),
        tone={"critical": "bad", "warning": "look"}.get(found["severity"], "") if is_open else "good",
        as_of=ask.now,
        zone=ask.zone.key,
        number=number,
        is_open=is_open,
        runbook=read_runbook(rules.get(found["rule"]), found["rule"]),
        figures=_figures(found),
        lines=tuple(Line(text=str(text)) for text in (*_lines_of(message), counted.said) if text),
        tables=(_notices(notices), as_table("rows", "Rows that the rule counted", counted.rows[:_ROWS])),
    )


def _figures(found: Mapping[str, Any]) -> tuple[Figure, ...]:
    business = found["scope"].removeprefix("business:")
    link = f"/businesses/{business}" if business != found["scope"] else ""
    facts: list[tuple[str, str, Cell, str]] = [
        ("state", "State", f"{found['severity']} {found['state']}", ""),
        ("whom", "Whom", whom(found), link),
        ("counted", "Counted", counted_of(found) or None, ""),
        ("since", "Since", found["since"], ""),
        ("resolved", "Resolved", found["resolved_at"], ""),
        ("reason", "Why it is over", found["reason"], ""),
        ("acknowledged", "Who has it", found["acknowledged_by"], ""),
        ("suppressed", "Suppressed by", found["silenced_by"] or found["held_by"], ""),
    ]
    return tuple(Figure(name=n, label=label, value=v, link=at) for n, label, v, at in facts if v not in (None, ""))


def _lines_of(message: Mapping[str, Any]) -> Sequence[str]:
    """Return the sentences of the last notice, as the outbox keeps them."""
    step = message.get("next_step")
    return [*message.get("lines", ()), f"Next step: {step}" if step else "", message.get("certainty", "")]


def _said(message: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    if not message.get("headline"):
        return f"{found['rule']}: {whom(found)}"
    return f"{shown_name(message['subject'])}: {message['headline']}" if message.get("subject") else message["headline"]


def _notices(rows: Sequence[Mapping[str, Any]]) -> Table:
    keys = {
        "no": "No.", "kind": "Notification", "channel": "Channel", "recipient": "To", "status": "Status",
        "tries": "Tries", "created_at": "Created", "finished_at": "Done", "note": "Note",
    }  # fmt: skip
    return Table(
        name="notifications",
        title="Who was notified",
        columns=tuple(Column(key=key, label=label, none="–") for key, label in keys.items()),
        rows=tuple({key: row[key] for key in keys} for row in rows),
        empty="Nobody was notified.",
    )


def as_table(name: str, title: str, rows: Sequence[Mapping[str, Any]], empty: str = "No row of events.") -> Table:
    """Return rows of any columns as a table; lists are written as text."""
    keys = list(rows[0]) if rows else []
    cells = tuple({key: _cell(row.get(key)) for key in keys} for row in rows)
    columns = tuple(Column(key=key, label=key.replace("_", " "), none="–") for key in keys)
    return Table(name=name, title=title, columns=columns, rows=cells, empty=empty)


def _cell(value: Any) -> Cell:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


PAGE = Page("incident", "/incidents/{number}", view, topics=("incidents",))
