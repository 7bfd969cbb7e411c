"""Incidents and silences as tables. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.health.verdicts import shortly
from smarttext_pipelines.web.view import Cell, Column, Table

_COLUMNS = (
    Column(key="incident", label="Incident", link="incident_link"),
    Column(key="severity", label="Severity"),
    Column(key="rule", label="Rule"),
    Column(key="whom", label="Whom", link="whom_link"),
    Column(key="counted", label="Counted"),
    Column(key="since", label="Since"),
    Column(key="lasted", label="For"),
    Column(key="who", label="Who has it", none="–"),
    Column(key="suppressed", label="Suppressed by", none="–"),
)


def whom(row: Mapping[str, Any]) -> str:
    """Return the name of a business, or of a sender its number, which is the company's own."""
    return str(row["whom"]) if row["whom"].startswith("sender +") else shown_name(row["whom"])


def counted_of(row: Mapping[str, Any]) -> str:
    """Return k of n; empty where the rule counts nothing."""
    return "" if row["part"] is None else f"{_amount(row['part'])} of {_amount(row['whole'])}"


def _amount(value: Any) -> str:
    return f"{value.normalize():,f}" if value is not None else "?"


def incidents_table(
    rows: Sequence[Mapping[str, Any]],
    now: datetime,
    *,
    name: str = "open",
    title: str = "Open incidents",
    empty: str = "None is open.",
    total: int = 0,
) -> Table:
    """Return incidents as ``smarttext alerts list`` shows them; where there are more, the title says so."""
    if total > len(rows):
        title = f"{title}, the first {len(rows):,} of {total:,}"
    shown: list[dict[str, Cell]] = [
        {
            "incident": f"INC-{row['id']}",
            "incident_link": f"/incidents/{row['id']}",
            "severity": f"{row['severity']} {row['state']}",
            "rule": row["rule"],
            "whom": whom(row),
            "whom_link": f"/businesses/{row['scope'].split(':')[1]}" if row["scope"].startswith("business:") else None,
            "counted": counted_of(row),
            "since": row["since"],
            "lasted": shortly((row["resolved_at"] or now) - row["since"]),
            "who": row["acknowledged_by"],
            "suppressed": row["silenced_by"] or row["held_by"],
        }
        for row in rows
    ]
    # What nobody has and nothing suppresses is no news: an empty column only makes the others narrow.
    columns = tuple(c for c in _COLUMNS if c.key not in ("who", "suppressed") or any(row[c.key] for row in shown))
    return Table(name=name, title=title, columns=columns, rows=tuple(shown), empty=empty)


def silences_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return silences as ``smarttext alerts silences`` shows them."""
    keys = {"silence": "Silence", "rule": "Rule", "scope": "Scope", "author": "By", "reason": "Why", "ends_at": "Until"}
    return Table(
        name="silences",
        title="Silences",
        columns=tuple(Column(key=key, label=label) for key, label in keys.items()),
        rows=tuple({key: row[key] for key in keys} for row in rows),
        empty="Nothing is silenced.",
    )
