"""The events of one day, as the application would have written them: table name → rows.

A day is drawn whole and cut afterwards, so that what is left out never changes what remains.
"""

import math
from datetime import date, datetime

import pyarrow as pa

from smarttext_pipelines.sample import event_files, planted_incidents
from smarttext_pipelines.sample.conversations import draw_conversations
from smarttext_pipelines.sample.event_columns import Bools
from smarttext_pipelines.sample.sample_alerts import alert_rows
from smarttext_pipelines.sample.sample_calls import call_rows
from smarttext_pipelines.sample.sample_messages import draw_messages, message_rows
from smarttext_pipelines.sample.sample_usage import usage_rows
from smarttext_pipelines.sample.spec import SampleSpec, instant_us


def sample_day(spec: SampleSpec, day: date) -> dict[str, pa.Table]:
    """Return the rows of the events that begin on a UTC day; their last reports are up to eight days younger."""
    return {name: event_files.visible(rows) for name, rows in cut(draw_day(spec, day), until=spec.until).items()}


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
    silent = planted_incidents.silence(spec)
    return {
        name: event_files.keep(rows, ~planted_incidents.covered(silent, *event_files.hidden(rows)))
        for name, rows in drawn.items()
    }


def cut(
    drawn: dict[str, pa.Table], *, after: datetime | None = None, until: datetime | None = None
) -> dict[str, pa.Table]:
    """Return the rows later than ``after`` and not later than ``until``."""
    earliest = -math.inf if after is None else instant_us(after)
    latest = math.inf if until is None else instant_us(until)

    def lies_between(rows: pa.Table) -> Bools:
        _, at = event_files.hidden(rows)
        return (at > earliest) & (at <= latest)

    return {name: event_files.keep(rows, lies_between(rows)) for name, rows in drawn.items()}
