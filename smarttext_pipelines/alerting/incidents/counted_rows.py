"""The rows behind an incident: what its rule counted when its value was last measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.incidents.incident_store import span_of
from smarttext_pipelines.alerting.measuring.measure import open_engine, repeated
from smarttext_pipelines.alerting.measuring.now import Now, Place
from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import prepare_tables
from smarttext_pipelines.alerting.rules.span import GROUP, Span
from smarttext_pipelines.engines import PostgresEngine, add_repeated_keys

_INCIDENT = text("SELECT * FROM monitoring.incidents WHERE id = :id")
_SEES_EVENTS = text("SELECT has_table_privilege('monitoring.sms_events', 'SELECT')")
_MEMBERS = text(
    """
    SELECT 'INC-' || i.id AS incident, b.name AS business, i.part, i.whole, i.since, i.state
    FROM monitoring.incidents AS i LEFT JOIN monitoring.business_names AS b ON b.id = i.business_id
    WHERE i.rule = :rule AND i.scope <> 'group' AND i.muted_by = 'group' AND i.evaluated_at >= :since
    ORDER BY i.part DESC NULLS LAST, i.id
    """
)


@dataclass(frozen=True)
class Counted:
    """What is behind an incident.

    Attributes:
        rows: What the rule counted, in order of time; the businesses of a group.
        said: In a sentence, where there are no rows of events.
    """

    rows: Sequence[Mapping[str, Any]] = field(default_factory=list)
    said: str = ""


MaskedRows = Callable[..., tuple[PostgresEngine, Sequence[str]]]
"""``explain.masked_span.masked_engine``: finds the rows of a span for who may not read events."""


def counted_rows(
    connection: Connection, number: int, rules: Mapping[str, Rule], place: Place, masked: MaskedRows | None = None
) -> Counted:
    """Return the rows that an incident counted when it was last measured; numbers of people are masked.

    Args:
        connection: In a transaction.
        number: Of an incident that exists.
        rules: By name.
        place: Zone and the like.
        masked: What finds the rows for a role that may not read events; without it such a role is told so.
    """
    incident = connection.execute(_INCIDENT, {"id": number}).mappings().one()
    rule, span = rules.get(incident["rule"]), span_of(incident)
    if incident["scope"] == str(GROUP):
        values = {"rule": incident["rule"], "since": incident["since"]}
        return Counted([dict(row) for row in connection.execute(_MEMBERS, values).mappings()])
    if rule is None:
        return Counted(said=f"there is no rule {incident['rule']} any more")
    metric = rule.alert_metric
    if span is None or metric.rows is None:
        told = incident["detail"] if metric.is_state or metric.rows else ""
        return Counted(said=told or "there are no rows of events behind it")
    found = _source(connection, metric, span, place, masked)
    if found is None:
        return Counted(said="the rows behind it are events, which smarttext_pipeline or the owner can read")
    engine, senders = found
    prepare_tables(connection, rules, ())
    now = Now(engine, connection, place, span.end_at, facts_are_fresh=True, masked_senders=senders)
    if metric.groups_by_key:
        add_repeated_keys(engine, [repeated(engine.tables, now.window(span.end_at - span.start_at))])
    return Counted(metric.rows(now, metric, span))


def _source(
    connection: Connection, metric: AlertMetric, span: Span, place: Place, masked: MaskedRows | None
) -> tuple[PostgresEngine, Sequence[str] | None] | None:
    """Return an engine, and the sender's numbers where they are masked; None where this role may not read the rows."""
    events = metric.events or ("texts" if metric.counts_messages else "")
    if not events or connection.execute(_SEES_EVENTS).scalar():
        return open_engine(connection, place, span.end_at), None
    if masked is None:
        return None
    return masked(
        connection, events, span.start_at, span.end_at, zone=place.zone, settle_days=place.settle_days,
        reply_minutes=place.reply_minutes, business=span.business_id, shared_senders=place.shared_senders,
        sender=str(span.scope) if span.scope.kind == "sender" else "",
    )  # fmt: skip
