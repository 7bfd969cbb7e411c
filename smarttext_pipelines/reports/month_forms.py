"""The forms of a report: HTML that is one file, text, JSON. Pure; Jinja escapes what comes from data."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from jinja2 import Template

from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.reports.month_view import WEEKDAYS, Report
from smarttext_pipelines.reports.report_form import ReportForm
from smarttext_pipelines.web.rendering import environment, shown_cell
from smarttext_pipelines.web.view import Figure

_STATES = ("in_time", "late", "never", "unknown")
_WIDTH, _HEIGHT, _GAP = 620, 110, 3


def in_report_form(report: Report, form: ReportForm) -> str:
    """Return a report in a form, with a line break at its end."""
    return _FORMS[form](report)


def stacked(report: Report) -> dict[str, Any]:
    """Return the bars of missed calls by day: for each its place, its parts from the ground up, or why it has none."""
    top = max([*(each.totals.missed for each in report.days if each.totals), 1])
    step = _WIDTH / max(len(report.days), 1)
    bars = []
    for place, each in enumerate(report.days):
        parts, ground = [], float(_HEIGHT)
        for state, count in _parts(each.totals):
            height = count / top * _HEIGHT
            ground -= height
            parts.append({"state": state, "y": round(ground, 1), "height": round(height, 1)})
        is_lacking = each.totals is None and not each.is_before
        bars.append({"day": each.day.day, "x": round(place * step, 1), "parts": parts, "is_lacking": is_lacking})
    return {"width": _WIDTH, "height": _HEIGHT, "bar": round(step - _GAP, 1), "top": top, "bars": bars}


def _parts(totals: Any) -> list[tuple[str, int]]:
    if totals is None:
        return []
    if totals.in_time is None:
        return [("unknown", totals.missed)]
    return [(state, getattr(totals, state)) for state in _STATES if getattr(totals, state)]


@cache
def _template() -> Template:
    found = environment("smarttext_pipelines.reports")
    found.globals |= {"stacked": stacked, "weekdays": WEEKDAYS}
    return found.get_template("month_report.html")


def _as_html(report: Report) -> str:
    counts = [count for row in report.hours if row for count in row]
    most, known = max(counts, default=0), sum(counts)
    missed = sum(each.missed for each in report.facts.totals.values())
    return _template().render(report=report, facts=report.facts, most=most, known=known, missed=missed) + "\n"


def _as_text(report: Report) -> str:
    lines = [report.title, "", report.headline]
    if report.unknown:
        lines += ["", "Not known", *(f"- {each}" for each in report.unknown)]
    for name, figures in report.figures.items():
        lines += ["", f"{name.capitalize()}{f' ({report.span})' if report.span else ''}", *map(_figure_line, figures)]
    lines += ["", "Missed calls by weekday and hour"]
    lines += [f"- {day}: {_hours_line(row)}" for day, row in zip(WEEKDAYS, report.hours, strict=True)]
    for name, told in (("Texts that failed", report.failures), ("What went wrong", report.incidents)):
        lines += ["", name, *(f"- {each.what}. {each.done}" for each in told)] if told else []
    if report.more_incidents:
        lines.append(f"- {counted(report.more_incidents, 'more incident')}")
    return "\n".join([*lines, "", _as_of(report)]) + "\n"


def _figure_line(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit and figure.value is not None else ""
    note = f" ({figure.note})" if figure.note else ""
    return f"- {figure.label}: {shown_cell(figure.value, figure.unit)}{unit}{note}"


def _hours_line(row: Sequence[int] | None) -> str:
    if row is None:
        return "unknown"
    return ", ".join(f"{hour:02}:00 {count:,}" for hour, count in enumerate(row) if count) or "none"


def _as_of(report: Report) -> str:
    facts = report.facts
    if facts.counted_at is None:
        return f"Times: {facts.month.zone.key}."
    return f"Counted {facts.counted_at.astimezone(facts.month.zone):%-d %B %Y, %H:%M}; times: {facts.month.zone.key}."


def _as_json(report: Report) -> str:
    facts = report.facts
    found = {
        "business_id": str(facts.business),
        "business": facts.name,
        "month": f"{facts.month.first:%Y-%m}",
        "zone": facts.month.zone.key,
        "is_over": facts.month.is_over,
        "counted_at": facts.counted_at,
        "headline": report.headline,
        "unknown": report.unknown,
        "days_told": len(facts.month.days),
        "days_counted": len(facts.totals),
        "figures": {each.name: each.value for figures in report.figures.values() for each in figures},
        "days": [_day(each.day, each.totals) for each in report.days],
        "missed_by_weekday_and_hour": dict(zip(WEEKDAYS, report.hours, strict=True)),
        "failures": [{"what": each.what, "who": each.done} for each in report.failures],
        "incidents": [{"what": each.what, "done": each.done} for each in report.incidents],
        "incidents_not_listed": report.more_incidents,
    }
    return json.dumps(found, indent=2, ensure_ascii=False, default=_for_machines) + "\n"


def _day(day: date, totals: Any) -> dict[str, Any]:
    names = ("calls", "missed", *_STATES, "received", "texts", "failed", "openai_usd")
    return {"day": day, **{name: getattr(totals, name, None) for name in names}}


def _for_machines(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


_FORMS: Mapping[ReportForm, Callable[[Report], str]] = {
    ReportForm.html: _as_html,
    ReportForm.text: _as_text,
    ReportForm.json: _as_json,
}
