"""Texts: one pass over the messages of the short windows, the last texts of whoever sends few, and what was counted."""

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import ibis
import ibis.expr.types as ir
from sqlalchemy import TextClause, text

from smarttext_pipelines.alerting.measuring.now import Now, read_text
from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW, AlertMetric
from smarttext_pipelines.alerting.metrics.texts import DECIDED, FAILED
from smarttext_pipelines.alerting.rules.judge import BURST, least_failures
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import minutes_of
from smarttext_pipelines.alerting.rules.span import LAST_TEXTS, Span
from smarttext_pipelines.core.display import shown, shown_name
from smarttext_pipelines.core.failure_classes import OUTSIDE_THE_RATE
from smarttext_pipelines.core.phones import mask_phone
from smarttext_pipelines.core.statuses import FINAL_STATUSES, STATUS_CLASS
from smarttext_pipelines.metrics.messages import attempts, status_name
from smarttext_pipelines.metrics.metric import RecentWindow
from smarttext_pipelines.metrics.windowed import Tables, remembered

LAST_COUNT = 20
"""Decided texts to which the window of a rate widens where it holds too few."""

LAST_DAYS = 14
"""Days within which they are looked for."""

_LONGEST_CELL = 40
_FEW = 2_000
"""Decided texts of fourteen days up to which all of them are read; the platform's last texts are known then, too."""

_TEXTS_OF_DAYS = text(
    """
    SELECT coalesce(sum(message_count), 0) FROM monitoring.sms_outcomes
    WHERE day > :today - :days AND day <= :today AND status_class IN ('failed', 'successful')
    """
)
_STAGED = text("SELECT count(*) FROM alert_messages WHERE status_class IN ('failed', 'successful')")
_ALL_BUSINESSES = text("SELECT id FROM monitoring.businesses")


@cache
def _counting(metrics: tuple[AlertMetric, ...]) -> TextClause:
    """Return ``messages.sql`` for these metrics."""
    sums, values = [], []
    for metric in metrics:
        name, where = metric.name, f"FILTER (WHERE {metric.counted})"
        sums += [
            f"sum(messages) {where} AS {name}_part",
            f"sum(messages) FILTER (WHERE {metric.among}) AS {name}_whole",
            f"min(first_at) {where} AS {name}_first_at",
            f"max(last_at) {where} AS {name}_last_at",
        ]
        parts = ", ".join(f"s.{name}_{each}" for each in ("part", "whole", "first_at", "last_at"))
        values.append(f"('{name}', {str(metric.is_rate).lower()}, {parts})")
    scopes = ", ".join(f"('{metric.name}', '{scope}')" for metric in metrics for scope in metric.scopes)
    statement = read_text("messages").format(
        sums=", ".join(sums), values=", ".join(values), scopes=scopes, failed=FAILED, decided=DECIDED
    )
    return text(statement)


@cache
def details_statement(metrics: tuple[AlertMetric, ...]) -> TextClause:
    """Return ``details.sql`` for these metrics."""
    cases = {
        name: f"CASE t.signal {' '.join(f'''WHEN '{m.name}' THEN {getattr(m, name)}''' for m in metrics)} END"
        for name in ("counted", "among")
    }
    return text(read_text("details").format(**cases))


def measure_texts(now: Now, rules: Sequence[Rule], metrics: tuple[AlertMetric, ...]) -> None:
    """Measure all metrics of texts for all scopes and windows."""
    short, long = now.windows(rules)
    stage_messages(now)
    widening = [rule for rule in rules if LAST_TEXTS in map(minutes_of, rule.windows)]
    least, everything = 1, False
    if widening:
        least = least_failures(widening, LAST_COUNT)
        everything = _stage_older(now, least)
    _classify(now)
    lists = {"outside": list(OUTSIDE_THE_RATE), "now": now.at}
    windows = {"short": short, "long": long, "longest_short": minutes_of(LONGEST_SHORT_WINDOW)}
    now.connection.execute(_counting(metrics), {**lists, **windows, "today": now.today, "zone": str(now.place.zone)})
    if widening:
        values = {
            "outside": list(OUTSIDE_THE_RATE),
            "least": least,
            "last_texts": LAST_COUNT,
            "burst_texts": BURST,
            "everything": everything,
            "complete_since": now.at - LONGEST_SHORT_WINDOW,
        }
        now.connection.execute(text(read_text("last_texts").format(failed=FAILED, decided=DECIDED)), values)


