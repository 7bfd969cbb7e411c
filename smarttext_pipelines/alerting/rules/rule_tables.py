"""Rules, what differs from them, open incidents and failure classes, as temporary tables of one measurement."""

from collections.abc import Collection, Mapping
from datetime import timedelta
from decimal import ROUND_FLOOR, Decimal

import pyarrow as pa
from sqlalchemy import Connection

from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.core.failure_classes import class_by_code
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
    pairs = sorted(open_keys)
    table = pa.table(
        {"rule": pa.array([r for r, _ in pairs], pa.string()), "scope": pa.array([s for _, s in pairs], pa.string())}
    )
    copy_into_temporary_table(connection, "alert_open", table)
    classes = class_by_code()
    copy_into_temporary_table(
        connection,
        "alert_failure_classes",
        pa.table(
            {"code": pa.array(list(classes), pa.string()), "class": pa.array(list(classes.values()), pa.string())}
        ),
    )


def _rules_table(rules: Mapping[str, Rule]) -> pa.Table:
    rows = [(rule, minutes_of(window)) for rule in rules.values() for window in rule.windows]
    return pa.table(
        {
            "rule": pa.array([rule.name for rule, _ in rows], pa.string()),
            "signal": pa.array([rule.metric for rule, _ in rows], pa.string()),
            "kind": pa.array([rule.scope for rule, _ in rows], pa.string()),
            "minutes": pa.array([minutes for _, minutes in rows], pa.int32()),
            "min_count": pa.array([rule.min_count for rule, _ in rows], pa.int64()),
            "lowest_threshold": pa.array([_decimal(rule.lowest_threshold) for rule, _ in rows], pa.decimal128(38, 6)),
        }
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
    return pa.table(
        {
            "rule": pa.array([row[0] for row in rows], pa.string()),
            "plan": pa.array([row[1] for row in rows], pa.string()),
            "business_id": pa.array([row[2] for row in rows], pa.string()),
            "min_count": pa.array([row[3] for row in rows], pa.int64()),
        }
    )


def _decimal(value: float) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.000001"), ROUND_FLOOR)


def minutes_of(window: timedelta) -> int:
    """Return a window in minutes."""
    return int(window.total_seconds() // 60)
