"""Sentences of a message: who is affected, why, what somebody does, how certain it is. Pure."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from smarttext_pipelines.alerting.metrics.alert_metric import AlertMetric
from smarttext_pipelines.alerting.rules.judge import Measured, evidence
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.failure_classes import OUTSIDE_THE_RATE, class_of
from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT, percent

_CAUSES = 3
_BUSINESSES = 5

Details = Mapping[str, Any]
"""A row of ``details.sql``."""


def lasting(time: timedelta) -> str:
    """Return a duration as people say it: 4 min, 2 h 5 min, 3 d 1 h."""
    minutes = max(0, int(time.total_seconds() // 60))
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    return f"{hours} h {rest} min" if hours and rest else f"{hours} h" if hours else f"{rest} min"


def affected(row: Details) -> list[str]:
    """Return how many customers were on the other side of what the rule counted."""
    if not row["customers"]:
        return []
    callers = "caller" if row["customers"] == 1 else "callers"
    unreached = f", {row['unreached']} of whom got no text at all" if row["unreached"] else ""
    if row["unreached"] == row["customers"]:
        unreached = ", who got no text at all"
    return [f"Customers affected: {row['customers']:,} {callers}{unreached}."]


def causes(row: Details, *, is_of_business: bool) -> list[str]:
    """Return why what the rule counted failed, whether it is so elsewhere, and what else failed."""
    lines = []
    codes = row["codes"] or []
    if codes:
        said = [f"{n:,} × {class_of(code).reason}" + (f" ({code})" if code else "") for code, n in codes[:_CAUSES]]
        rest = sum(count for _, count in codes[_CAUSES:])
        said += [f"{rest:,} × other"] if rest else []
        lines.append(f"Why: {' · '.join(said)}.{_elsewhere(row) if is_of_business else ''}")
    if row["failed_otherwise"]:
        lines.append(f"Not counted here: {row['failed_otherwise']:,} texts that failed for other reasons.")
    return lines


def _elsewhere(row: Details) -> str:
    if not row["among_elsewhere"]:
        return ""
    counted, among = row["counted_elsewhere"], row["among_elsewhere"]
    rate = percent(counted, among) or Decimal(0)
    alone = "Only this business: " if rate < 5 else "Elsewhere too: "
    return f" {alone}{counted:,} of {among:,} elsewhere."


def parts_of(row: Details, names: Mapping[str, str]) -> list[str]:
    """Return which businesses share what a sender or the platform counted."""
    owners = row["owners"] or []
    if not owners:
        return []
    shown = [f"{shown_name(names.get(f'business:{owner}'))} {count:,}" for owner, count in owners[:_BUSINESSES]]
    more = f" · {len(owners) - _BUSINESSES} more" if len(owners) > _BUSINESSES else ""
    return [f"Businesses: {' · '.join(shown)}{more}."]


def held_back(rule: Rule, row: Details, businesses: Sequence[UUID], names: Mapping[str, str]) -> list[str]:
    """Return whose own incidents a sender's holds back, and how many of their failures it does not explain.

    Invalid numbers and opt-outs are left out, as in the rates of these businesses.
    """
    cause = _main_class(rule, row["codes"] or [])
    failed: dict[str, int] = {}
    others: dict[str, int] = {}
    for owner, code, count in row.get("failures") or ():
        name = class_of(code).name
        if name not in OUTSIDE_THE_RATE:
            failed[owner] = failed.get(owner, 0) + count
            others[owner] = others.get(owner, 0) + count * (name != cause)
    worst = sorted(map(str, businesses), key=lambda each: (-others.get(each, 0), -failed.get(each, 0), each))
    said = [shown_name(names.get(f"business:{each}")) + _other_causes(failed, others, each) for each in worst]
    more = f" · {len(said) - _BUSINESSES} more" if len(said) > _BUSINESSES else ""
    return [f"Their own incidents are held back: {' · '.join(said[:_BUSINESSES])}{more}."] if said else []


def _other_causes(failed: Mapping[str, int], others: Mapping[str, int], owner: str) -> str:
    if not others.get(owner):
        return ""
    return f" ({others[owner]:,} of its {failed[owner]:,} failures have other causes)"


def _main_class(rule: Rule, codes: Sequence[Any]) -> str:
    """Return the class that a rule counts, else the most frequent one; empty where nothing failed."""
    counts: dict[str, int] = {}
    for code, count in codes:
        counts[class_of(code).name] = counts.get(class_of(code).name, 0) + count
    return (rule.alert_metric.error_class or max(counts, key=lambda each: counts[each])) if counts else ""


def class_step(rule: Rule, codes: Sequence[Any]) -> str:
    """Return the next step of the most frequent class of errors, and who takes it where that is not the reader."""
    name = _main_class(rule, codes)
    if not name:
        return ""
    found = class_of(next((c for c, _ in codes if class_of(c).name == name), None))
    return f"{'(operator) ' if found.who == 'operator' else ''}{found.next_step}."


def confidence(measured: Measured, metric: AlertMetric, row: Details | None) -> str:
    """Return how much is known, and what the value was compared with."""
    said = []
    if row and row["attempted"]:
        final, attempted = row["final"] or 0, row["attempted"]
        coverage = percent(int(final), int(attempted)) or Decimal(0)
        said.append(f"the outcome of {final:,} of {attempted:,} texts is known ({coverage:.0f} %).")
        if coverage < COVERAGE_FLOOR_PERCENT:
            said.append("That is too little for a rate: the share is unknown, the counts are true.")
    if metric.is_rate:
        lower, sure = evidence(metric, measured), "99.7 %" if measured.is_last else "95 %"
        said.append(
            f"The true share is at least {lower:.1f} % ({sure} sure); the rule fires above "
            f"{measured.thresholds.breach:g} %."
        )
    elif metric.unit == "factor":
        said.append(f"The rule fires from {measured.thresholds.breach:g} × on.")
    return " ".join(said)
