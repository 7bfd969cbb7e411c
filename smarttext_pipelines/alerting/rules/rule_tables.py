"""Rules, what differs from them, open incidents and failure classes, as temporary tables of one measurement."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

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


def _numbers(rows: list[dict[str, Any]], text_columns: Sequence[str]) -> pa.Table:
    limits = ("threshold", "critical_threshold", "clear_threshold")
    columns: dict[str, Any] = {name: pa.array([row[name] for row in rows], pa.string()) for name in text_columns}
    columns |= {name: pa.array([_decimal(row[name]) for row in rows], pa.decimal128(38, 6)) for name in limits}
    return pa.table({**columns, "min_count": pa.array([row["min_count"] for row in rows], pa.int64())})


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value)).quantize(Decimal("0.000001"))


def _rules_table(rules: Mapping[str, Rule]) -> pa.Table:
    rows = [
        {
            "rule": rule.name,
            "signal": rule.metric,
            "kind": rule.scope,
            "threshold": rule.threshold,
            "critical_threshold": rule.critical_threshold,
            "clear_threshold": rule.clear_below,
            "min_count": rule.min_count,
            "minutes": minutes_of(window),
        }
        for rule in rules.values()
        for window in rule.windows
    ]
    table = _numbers(rows, ("rule", "signal", "kind"))
    return table.append_column("minutes", pa.array([row["minutes"] for row in rows], pa.int32()))


def _overrides_table(rules: Mapping[str, Rule]) -> pa.Table:
    rows = [
        {
            "rule": rule.name,
            "plan": plan,
            "business_id": business,
            # What is not said stays empty, so that the next less specific one says it.
            "threshold": limits.threshold,
            "critical_threshold": limits.critical_threshold,
            "clear_threshold": limits.clear_below,
            "min_count": limits.min_count,
        }
        for rule in rules.values()
        for plan, business, limits in (
            *((plan, None, limits) for plan, limits in rule.plans.items()),
            *((None, str(business), limits) for business, limits in rule.businesses.items()),
        )
    ]
    return _numbers(rows, ("rule", "plan", "business_id"))


def minutes_of(window: timedelta) -> int:
    """Return a window in minutes."""
    return int(window.total_seconds() // 60)
