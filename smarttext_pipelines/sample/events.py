"""The events of one day, as the application would have written them: table name → rows.

A day is drawn whole and cut afterwards, so that what is left out never changes what remains.
"""

import math
from datetime import date, datetime

import pyarrow as pa

from smarttext_pipelines.sample import incidents, tables
from smarttext_pipelines.sample.alerts import alert_rows
from smarttext_pipelines.sample.calls import call_rows
from smarttext_pipelines.sample.columns import Bools
from smarttext_pipelines.sample.conversations import draw_conversations
from smarttext_pipelines.sample.messages import draw_messages, message_rows
from smarttext_pipelines.sample.spec import SampleSpec, instant_us
from smarttext_pipelines.sample.usage import usage_rows


def sample_day(spec: SampleSpec, day: date) -> dict[str, pa.Table]:
    """Return the rows of the events that begin on a UTC day; their last reports are up to eight days younger."""
    return {name: tables.visible(rows) for name, rows in cut(draw_day(spec, day), until=spec.until).items()}


def draw_day(spec: SampleSpec, day: date) -> dict[str, pa.Table]:
    """Return the rows of a day with their hidden columns, also those later than ``until``."""
    talks = draw_conversations(spec, day)
    messages = draw_messages(spec, day, talks)
    drawn = {
        "sms_events": message_rows(spec, day, talks, messages),
        "call_events": call_rows(spec, day, talks),
        "api_usage": usage_rows(spec, day, talks, messages),
        "owner_alerts": alert_rows(spec, day, talks, messages),
    }
    silent = incidents.silence(spec)
    return {name: tables.keep(rows, ~incidents.covered(silent, *tables.hidden(rows))) for name, rows in drawn.items()}


def cut(
    drawn: dict[str, pa.Table], *, after: datetime | None = None, until: datetime | None = None
) -> dict[str, pa.Table]:
    """Return the rows later than ``after`` and not later than ``until``."""
    least = -math.inf if after is None else instant_us(after)
    most = math.inf if until is None else instant_us(until)

    def lies_between(rows: pa.Table) -> Bools:
        _, at = tables.hidden(rows)
        return (at > least) & (at <= most)

    return {name: tables.keep(rows, lies_between(rows)) for name, rows in drawn.items()}
