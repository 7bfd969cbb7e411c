"""Lines of what the application must do to be measured well; each turns green when that is done."""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT, UNATTRIBUTED_LIMIT_PERCENT
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.health.application_counts import (
    BUSINESSES,
    CALLS,
    OUTCOMES,
    PRICES,
    REQUESTS,
    SIDS,
    UNREADABLE,
    Written,
)
from smarttext_pipelines.health.verdicts import Line, State
from smarttext_pipelines.schema.rights.roles import PIPELINE

LIMIT_PERCENT = UNATTRIBUTED_LIMIT_PERCENT
"""Share that may be missing; as many events may lack a business in the statistics."""

SID_LIMIT_PERCENT = 1.0
"""Share that may lack a sid: each such row counts as a text or call of its own."""

USELESS_PERCENT = 100 - float(COVERAGE_FLOOR_PERCENT)
"""Share that is missing beyond which the numbers say nothing."""

_WORST = list(State)
_GUIDE = "docs/integrate.md"
_CALL = ("call or inbound text", "calls and inbound texts")
_WHAT = {"sms_events": ("text", "texts"), "call_events": _CALL, "api_usage": ("request", "requests")}


def application_checks(now: datetime, zone: ZoneInfo) -> list[tuple[str, Callable[[Connection], Line | list[Line]]]]:
    """Return every line's name and what judges it, for the seven days before a time."""

    def check(judge: Callable[[Written], Line]) -> Callable[[Connection], Line]:
        return lambda connection: judge(Written(connection, now, zone))

    return [(name, check(judge)) for name, judge in LINES.items()]


def unreadable(connection: Connection) -> list[Line]:
    """Return a line that says which role may read events, where this one may not."""
    row = connection.execute(UNREADABLE).one()
    if row.tables is None:
        return []
    todo = f"connect as {PIPELINE} or as the owner of the database: SMARTTEXT_DATABASE_URL"
    return [Line("application", State.fail, f"{row.role} may not read {row.tables}", todo)]


def outcomes(written: Written) -> Line:
    """Judge whether final outcomes of sent texts arrive."""
    (row,) = written.read(OUTCOMES)
    if not row.whole:
        return _nothing("status callbacks", "no text that was sent more than an hour ago")
    known = _of(row.whole - row.missing, row.whole, "text")
    said = f"the final outcome (delivered, read, undelivered, …) of {known} is known"
    todo = (
        "give each message a statusCallback and run `smarttext receiver`, or write what Twilio reports into sms_events "
        "under the text's message_sid"
    )
    state = _state(row.missing, row.whole, LIMIT_PERCENT)
    return _line("status callbacks", state, said, todo, "Twilio's status callbacks")


def sids(written: Written) -> Line:
    """Judge whether each sent text has a message sid of its own."""
    (row,) = written.read(SIDS)
    if not row.whole:
        return _nothing("message sids", "no text was sent")
    said = f"{_of(row.missing, row.whole, 'row of sent texts', 'rows of sent texts')} without a message_sid"
    state = _state(row.missing + row.shared, row.whole, SID_LIMIT_PERCENT)
    if row.values:
        values = f"{counted(row.values, 'value is', 'values are')} no sid of one text, such as {shown_name(row.value)}"
        said += f"; {values}: {counted(row.shared, 'row')}"
        state = max(state, State.warn, key=_WORST.index)
    todo = "write the sid that Twilio answered into message_sid, in every row of the text and of no other; no constant"
    return _line("message sids", state, said, todo, "What to insert")


def businesses(written: Written) -> Line:
    """Judge whether events name their business."""
    found = {row.source: row for row in written.read(BUSINESSES)}
    rows = [found[source] for source in _WHAT if found[source].whole]
    if not rows:
        return _nothing("business", "no event")
    state = max((_state(row.missing, row.whole, LIMIT_PERCENT) for row in rows), key=_WORST.index)
    parts = [f"{_of(row.missing, row.whole, *_WHAT[row.source])} in {row.source}" for row in rows]
    said = f"without business_id: {', '.join(parts)}"
    todo = "pass business_id in every row of sms_events, call_events and api_usage"
    return _line("business", state, said, todo, "What to insert")


