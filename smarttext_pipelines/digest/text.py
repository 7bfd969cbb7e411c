"""How a digest reads. Pure: the same facts give the same lines."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.facts import Facts
from smarttext_pipelines.digest.judged import judge
from smarttext_pipelines.digest.thing_to_tell import Judgement, Urgency, share, usual
from smarttext_pipelines.digest.totals import Totals
from smarttext_pipelines.digest.traffic import is_quiet

MAX_LINES = 20
"""Lines of a digest that is sent, with its headline; `smarttext digest` and the dashboard show all."""

_PHRASES = 3


@dataclass(frozen=True)
class Line:
    """A sentence and the command that shows the rows behind it.

    Attributes:
        text: Whole sentences.
        command: Command; empty for a remark.
        urgency: How soon somebody should look.
        is_new: Whether it was not told of the day before.
    """

    text: str
    command: str = ""
    urgency: Urgency = Urgency.note
    is_new: bool = False

    def __str__(self) -> str:
        """Return the line as it is printed."""
        return f"{self.text} `{self.command}`" if self.command else self.text


@dataclass(frozen=True)
class Digest:
    """A digest: its headline, its lines, and the state that the headline says."""

    state: str
    headline: str
    lines: tuple[Line, ...]


def write_digest(facts: Facts, before: Facts | None = None, most: int | None = None) -> Digest:
    """Return the digest of a day; what was not told of the day before comes first.

    Args:
        facts: Of the day.
        before: Of the day before; None where it was not rolled up.
        most: Lines at most, with the headline; the least urgent are left out, and counted. None for all.
    """
    day = f"{facts.day:%A} {facts.day.day} {facts.day:%B %Y}"
    if not facts.is_computed:
        line = Line("The day was not rolled up.", f"smarttext rollup --date {facts.day}", Urgency.look)
        return Digest("unknown", f"Unknown, {day}: the day was not rolled up", (line,))
    found = judge(facts)
    old = {each.key for each in judge(before)} if before and before.is_computed else {each.key for each in found}
    found = sorted(found, key=lambda each: (each.key in old, -each.urgency))
    state = _state(facts, found)
    lines = [Line(each.text, each.command, each.urgency, each.key not in old) for each in found]
    numbers = [_calls(facts), _delivery(facts), *_cost(facts)]
    if not lines:
        numbers = [Line(f"{numbers[0].text} {numbers[1].text}", numbers[0].command), *numbers[2:]]
    if most is not None:
        lines = _most_urgent(lines, most - len(numbers) - 2, facts)
    told = [*_marked(lines, before), *numbers] if _any_new(lines) else [*numbers, *lines]
    zone = [Line(f"Times: {facts.zone.key}.")] if facts.incidents else []
    return Digest(state, f"{_LEADS[state]}, {day}: {_headline(facts, state, found)}", (*told, *zone))


def digest_lines(facts: Facts, before: Facts | None = None) -> list[str]:
    """Return the headline and the lines as text: at most ``MAX_LINES``, four when all is well."""
    digest = write_digest(facts, before, MAX_LINES)
    return [digest.headline, *map(str, digest.lines)]


def _most_urgent(lines: list[Line], most: int, facts: Facts) -> list[Line]:
    """Return the most urgent lines in their order, and in place of the others how many they are."""
    if len(lines) <= most:
        return lines
    kept = sorted(sorted(range(len(lines)), key=lambda n: -lines[n].urgency)[: most - 1])
    rest = f"And {len(lines) - len(kept)} more things to tell of that day."
    return [*(lines[n] for n in kept), Line(rest, f"smarttext digest --date {facts.day}")]


_LEADS = {
    "well": "All well",
    "well so far": "All well so far",
    "first": "First day",
    "look": "Worth a look",
    "quiet": "Quiet day",
    "quiet so far": "Quiet so far",
    "bad": "Bad day",
    "bad so far": "Bad day so far",
    "empty": "Nothing happened",
    "empty so far": "Nothing so far",
}


def _any_new(lines: list[Line]) -> bool:
    return any(line.is_new for line in lines)


def _marked(lines: list[Line], before: Facts | None) -> list[Line]:
    if before is None:
        return lines
    return [
        Line(f"New: {line.text}" if line.is_new else f"Still: {line.text}", line.command, line.urgency, line.is_new)
        for line in lines
    ]


def _state(facts: Facts, found: list[Judgement]) -> str:
    worst = max((each.urgency for each in found), default=Urgency.note)
    if worst is Urgency.bad:
        return "bad" if facts.is_over else "bad so far"
    if is_quiet(facts):
        return "quiet" if facts.is_over else "quiet so far"
    if worst is Urgency.look:
        return "look"
    arrived = facts.today.events or (facts.so_far.events if facts.so_far else 0)
    if not facts.is_over:
        return "well so far" if arrived else "empty so far"
    if not arrived:
        return "empty"
    return "well" if usual(facts, lambda t: Decimal(t.events)) else "first"


def _headline(facts: Facts, state: str, found: list[Judgement]) -> str:
    if state in ("empty", "empty so far"):
        return "no call and no text" + ("" if facts.is_over else "; the day is not over")
    worst = sorted((each for each in found if each.urgency and each.phrase), key=lambda each: -each.urgency)
    if state in ("well", "well so far", "first"):
        return _well(facts, state)
    phrases = [each.phrase for each in worst if each.urgency is worst[0].urgency][:_PHRASES]
    return ", ".join([*phrases, _well(facts, state)] if state in ("quiet", "quiet so far") else phrases)


def _well(facts: Facts, state: str) -> str:
    t = facts.today
    if t.missed and t.in_time_percent is not None:
        said = f"{share(t.in_time_percent)} answered within {facts.reply_minutes} minutes"
    else:
        said = f"no missed call, {counted(t.texts, 'text')}"
    ends = {
        "first": ", nothing to compare with yet",
        "well": ", as usual",
        "well so far": "; the day is not over",
        "quiet so far": "; the day is not over",
    }
    return said + ends.get(state, "")


def _calls(facts: Facts) -> Line:
    t, command = facts.today, f"smarttext stats --date {facts.day}"
    if not t.missed:
        return Line("No missed call.", command)
    if t.in_time is None:
        return Line(f"{counted(t.missed, 'missed call')}; whether they were answered was not computed.", command)
    text = (
        f"{counted(t.missed, 'missed call')}: {t.in_time:,} got a text within {facts.reply_minutes} min "
        f"({t.in_time_percent:.2f} %{_beside(facts, lambda each: each.in_time_percent, '%')}), {t.late:,} later, "
        f"{t.never:,} never, {t.unknown:,} unknown.{_robocallers_unknown(facts)}"
    )
    return Line(text, command)


def _robocallers_unknown(facts: Facts) -> str:
    return " Likely robocallers among them: unknown." if facts.day in facts.robocalls.unknown_days else ""


def _delivery(facts: Facts) -> Line:
    t, command = facts.today, f"smarttext explain sms_failure_count --all --date {facts.day}"
    if not t.texts:
        return Line("No text was sent.", f"smarttext stats --date {facts.day}")
    if t.failed_percent is None:
        known = _shown(t.known_percent)
        text = f"{counted(t.texts, 'text')}, failure rate unknown (the final outcome is known for {known} %)."
        return Line(text, command)
    beside = _beside(facts, lambda each: each.failed_percent, "%")
    failed = f"{t.failed:,} of {t.decided:,} with an outcome failed ({t.failed_percent:.2f} %{beside})"
    known = f"the final outcome is known for {t.known_percent:.2f} %."
    return Line(f"{counted(t.texts, 'text')}: {failed}; {known}", command)


def _cost(facts: Facts) -> list[Line]:
    t, month = facts.today, facts.month
    texts = "not recorded" if t.texts_usd is None else f"{t.texts_usd:.2f} USD"
    included = ", carriers' fees included" if t.texts_usd is not None else ""
    fees = included if t.fees_usd is None else f", carriers' fees {t.fees_usd:.2f} USD"
    usually = "the day is not over"
    if facts.is_over:
        usually = _beside(facts, lambda each: each.openai_usd, "USD").removeprefix("; ")
    text = f"OpenAI {t.openai_usd:.2f} USD ({usually}), texts {texts}{fees}."
    lines = [Line(text, f"smarttext stats --date {facts.day}")]
    span = f"smarttext stats --from {facts.day.replace(day=1)} --to {facts.day}"
    so_far = f"{month.month_usd:.2f} USD this month"
    if month.days_missing:
        rolled_up = facts.day.day - month.days_missing
        so_far += f"; only {rolled_up} of its {facts.day.day} days {'was' if rolled_up == 1 else 'were'} rolled up"
    elif month.expected_usd is not None:
        so_far += f", {month.expected_usd:.2f} expected at its end"
    unpriced = f"; without a price: {counted(month.unpriced_requests, 'request')}" if month.unpriced_requests else ""
    return [*lines, Line(f"Cost: {so_far}{unpriced}.", span)]


def _beside(facts: Facts, value: Callable[[Totals], Decimal | None], unit: str) -> str:
    found = usual(facts, value)
    if found is None:
        return "; nothing to compare with"
    return f"; usually {found.median:.2f} {unit}"


def _shown(found: Decimal | None) -> str:
    return "–" if found is None else f"{found:.2f}"
