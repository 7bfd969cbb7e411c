"""How a digest reads. Pure: the same facts give the same lines."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT, percent
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.facts import DayFacts, Facts

MOST_LINES = 20
_NAMED = 4
_COST_FACTOR = Decimal("1.5")
"""Times the dearest of the same weekdays before, above which cost is told as unusual."""

_FAILED_PERCENT = Decimal(5)
"""Failure rate that is never called unusual, however low the usual one is."""


def digest_lines(facts: Facts) -> list[str]:
    """Return the digest: at most ``MOST_LINES`` lines, three when all is well."""
    if not facts.is_computed:
        day = f"SmartText, {facts.day:%A} {facts.day.day} {facts.day:%B %Y}"
        return [f"{day}: nothing is known", f"The day was not rolled up: `smarttext rollup --date {facts.day}`."]
    problems = [*_calls_problems(facts), *_delivery_problems(facts), *_other_problems(facts)]
    state = "all is well" if not problems else f"{len(problems)} to look at"
    head = f"SmartText, {facts.day:%A} {facts.day.day} {facts.day:%B %Y}: {state}"
    calls, delivery, cost = _calls(facts), _delivery(facts), _cost(facts)
    if not problems:
        return [head, f"{calls} {delivery}", cost]
    return [head, calls, delivery, cost, *problems][:MOST_LINES]


def _calls(facts: Facts) -> str:
    t = facts.today
    if t.missed is None:
        return "Missed calls: unknown, their replies were not computed."
    if not t.missed:
        return "No missed call."
    said = f"{counted(t.missed, 'missed call')}, {t.in_time} got a text within {facts.reply_minutes} min"
    usual = _usual(facts.usual, lambda d: percent(d.in_time, d.missed) if d.missed else None, "%")
    share = percent(t.in_time, t.missed)
    return f"{said} ({share} %{_beside(facts, usual)})."


def _calls_problems(facts: Facts) -> list[str]:
    t = facts.today
    found = []
    if t.unreplied:
        worst = ", ".join(f"{shown_name(u.business)} {u.unreplied} of {u.missed}" for u in facts.unanswered[:_NAMED])
        more = len(facts.unanswered) - _NAMED
        found.append(
            f"No text at all: {counted(t.unreplied, 'caller')}: {worst}{f', and {more} more' if more > 0 else ''}."
        )
    if t.late:
        found.append(f"Answered too late: {counted(t.late, 'caller')}.")
    if t.reply_unknown:
        found.append(f"Whether they were answered is unknown: {counted(t.reply_unknown, 'caller')}.")
    if t.missed is None:
        found.append("Roll the day up: `smarttext rollup`.")
    return found


def _delivery(facts: Facts) -> str:
    t = facts.today
    if not t.attempted:
        return "No text was sent."
    coverage = percent(t.final, t.attempted)
    told = counted(t.attempted, "text")
    if coverage is None or coverage < COVERAGE_FLOOR_PERCENT:
        return f"{told}, failure rate unknown (outcome known for {coverage} %)."
    usual = _usual(facts.usual, _failed_percent, "%")
    return f"{told}, {_failed_percent(t)} % failed (outcome known for {coverage} %{_beside(facts, usual)})."


def _failed_percent(day: DayFacts) -> Decimal | None:
    coverage = percent(day.final, day.attempted)
    known = coverage is not None and coverage >= COVERAGE_FLOOR_PERCENT
    return percent(day.failed, day.decided) if known else None


def _delivery_problems(facts: Facts) -> list[str]:
    t = facts.today
    coverage, failed = percent(t.final, t.attempted), _failed_percent(t)
    if coverage is not None and coverage < COVERAGE_FLOOR_PERCENT:
        return ["Delivery is not known: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN, or look at sms_delivery_reports."]
    usual = [rate for rate in map(_failed_percent, facts.usual) if rate is not None]
    if failed is not None and failed > max([*usual, _FAILED_PERCENT]):
        return [f"More texts failed than usual: {t.failed} of {t.decided}."]
    return []


def _cost(facts: Facts) -> str:
    sms = "unknown" if facts.sms_usd is None else f"{facts.sms_usd:.2f}"
    usual = _usual(facts.usual, lambda d: d.cost_usd, "USD")
    month = facts.month
    unpriced = (
        f" Without a price this month: {counted(month.unpriced_requests, 'request')}."
        if month.unpriced_requests
        else ""
    )
    if month.expected_usd is None and not month.days_missing:
        so_far = f"{month.month_usd:.2f} this month so far"
    elif month.expected_usd is None:
        so_far = f"{month.month_usd:.2f} this month without {counted(month.days_missing, 'day')} not rolled up"
    else:
        so_far = f"{month.month_usd:.2f} this month, {month.expected_usd:.2f} expected at its end"
    return f"Cost: OpenAI {facts.openai_usd:.2f} + SMS {sms} USD{_beside(facts, usual)}; {so_far}.{unpriced}"


def _other_problems(facts: Facts) -> list[str]:
    found = []
    usual = [day.cost_usd for day in facts.usual if day.cost_usd is not None]
    if usual and facts.today.cost_usd is not None and facts.today.cost_usd > _COST_FACTOR * max(usual):
        found.append(f"Dearer than usual: {facts.today.cost_usd:.2f} USD, at most {max(usual):.2f} before.")
    if facts.refused:
        reasons = ", ".join(f"{count} × {reason}" for reason, count in facts.refused.items())
        found.append(f"The guard refused OpenAI calls: {reasons}.")
    for number, rule, severity, whom in facts.incidents[:_NAMED]:
        found.append(f"Open: INC-{number} {rule}, {severity}, {shown_name(whom)}.")
    if len(facts.incidents) > _NAMED:
        found.append(f"And {counted(len(facts.incidents) - _NAMED, 'more open incident')}: `smarttext alerts list`.")
    if facts.silent:
        names = ", ".join(map(shown_name, facts.silent[:_NAMED]))
        more = len(facts.silent) - _NAMED
        found.append(f"Silent, unlike other {facts.day:%A}s: {names}{f', and {more} more' if more > 0 else ''}.")
    if facts.restated:
        found.append(f"Restated: {', '.join(map(str, facts.restated[:_NAMED]))}; compare with what you noted.")
    if not facts.is_complete:
        found.append("The day was not rolled up after its end: its numbers are partial.")
    return found


def _usual(days: Sequence[DayFacts], value: Callable[[DayFacts], Decimal | None], unit: str) -> str | None:
    known = sorted(found for found in map(value, days) if found is not None)
    if not known:
        return None
    low, high = (f"{found:.2f}" for found in (known[0], known[-1]))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def _beside(facts: Facts, usual: str | None) -> str:
    return f"; usual on a {facts.day:%A}: {usual}" if usual else "; nothing to compare with"