def requests(written: Written) -> Line:
    """Judge whether texts to owners and usage can be told by their request ids."""
    found = {row.kind: row for row in written.read(REQUESTS) if row.whole}
    if not found:
        return _nothing("request ids", "no owner alert and no request")
    parts, todo = [], []
    if (row := found.get("owner")) is not None:
        parts.append(f"{_of(row.missing, row.whole, 'owner alert')} without a text in sms_events that ends in -owner")
        if _state(row.missing, row.whole, LIMIT_PERCENT) is not State.ok:
            todo.append("let request_id of texts to owners end in -owner, with the message_sid of the owner alert")
    if (row := found.get("usage")) is not None:
        parts.append(f"{_of(row.missing, row.whole, 'request')} in api_usage without a request_id")
        if _state(row.missing, row.whole, LIMIT_PERCENT) is not State.ok:
            todo.append("write into api_usage the request_id of what caused the request")
    state = max((_state(row.missing, row.whole, LIMIT_PERCENT) for row in found.values()), key=_WORST.index)
    return _line("request ids", state, "; ".join(parts), "; ".join(todo), "What to insert")


def calls(written: Written) -> Line:
    """Judge whether each call has a sid and the row that says what it was."""
    (row,) = written.read(CALLS)
    todo = "write a row voice.inbound, voice.missed or sms.inbound with Twilio's call_sid when its webhook comes"
    if not row.whole:
        if not row.texts:
            return _nothing("calls", "no call and no text")
        said = f"no call and no inbound text beside {counted(row.texts, 'text')}; texts answer calls"
        return _line("calls", State.warn, said, todo, "What to insert")
    said = (
        f"{_of(row.without_sid, row.whole, *_CALL)} without a call_sid, "
        f"{row.without_head:,} without a row voice.inbound or voice.missed"
    )
    return _line("calls", _state(row.missing, row.whole, SID_LIMIT_PERCENT), said, todo, "What to insert")


def prices(written: Written) -> Line:
    """Judge whether OpenAI requests have a cost."""
    (row,) = written.read(PRICES)
    if not row.whole:
        return _nothing("prices", "no OpenAI request with tokens")
    asked = _of(row.missing, row.whole, "OpenAI request with tokens", "OpenAI requests with tokens")
    said = f"{asked} without a cost"
    todo = "write cost_estimate beside tokens_used, or settle with cost; `track_openai_usage(usage=…)` knows the prices"
    return _line("prices", _state(row.missing, row.whole, LIMIT_PERCENT), said, todo, "The OpenAI budget")


LINES: dict[str, Callable[[Written], Line]] = {
    "status callbacks": outcomes,
    "message sids": sids,
    "business": businesses,
    "request ids": requests,
    "calls": calls,
    "prices": prices,
}
"""Every line by its name."""


def _state(missing: int, whole: int, limit_percent: float) -> State:
    percent = 100 * missing / max(whole, 1)
    return State.ok if percent <= limit_percent else State.fail if percent > USELESS_PERCENT else State.warn


def _of(part: int, whole: int, one: str, several: str | None = None) -> str:
    """Return ``3 of 7 texts (43 %)``; a share that is neither none nor all is never rounded to it."""
    percent = 100 * part / whole
    few = "under 1" if 0 < percent < 1 else "over 99" if 99 < percent < 100 else f"{percent:.0f}"
    return f"{part:,} of {counted(whole, one, several)} ({few} %)"


def _nothing(name: str, said: str) -> Line:
    return Line(name, State.unknown, f"{said} in 7 days")


def _line(name: str, state: State, said: str, todo: str, chapter: str) -> Line:
    return Line(name, state, said, "" if state is State.ok else f'{todo}; see {_GUIDE}, "{chapter}"')
