"""The week in a few lines: seven days beside the median of the four weeks before."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

from sqlalchemy import Connection

from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.digest.text import Line
from smarttext_pipelines.digest.totals import Totals, read_totals, summed

_DAYS, _WEEKS = 7, 4


def week_lines(connection: Connection, last: date, reply_minutes: int) -> list[Line]:
    """Return the lines of the seven days that end with a day.

    Args:
        connection: A connection to the event database.
        last: Last day, included.
        reply_minutes: Minutes that count as in time.
    """
    first = last - timedelta(days=_DAYS * (_WEEKS + 1) - 1)
    totals = read_totals(connection, [first + timedelta(days=n) for n in range(_DAYS * (_WEEKS + 1))])
    weeks = [
        [totals[day] for n in range(_DAYS) if (day := last - timedelta(days=n + _DAYS * week)) in totals]
        for week in range(_WEEKS + 1)
    ]
    this = weeks[0]
    begin = last - timedelta(days=_DAYS - 1)
    command = f"smarttext stats --from {begin} --to {last}"
    if len(this) < _DAYS:
        was = "was" if len(this) == 1 else "were"
        return [Line(f"The week from {begin} to {last}: only {len(this)} of 7 days {was} rolled up.", command)]
    before = [summed(week) for week in weeks[1:] if len(week) == _DAYS]
    t = summed(this)

    def beside(value: Callable[[Totals], Decimal | int | None], unit: str = "") -> str:
        known = [float(found) for each in before if (found := value(each)) is not None]
        return f" (weeks before: {median(known):,.2f}{unit})" if known else ""

    shares = (
        f"{counted(t.missed, 'missed call')}, {_shown(t.in_time_percent)} % answered within {reply_minutes} min"
        f"{beside(lambda each: each.in_time_percent, ' %')}"
    )
    failed = (
        f"{counted(t.texts, 'text')}, {_shown(t.failed_percent)} % failed{beside(lambda e: e.failed_percent, ' %')}"
    )
    cost = f"OpenAI {t.openai_usd:.2f} USD{beside(lambda each: each.openai_usd)}"
    return [Line(f"The week from {begin} to {last}: {shares}; {failed}; {cost}.", command)]


def _shown(found: Decimal | None) -> str:
    return "–" if found is None else f"{found:.2f}"
