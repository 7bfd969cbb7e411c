"""What of a day is worth telling, and how urgent it is. Pure: the same facts give the same judgements."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

from smarttext_pipelines.anomalies.in_words import sentence
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.rates import COVERAGE_FLOOR_PERCENT, percent
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.facts import Facts, Incident, Unanswered
from smarttext_pipelines.digest.robocall_figures import in_words as robocalls_in_words
from smarttext_pipelines.digest.thing_to_tell import NAMED, Judgement, Urgency, of_business, on_day, share, usual
from smarttext_pipelines.digest.traffic import silent, traffic
from smarttext_pipelines.digest.usual import Usual, is_more_than_chance, sampling_spread
from smarttext_pipelines.economics.lost import in_words

_MIN_TEXTS, _MIN_CALLS, _MIN_UNREPLIED = 20, 10, 3
_POOR_PERCENT = Decimal(50)
"""Share answered in time below which a day is worth a look where there is nothing to compare it with, and share without
a text from which on it is bad."""
_FAILED_PERCENT = Decimal(10)
"""Failure rate above which it is, too."""
_LOOK_FACTOR, _BAD_FACTOR, _MIN_USD = Decimal("1.5"), Decimal(3), Decimal("0.10")
_FULL = 100
_REFUSALS = {"limit_tokens": "limit of tokens reached", "limit_usd": "limit of USD reached"}


def judge(facts: Facts) -> list[Judgement]:
    """Return what is worth telling of a day that was rolled up, the most urgent first."""
    parts = (
        _incidents, traffic, _businesses, _lost, _robocalls, _replies, _delivery, _cost, _budgets, silent, _unusual,
        _remarks,
    )  # fmt: skip
    found = [each for part in parts for each in part(facts)]
    return sorted(found, key=lambda each: -each.urgency)


def _incidents(facts: Facts) -> Iterator[Judgement]:
    told = [each for each in facts.incidents if each.severity != "info"]
    is_bad = len(told) > 1 or any(each.severity == "critical" for each in told)
    for place, each in enumerate(facts.incidents):
        phrase = ""
        if each in told and place == 0:
            # A rule's name is what it watches; the line below has it as it is written in settings.
            one = f"an incident of {shown_name(each.whom)} ({each.rule.replace('_', ' ')})"
            phrase = one if len(told) == 1 else counted(len(told), "incident")
        urgency = (Urgency.bad if is_bad else Urgency.look) if each in told else Urgency.note
        if place < NAMED:
            text = f"INC-{each.number} {each.rule}, {each.severity}, {shown_name(each.whom)}: {_lasted(facts, each)}."
            yield Judgement(f"INC-{each.number}", urgency, phrase, text, f"smarttext alerts show {each.number}")
    if len(facts.incidents) > NAMED:
        text = f"And {counted(len(facts.incidents) - NAMED, 'more incident')} of that day."
        yield Judgement("incidents", Urgency.note, "", text, "smarttext alerts list --all")


def _lasted(facts: Facts, each: Incident) -> str:
    def at(instant: datetime) -> str:
        local = instant.astimezone(facts.zone)
        return f"{local:%H:%M}" if local.date() == facts.day else f"{local:%a %d %b %H:%M}"

    return (
        f"still open, since {at(each.fired_at)}"
        if each.resolved_at is None
        else f"{at(each.fired_at)} to {at(each.resolved_at)}"
    )


def _businesses(facts: Facts) -> Iterator[Judgement]:
    t = facts.today
    found = usual(facts, lambda each: _percent(each.never, each.missed))
    of_all = found.median / 100 if found else 0.05
    worst = [each for each in facts.unanswered if _is_left(each, of_all, facts.businesses)][:NAMED]
    for each in worst:
        said = f"{shown_name(each.business)} left {each.unreplied} of {counted(each.missed, 'caller')} without a text"
        yield _unanswered(each, facts, Urgency.bad, said)
    rest = [each for each in facts.unanswered if each not in worst]
    if t.never and rest:
        yield _without_text(facts, found, worst, rest)


def _lost(facts: Facts) -> Iterator[Judgement]:
    said = in_words(facts.lost)
    if said:
        command = f"smarttext economics --month {facts.day:%Y-%m}"
        yield Judgement("lost", Urgency.note, "", f"{said}.", command)


def _robocalls(facts: Facts) -> Iterator[Judgement]:
    if facts.robocalls.total.callers:
        said = f"{robocalls_in_words({facts.day: facts.today}, facts.robocalls)}."
        command = f"smarttext customers robocallers --from {facts.day} --to {facts.day}"
        yield Judgement("robocallers", Urgency.note, "", said, command)


def _without_text(
    facts: Facts, found: Usual | None, worst: Sequence[Unanswered], rest: Sequence[Unanswered]
) -> Judgement:
    t = facts.today
    never = t.never or 0
    names = ", ".join(f"{shown_name(u.business)} ({u.unreplied} of {u.missed})" for u in rest[:NAMED])
    names += f", and {len(rest) - NAMED} more" if len(rest) > NAMED else ""
    besides = f"; besides {'these' if len(worst) > 1 else shown_name(worst[0].business)}" if worst else ""
    rate = _percent(never, t.missed) or Decimal(0)
    usually = f", usually {found.median:.0f} %" if found else ""
    text = f"Without a text: {never} of {counted(t.missed, 'caller')} in all ({rate:.0f} %{usually}){besides}: {names}."
    command = f"smarttext explain missed_calls_unreplied --all {on_day(facts.day)}"
    is_poor = t.missed >= _MIN_CALLS and rate >= _POOR_PERCENT
    many = found.is_above(rate, _spread(found, t.missed)) if found else is_poor
    if not many or worst:
        return Judgement("never", Urgency.note, "", text, command)
    before = f" (usually {found.median:.0f} %)" if found else ""
    return Judgement("never", Urgency.bad, f"{never} of {t.missed} callers without a text{before}", text, command)


def _unanswered(each: Unanswered, facts: Facts, urgency: Urgency, said: str) -> Judgement:
    before = percent(each.usual_unreplied, each.usual_missed)
    beside = "" if before is None else f" (before: {before:.0f} %)"
    command = f"smarttext explain missed_calls_unreplied {of_business(each.business_id)} {on_day(facts.day)}"
    return Judgement(f"never {each.business_id}", urgency, said, f"{said}{beside}.", command)


def _is_left(each: Unanswered, of_all: float, businesses: int) -> bool:
    # Its own days, and a little of everybody's: few calls alone say little.
    own = (each.usual_unreplied + 20 * of_all) / (each.usual_missed + 20)
    is_many = each.unreplied >= _MIN_UNREPLIED and each.unreplied * 4 >= each.missed
    return is_many and is_more_than_chance(each.unreplied, each.missed, own, businesses)


def _percent(part: int | None, whole: int) -> Decimal | None:
    return None if part is None else percent(part, whole)


def _spread(found: Usual, count: int) -> float:
    return sampling_spread(found.median, count)


def _replies(facts: Facts) -> Iterator[Judgement]:
    t = facts.today
    if t.in_time is None and t.missed:
        text = "Whether missed calls were answered was not computed for this day."
        yield Judgement("replies", Urgency.look, "replies are unknown", text, f"smarttext rollup {on_day(facts.day)}")
        return
    in_time, found = t.in_time_percent, usual(facts, lambda each: each.in_time_percent)
    if in_time is not None and t.missed >= _MIN_CALLS:
        few = found.is_below(in_time, _spread(found, t.missed)) if found else in_time < _POOR_PERCENT
        if few:
            before = f" (usually {found.median:.0f} %)" if found else ""
            said = f"only {share(in_time)} answered within {facts.reply_minutes} minutes{before}"
            urgency = Urgency.bad if found else Urgency.look
            text = f"Fewer answered in time: {t.in_time} of {t.missed}{before}."
            command = f"smarttext explain calls_missed --all {on_day(facts.day)}"
            yield Judgement("in time", urgency, said, text, command)
    for name, column, words in _shares(facts):
        count = getattr(t, name)
        often = usual(facts, lambda each, name=name: _percent(getattr(each, name), each.missed))  # type: ignore[misc]
        if count and often and often.is_above(percent(count, t.missed) or Decimal(0), _spread(often, t.missed)):
            said = f"{counted(count, 'caller')} {words} (usually {often.median:.0f} %)"
            command = f"smarttext explain {column} --all {on_day(facts.day)}"
            yield Judgement(name, Urgency.look, said, f"{said[0].upper()}{said[1:]}.", command)


def _shares(facts: Facts) -> list[tuple[str, str, str]]:
    late = ("late", "replied_late_count", "answered too late")
    unknown = ("unknown", "missed_calls_reply_unknown", "answered or not, unknown")
    # Before the day is over, neither is the time for a text.
    return [late, unknown] if facts.is_over else [late]


def _delivery(facts: Facts) -> Iterator[Judgement]:
    t, known = facts.today, facts.today.known_percent
    if not t.attempted:
        return
    command = f"smarttext explain sms_failure_count --all {on_day(facts.day)}"
    if known is None or known < COVERAGE_FLOOR_PERCENT:
        was_known = usual(facts, lambda each: each.failed_percent)
        urgency = Urgency.look if was_known or not facts.usual else Urgency.note
        text = f"Whether texts arrive is unknown: the outcome of {share(known)} is known."
        yield Judgement("delivery", urgency, "whether texts arrive is unknown", text, "smarttext doctor")
        return
    failed, found = t.failed_percent, usual(facts, lambda each: each.failed_percent)
    if failed is None or t.decided < _MIN_TEXTS:
        return
    if found.is_above(failed, _spread(found, t.decided)) if found else failed > _FAILED_PERCENT:
        before = f" (usually {found.median:.2f} %)" if found else ""
        said = f"{failed:.2f} % of texts failed{before}"
        text = f"More texts failed: {t.failed} of {t.decided}{before}."
        yield Judgement("failures", Urgency.bad if found else Urgency.look, said, text, command)


def _cost(facts: Facts) -> Iterator[Judgement]:
    for name, words, column in (
        ("openai_usd", "OpenAI cost", "openai_cost_estimate"),
        ("texts_usd", "texts cost", "sms_cost_usd"),
    ):
        cost: Decimal | None = getattr(facts.today, name)
        found = usual(facts, lambda each, name=name: getattr(each, name))  # type: ignore[misc]
        if cost is None or found is None:
            continue
        before = Decimal(found.median)
        is_more = cost >= _LOOK_FACTOR * before and cost - before >= _MIN_USD
        if is_more and found.is_above(cost, found.median * 0.05):
            urgency = Urgency.bad if before and cost >= _BAD_FACTOR * before else Urgency.look
            said = f"{words} {cost:.2f} USD (usually {before:.2f})"
            command = f"smarttext explain {column} --all {on_day(facts.day)}"
            yield Judgement(name, urgency, said, f"{said[0].upper()}{said[1:]}.", command)


def _budgets(facts: Facts) -> Iterator[Judgement]:
    for place, each in enumerate(facts.crossings[:NAMED]):
        used = f"{shown_name(each.business)} used {each.percent:.0f} % of its OpenAI budget"
        urgency = Urgency.look if each.percent >= _FULL else Urgency.note
        phrase = used if place == 0 and urgency else ""
        command = f"smarttext explain openai_tokens_used {of_business(each.business_id)} {on_day(facts.day)}"
        yield Judgement(f"budget {each.business_id}", urgency, phrase, f"{used}.", command)
    if facts.refused:
        reasons = ", ".join(f"{count:,} × {_REFUSALS.get(reason, reason)}" for reason, count in facts.refused.items())
        said = f"{counted(sum(facts.refused.values()), 'OpenAI call')} refused by the guard"
        yield Judgement("refused", Urgency.look, said, f"{said}: {reasons}.", "smarttext budgets show")


def _unusual(facts: Facts) -> Iterator[Judgement]:
    if facts.is_complete and not facts.is_searched:
        text = "The day was not searched for anomalies."
        yield Judgement("not searched", Urgency.note, "", text, f"smarttext rollup {on_day(facts.day)}")
    for each in facts.anomalies[:NAMED]:
        text = f"Unusual, {each.whom}: {sentence(each)}."
        yield Judgement(f"anomaly {each.id}", Urgency.note, "", text, f"smarttext anomalies explain {each.id}")
    if len(facts.anomalies) > NAMED:
        text = f"And {counted(len(facts.anomalies) - NAMED, 'more anomaly', 'more anomalies')} of that day."
        yield Judgement("anomalies", Urgency.note, "", text, f"smarttext anomalies list {on_day(facts.day)}")


def _remarks(facts: Facts) -> Iterator[Judgement]:
    if facts.restated:
        days = ", ".join(map(str, facts.restated[:NAMED]))
        text = f"Numbers of earlier days changed: {days}; compare them with what you noted."
        yield Judgement("restated", Urgency.note, "", text, f"smarttext stats {on_day(facts.restated[0])}")
    if not facts.is_complete and facts.is_over:
        text = "The day was rolled up before its end: its numbers are partial."
        yield Judgement(
            "partial", Urgency.look, "its numbers are partial", text, f"smarttext rollup {on_day(facts.day)}"
        )