def stage_messages(now: Now) -> None:
    """Put the messages attempted within the longest short window into the temporary table ``alert_messages``."""
    _stage(now, LONGEST_SHORT_WINDOW, "alert_messages")


def _stage(now: Now, length: timedelta, into: str) -> None:
    now.stage(_attempted, into, length)


@remembered
def _attempted(tables: Tables, window: RecentWindow) -> ir.Table:
    rows = attempts(tables, window)
    named = rows.mutate(status=status_name(rows.status_order))
    named = named.mutate(
        status_class=named.status.cases(*STATUS_CLASS.items()), is_final=named.status.isin(FINAL_STATUSES)
    )
    return named.drop("status_order", "is_inbound", "is_report")


def _stage_older(now: Now, least: int) -> bool:
    """Add older messages of businesses that send few and may be in trouble; return whether they are everybody's."""
    today = {"today": now.today, "days": LAST_DAYS}
    is_few = int(now.connection.execute(_STAGED).scalar_one()) < LAST_COUNT
    if is_few and 0 < int(now.connection.execute(_TEXTS_OF_DAYS, today).scalar_one()) <= _FEW:
        _add_older(now, [row.id for row in now.connection.execute(_ALL_BUSINESSES)])
        return True
    values = {**today, "least": least, "last_texts": LAST_COUNT, "outside": list(OUTSIDE_THE_RATE)}
    found = [row.business_id for row in now.connection.execute(text(read_text("suspects")), values)]
    if found:
        _add_older(now, found)
    return False


def _add_older(now: Now, businesses: Sequence[UUID]) -> None:
    length = timedelta(days=LAST_DAYS)
    window = now.window(length)
    values = {
        "businesses": [str(each) for each in businesses],
        "start_at": window.search_start_at,
        "end_at": window.search_end_at,
    }
    now.connection.execute(text(read_text("suspect_rows")), values)
    rows = now.tables["sms_events"]
    theirs = ibis.table(rows.schema(), name="alert_suspect_rows")
    _stage(now.over({**now.tables, "sms_events": theirs}), length, "alert_older_messages")
    before = text("INSERT INTO alert_messages SELECT * FROM alert_older_messages WHERE first_at < :before")
    now.connection.execute(before, {"before": now.at - LONGEST_SHORT_WINDOW})


def _classify(now: Now) -> None:
    now.connection.execute(text(read_text("alert_texts")), {"now": now.at, "today": now.today})
    now.connection.exec_driver_sql("ANALYZE alert_texts")


def counted_texts(now: Now, metric: AlertMetric, span: Span) -> list[dict[str, Any]]:
    """Return the texts that a metric counted in a span, in order of time; numbers of customers are masked."""
    if span.minutes > minutes_of(LONGEST_SHORT_WINDOW) or now.masked_senders is not None:
        _stage(now, span.end_at - span.start_at, "alert_messages")
    else:
        stage_messages(now)
        if span.minutes == LAST_TEXTS:
            wanted = [span.business_id] if span.business_id else None
            _add_older(now, wanted or [row.id for row in now.connection.execute(_ALL_BUSINESSES)])
    _classify(now)
    values = {
        "start_at": span.start_at,
        "end_at": span.end_at,
        "kind": span.scope.kind,
        "scope": str(span.scope),
        "business_id": span.business_id,
        "apart": span.apart,
        "senders": list(now.masked_senders or ()),
    }
    if ":outside" in metric.counted:
        values["outside"] = list(OUTSIDE_THE_RATE)
    found = now.connection.execute(text(read_text("counted_texts").format(counted=metric.counted)), values)
    return [_shown(row) for row in map(dict, found.mappings())]


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: mask_phone(row[name]) for name in ("sender", "recipient")}
    texts = {name: shown(row[name], _LONGEST_CELL) for name in ("status", "code")}
    return {**row, **numbers, **texts, "business": row["business"] and shown_name(row["business"])}
