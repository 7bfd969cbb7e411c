"""``/explain/…``: the rows behind a number, a text or a call; telephone numbers are masked."""

from sqlalchemy import Connection

from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.explain import Reading, explain_call, explain_message
from smarttext_pipelines.explain.column import Scope, explain_scope, window_of
from smarttext_pipelines.web.pages.incident_page import as_table
from smarttext_pipelines.web.totals_view import ANYBODY
from smarttext_pipelines.web.view import Ask, Line, Page, View

MAX_ROWS = 500


def column_view(connection: Connection, ask: Ask) -> View:
    """Return the rows behind a column of a day."""
    settings, name, day = ask.settings, ask.path["column"][:100], ask.day(ask.today)
    window = window_of(day, ask.zone, settings.settle_days, ask.now, settings.reply_minutes)
    whose = ask.query.get("business", ANYBODY)
    business = None if whose == ANYBODY else ask.business(whose)
    senders = [each.get_secret_value() for each in settings.shared_senders]
    rows = explain_scope(connection, name, Scope(business, is_all=whose == ANYBODY, shared_senders=senders), window)
    shown = f"; the first {MAX_ROWS} are shown" if len(rows) > MAX_ROWS else ""
    return View(
        title=f"{name} on {day}",
        headline=f"{counted(len(rows), 'row')} behind {name} on {day}{shown}",
        as_of=ask.now,
        zone=ask.zone.key,
        note="Numbers of people are masked.",
        tables=(as_table("rows", name, rows[:MAX_ROWS], "No row is behind it."),),
    )


def message_view(connection: Connection, ask: Ask) -> View:
    """Return the rows of a text and its outcome."""
    sid = ask.path["sid"][:100]
    found = explain_message(connection, sid, _reading(ask))
    return View(
        title=f"Text {sid}",
        headline=found.sentences[0] if found.sentences else "",
        as_of=ask.now,
        zone=ask.zone.key,
        lines=tuple(Line(text=text) for text in found.sentences[1:]),
        tables=(as_table("rows", "Rows", found.rows),),
    )


def call_view(connection: Connection, ask: Ask) -> View:
    """Return the rows of a call, and each text that was tried."""
    sid = ask.path["sid"][:100]
    found = explain_call(connection, sid, _reading(ask))
    return View(
        title=f"Call {sid}",
        headline=found.sentences[0] if found.sentences else "",
        as_of=ask.now,
        zone=ask.zone.key,
        lines=tuple(Line(text=text) for text in found.sentences[1:]),
        tables=(
            as_table("rows", "Rows", found.rows),
            as_table("texts", "Texts that were tried", found.texts, "No text to the caller was tried."),
        ),
    )


def _reading(ask: Ask) -> Reading:
    senders = [each.get_secret_value() for each in ask.settings.shared_senders]
    return Reading(ask.zone, ask.settings.settle_days, ask.now, ask.settings.reply_minutes, senders)


COLUMN = Page("explain", "/explain/{column}", column_view)
MESSAGE = Page("message", "/explain/message/{sid}", message_view)
CALL = Page("call", "/explain/call/{sid}", call_view)
