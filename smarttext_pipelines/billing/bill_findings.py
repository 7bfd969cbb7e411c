"""Days of OpenAI's bill that our rows do not explain, or that it did not tell, and the SQL that shows them."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from smarttext_pipelines.billing.ask_days import UTC_ZONE
from smarttext_pipelines.billing.billed_days import BilledDay
from smarttext_pipelines.database.findings import MAX_ROWS, Finding, at_times, on_days

_BILL = """\
SELECT 'billed' AS kind, day, coalesce(project_id, '') AS project, line_item AS item, currency, amount
FROM monitoring.openai_costs
WHERE {days}
UNION ALL
SELECT 'recorded', (created_at AT TIME ZONE 'UTC')::date, '', model, 'USD', sum(cost_estimate)
FROM monitoring.api_usage
WHERE service = 'openai' AND {times}
GROUP BY 2, model
ORDER BY day, kind, amount DESC NULLS LAST, item"""
_DAYS = """\
SELECT day, asked_at, is_told, recorded_usd, unpriced_requests
FROM monitoring.openai_cost_days
WHERE {days}
ORDER BY day"""


def cost_finding(days: Sequence[BilledDay]) -> Finding | None:
    """Return the days on which OpenAI charges another amount than was recorded; None when there are none.

    What OpenAI lacks of the newest day it may still add.
    """
    wrong = [each for each in days if not each.is_explained]
    if wrong and wrong[-1] is days[-1] and (wrong[-1].unexplained_usd or 0) < 0:
        wrong = wrong[:-1]
    if not wrong:
        return None
    worst = max(wrong, key=lambda each: abs(each.unexplained_usd or Decimal(0)))
    unpriced = f"; {worst.unpriced_requests:,} requests have no price" if worst.unpriced_requests else ""
    said = (
        f"OpenAI charges {worst.billed_usd:,.2f} USD for {worst.day} (UTC), and {worst.recorded_usd:,.2f} USD were "
        f"recorded: {worst.unexplained_usd:+,.2f} USD are unexplained{unpriced}{_others(wrong, days)}"
    )
    rows = [
        {
            "day": each.day,
            "billed_usd": each.billed_usd,
            "recorded_usd": each.recorded_usd,
            "unexplained_usd": each.unexplained_usd,
            "unpriced_requests": each.unpriced_requests,
        }
        for each in wrong
    ]
    concerned = [each.day for each in wrong]
    return Finding(said, rows[:MAX_ROWS], _BILL.format(days=on_days("day", concerned), times=_times(concerned)))


def complete_finding(days: Sequence[BilledDay]) -> Finding | None:
    """Return the days that OpenAI did not tell, the newest left out, which may be late; None when there are none."""
    settling = days[:-1]
    wrong = [each for each in settling if not each.is_complete]
    if not wrong:
        return None
    silent = [each for each in wrong if each.is_told]
    why = "no cost is told where requests were recorded" if len(silent) == len(wrong) else "its answers lack them"
    which = f"{len(wrong)} of {len(settling)} days, the last {wrong[-1].day} (UTC)"
    said = f"OpenAI has not told its costs of {which}: {why}"
    rows = [{"day": each.day, "is_told": each.is_told, "recorded_usd": each.recorded_usd} for each in wrong]
    return Finding(said, rows[:MAX_ROWS], _DAYS.format(days=on_days("day", [each.day for each in wrong])))


def _others(wrong: Sequence[BilledDay], days: Sequence[BilledDay]) -> str:
    return f"; {len(wrong)} of {len(days)} days differ" if len(days) > 1 else ""


def _times(days: Sequence[date]) -> str:
    return at_times("created_at", days, UTC_ZONE)
