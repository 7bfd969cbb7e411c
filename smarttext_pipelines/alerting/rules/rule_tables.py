"""Rules, what differs from them, open incidents and failure classes, as temporary tables of one measurement."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal

import pyarrow as pa
from sqlalchemy import Connection

from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.core.failure_classes import class_by_code
from smarttext_pipelines.engines.small_table import small_table
from smarttext_pipelines.engines.staging import copy_into_temporary_table

Key = tuple[str, str]
"""A rule and a scope."""

_MEASURES = """
CREATE TEMPORARY TABLE alert_measures (
    signal text, kind text, scope text, business_id uuid, label text, minutes integer,
    part numeric, whole numeric, value numeric, start_at timestamptz, first_at timestamptz, last_at timestamptz,
    apart uuid, good_after bigint, newest_at timestamptz, is_burst boolean DEFAULT false
) ON COMMIT DROP
"""


def prepare_tables(connection: Connection, rules: Mapping[str, Rule], open_keys: Collection[Key]) -> None:
    """Put rules, what differs from them, open incidents and failure classes into temporary tables."""
    connection.exec_driver_sql(_MEASURES)
    copy_into_temporary_table(connection, "alert_rules", _rules_table(rules))
    copy_into_temporary_table(connection, "alert_overrides", _overrides_table(rules))
    connection.exec_driver_sql("ALTER TABLE alert_overrides ALTER business_id TYPE uuid USING business_id::uuid")
    keys = small_table({"rule": pa.string(), "scope": pa.string()}, sorted(open_keys))
    copy_into_temporary_table(connection, "alert_open", keys)
    classes = small_table({"code": pa.string(), "class": pa.string()}, class_by_code().items())
    copy_into_temporary_table(connection, "alert_failure_classes", classes)


def _rules_table(rules: Mapping[str, Rule]) -> pa.Table:
    return small_table(
        {
            "rule": pa.string(),
            "signal": pa.string(),
            "kind": pa.string(),
            "minutes": pa.int32(),
            "min_count": pa.int64(),
            "lowest_threshold": pa.decimal128(38, 6),
        },
        (
            (r.name, r.metric, r.scope, minutes_of(window), r.min_count, _decimal(r.lowest_threshold))
            for r in rules.values()
            for window in r.windows
        ),
    )


def _overrides_table(rules: Mapping[str, Rule]) -> pa.Table:
    """Return the least counts that differ; where one is not given the next less specific one counts."""
    rows = [
        (rule.name, plan, business, limits.min_count)
        for rule in rules.values()
        for plan, business, limits in (
            *((plan, None, limits) for plan, limits in rule.plans.items()),
            *((None, str(business), limits) for business, limits in rule.businesses.items()),
        )
    ]
    texts = dict.fromkeys(("rule", "plan", "business_id"), pa.string())
    return small_table({**texts, "min_count": pa.int64()}, rows)


def _decimal(value: float) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.000001"), ROUND_FLOOR)


def minutes_of(window: timedelta) -> int:
    """Return a window in minutes."""
    return int(window.total_seconds() // 60)
