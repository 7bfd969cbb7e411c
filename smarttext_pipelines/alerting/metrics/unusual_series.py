"""What the model of anomalies found on the newest day that it searched, and no other rule has told of."""

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from smarttext_pipelines.alerting.metrics.alert_metric import TODAY, AlertMetric, Reading
from smarttext_pipelines.alerting.rules.span import with_scopes

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.measuring.now import Now
    from smarttext_pipelines.alerting.rules.rule import Rule
    from smarttext_pipelines.alerting.rules.span import Span

MOST = 1000
"""Series that are told in one evaluation at most, the most unusual first."""

_NAMED = 3
"""Series of one business that are named in its notice."""

_NEWEST = """
    FROM monitoring.anomalies AS a LEFT JOIN monitoring.business_names AS b ON b.id = a.business_id
    WHERE a.day = (SELECT max(day) FROM monitoring.anomaly_days WHERE day <= :today)
"""
_UNTOLD = f"""
    {_NEWEST}
        AND (a.business_id IS NULL OR b.id IS NOT NULL)
        AND NOT EXISTS (
            SELECT FROM monitoring.anomaly_verdicts AS v
            WHERE v.metric = a.metric AND v.business_id IS NOT DISTINCT FROM a.business_id AND v.side = a.side
                AND v.day >= a.day AND v.verdict <> 'right')
        AND NOT EXISTS (
            SELECT FROM monitoring.incidents AS i JOIN alert_rules AS r ON r.rule = i.rule
            JOIN unnest(CAST(:metrics AS text[]), CAST(:signals AS text[])) AS told (metric, signal)
                ON told.signal = r.signal AND told.metric = a.metric
            WHERE (i.business_id = a.business_id OR i.scope = 'platform')
                -- Silence tells of too little, everything else of too much.
                AND (told.signal = 'event_silence') = (a.side < 0)
                AND i.fired_at < CAST(a.day + 1 AS timestamp) AT TIME ZONE :zone
                AND (i.resolved_at IS NULL
                     OR i.resolved_at >= CAST(a.day - a.window_days + 1 AS timestamp) AT TIME ZONE :zone))
"""  # noqa: S608 - a constant
"""What is counted: unusual, not told by another rule, and not said to be wrong or expected."""

_FOUND = text(
    f"""
    SELECT a.id, a.metric, a.business_id, b.name AS business, a.side, a.day AS first_day, a.day AS last_day, a.day,
           a.window_days, a.found, a.whole, a.expected, a.low, a.high, a.nats
    {_UNTOLD} ORDER BY a.business_id IS NOT NULL, a.nats DESC, a.id LIMIT {MOST}
    """
)
_ROWS = text(
    f"""
    SELECT a.day, a.metric, a.window_days, a.found, a.whole, a.expected, a.low, a.high, a.id AS anomaly
    {_UNTOLD} AND a.business_id IS NOT DISTINCT FROM CAST(:business AS uuid) ORDER BY a.nats DESC, a.id
    """  # noqa: S608 - constants
)
_AS_USUAL = text(
    """
    INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value)
    SELECT DISTINCT 'anomalies', split_part(o.scope, ':', 1), o.scope,
           CASE WHEN o.scope LIKE 'business:%' THEN CAST(split_part(o.scope, ':', 2) AS uuid) END, 1440, 0, 0, 0
    FROM alert_open AS o JOIN alert_rules AS r ON r.rule = o.rule
    WHERE r.signal = 'anomalies' AND (o.scope = 'platform' OR o.scope LIKE 'business:%')
        AND o.scope NOT IN (SELECT scope FROM alert_measures WHERE signal = 'anomalies')
    """
)
_ADD = text(
    with_scopes(
        """
        INSERT INTO alert_measures (signal, kind, scope, business_id, minutes, part, whole, value, label)
        SELECT 'anomalies', CASE WHEN s.business_id IS NULL THEN 'platform' ELSE 'business' END,
               CASE WHEN s.business_id IS NULL THEN 'platform' ELSE business_scope(s.business_id) END,
               s.business_id, 1440, s.series, s.series, s.series, s.label
        FROM unnest(CAST(:ids AS uuid[]), CAST(:series AS integer[]), CAST(:labels AS text[]))
            AS s (business_id, series, label)
        """
    )
)


def _values(now: "Now", today: date) -> dict[str, Any]:
    from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS

    told = [(kind.name, signal) for kind in SERIES_KINDS.values() for signal in kind.told_by]
    metrics, signals = [name for name, _ in told], [signal for _, signal in told]
    return {"today": today, "zone": now.place.zone.key, "metrics": metrics, "signals": signals}


def _measure(now: "Now", _: "Sequence[Rule]") -> None:
    from smarttext_pipelines.anomalies.in_words import Episode, sentence

    found: dict[Any, list[str]] = {}
    for row in now.connection.execute(_FOUND, _values(now, now.today)).mappings():
        each = Episode(**row)
        found.setdefault(each.business_id, []).append(f"{sentence(each)} (anomaly {each.id})")
    if found:
        rest = {key: len(said) - _NAMED for key, said in found.items()}
        labels = [
            "; ".join(said[:_NAMED]) + (f"; and {rest[key]} more" if rest[key] > 0 else "")
            for key, said in found.items()
        ]
        series = [len(said) for said in found.values()]
        now.connection.execute(_ADD, {"ids": list(found), "series": series, "labels": labels})
    # Whose incident is open and who is as usual: so that the end says that.
    now.connection.execute(_AS_USUAL)


def _rows(now: "Now", _: AlertMetric, span: "Span") -> Sequence[dict[str, Any]]:
    from smarttext_pipelines.core.days import day_of, day_start

    values = _values(now, day_of(span.end_at, now.place.zone)) | {"business": span.business_id}
    return [
        {"at": day_start(row["day"], now.place.zone), **{name: row[name] for name in row if name != "day"}}
        for row in now.connection.execute(_ROWS, values).mappings()
    ]


def _said(metric: AlertMetric, reading: Reading) -> str:
    if not reading.value:
        return "as usual again"
    verb = metric.verb if reading.part > 1 else "is unusual"
    return f"{reading.part:.0f} {metric.counts} {verb}" + (f": {reading.label}" if reading.label else "")


METRICS = (
    AlertMetric(
        "anomalies",
        "count",
        ("business", "platform"),
        "series",
        _measure,
        "are unusual",
        "look at it with `smarttext anomalies explain ID`, then say what it was.",
        rows=_rows,
        headline=_said,
        absent_is_zero=True,
        for_=1,
        min_count=0,
        **TODAY,
    ),
)
