"""Stats ``sms_failure_rates``: failure rate, coverage and Wilson lower bound per business and day.

Integer and IEEE double arithmetic in the order of ``core.rates``, so that every engine rounds alike.
"""

import ibis
import ibis.expr.types as ir

from smarttext_pipelines.core.failure_classes import UNMAPPED, class_by_code, failure_classes
from smarttext_pipelines.core.rates import WILSON_Z
from smarttext_pipelines.core.statuses import FINAL_STATUSES
from smarttext_pipelines.metrics.metric import Metric, Window, scaled
from smarttext_pipelines.metrics.windowed import Tables


def _hundredths(value: ir.IntegerValue) -> ir.DecimalValue:
    return scaled(value, "0.01", "decimal(5, 2)")


def percent(part: ir.IntegerValue, whole: ir.IntegerValue) -> ir.DecimalValue:
    """Return ``100 * part / whole`` rounded half up to two decimals; NULL when there is no whole."""
    return _hundredths((part * 20000 + whole) // (whole * 2).nullif(0))


def wilson_lower_percent(failed: ir.IntegerValue, successful: ir.IntegerValue) -> ir.DecimalValue:
    """Return the lower bound of the 95 % Wilson score interval in percent; NULL when nothing is decided."""
    n = (failed + successful).nullif(0).cast("float64")
    p, z2 = failed.cast("float64") / n, WILSON_Z * WILSON_Z
    margin = ibis.literal(WILSON_Z) * ((p * (1.0 - p) + z2 / (n * 4.0)) / n).sqrt()
    lower = (p + z2 / (n * 2.0) - margin) / (z2 / n + 1.0)
    rounded = (lower * 10000.0 + 0.5).floor().cast("int64")
    return _hundredths(ibis.ifelse(rounded < 0, 0, rounded))


def _attempts(tables: Tables, window: Window) -> ir.Table:
    t = tables["sms_outcomes"]
    first, last = (ibis.literal(day, type="date") for day in (window.days.first, window.days.last))
    return t.filter(t.day >= first, t.day <= last, t.message_count > 0)


def rows(tables: Tables, window: Window) -> ir.Table:
    """Return the rates of every business with an attempt on the day."""
    t = _attempts(tables, window)

    def counted(condition: ir.BooleanValue) -> ir.IntegerValue:
        return t.message_count.sum(where=condition).fill_null(0).cast("int64")

    classes = {name: counted(t.status_class == name) for name in ("in_flight", "suppressed", "unknown", "failed")}
    failure_class = t.error_code.cases(*class_by_code().items(), else_=UNMAPPED)
    by_failure = {
        f"failed_{name}": counted((t.status_class == "failed") & (failure_class == name)) for name in failure_classes()
    }
    found = t.group_by("business_id", date=t.day).agg(
        total_attempts=t.message_count.sum().cast("int64"),
        successful=counted(t.status_class == "successful"),
        final=counted(t.status.isin(FINAL_STATUSES)),
        **classes,
        **by_failure,
    )
    return found.mutate(
        failure_rate_percent=percent(found.failed, found.failed + found.successful),
        coverage_percent=percent(found.final, found.total_attempts - found.suppressed),
        failure_rate_lower_percent=wilson_lower_percent(found.failed, found.successful),
    ).drop("final")


def source_totals(tables: Tables, window: Window) -> ir.Table:
    """Return the attempted messages of each day, and those that failed."""
    t = _attempts(tables, window)
    failed = t.message_count.sum(where=t.status_class == "failed").fill_null(0)
    return t.group_by(date=t.day).agg(total_attempts=t.message_count.sum().cast("int64"), failed=failed.cast("int64"))


METRIC = Metric(
    name="sms_failure_rates",
    inputs=("sms_outcomes",),
    source=None,
    reads_neighbours=False,
    dimensions=("business_id", "date"),
    rows=rows,
    totals={
        "total_attempts": ("total_attempts",),
        "failed": tuple(f"failed_{name}" for name in failure_classes()),
    },
    source_totals=source_totals,
    day="date",
)
