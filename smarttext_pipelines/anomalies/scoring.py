"""The days of all series scored, and what is unusual among them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import UUID

import numpy as np

from smarttext_pipelines.anomalies.compared_day import Scored
from smarttext_pipelines.anomalies.day_windows import WINDOWS
from smarttext_pipelines.anomalies.judging import unusual
from smarttext_pipelines.anomalies.learning import MIN_AGE, Learner
from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS, SeriesKind
from smarttext_pipelines.anomalies.series_reader import Series
from smarttext_pipelines.anomalies.tails import Flags, Float, Floats
from smarttext_pipelines.core.days import DayRange

LEAST_USD = 1.0
"""Smallest difference of an amount of money that matters, where a setting does not say."""

_RANGE_SD = 2.0
"""Standard deviations around what was to be expected that are told as its range; 95 % of a normal distribution."""

_COMPARED_DAYS = 28
_EXPLAINED_SD = 3.0
"""Standard deviations within which what is left of a sum is as usual."""

_TEN_TIMES_RARER = float(np.log(10.0))


@dataclass(frozen=True)
class Unusual:
    """A series on a day on which it was unusual.

    Attributes:
        day: Last day of the window.
        metric: Kind of the series.
        business_id: None for the platform.
        side: 1 for too much, −1 for too little.
        window_days: Known days of the window that was the most unusual.
        found: What was counted in it; exact.
        whole: What it is out of; None for a count.
        expected: What was to be expected.
        low: Lower end of what was to be expected.
        high: Upper end.
        nats: −ln of the calibrated tail probability.
    """

    day: date
    metric: str
    business_id: UUID | None
    side: int
    window_days: int
    found: float
    whole: float | None
    expected: float
    low: float
    high: float
    nats: float


@dataclass(frozen=True)
class Mark:
    """Days that somebody explained, of a business or of everybody: a closed day, a campaign, a number that moved."""

    business_id: UUID | None
    first: date
    last: date


@dataclass(frozen=True)
class Verdict:
    """What somebody said of an anomaly of a series; after a wrong or expected one it must be ten times rarer."""

    metric: str
    business_id: UUID | None
    side: int
    day: date
    nats: float


@dataclass
class DayScores:
    """What was found on a day, and how many series were looked at."""

    found: list[Unusual]
    tested: int = 0


def learning_days(day: date) -> DayRange:
    """Return the days that are learnt for the days of a month: from three months before.

    Every day of a month begins at the same day, so that a day scores the same alone and in a range.
    """
    begin = day.replace(day=1)
    for _ in range(3):
        begin = (begin - timedelta(days=1)).replace(day=1)
    return DayRange(begin, day)


def score(
    series: Series,
    wanted: DayRange,
    marks: Sequence[Mark] = (),
    verdicts: Sequence[Verdict] = (),
    least_usd: float = LEAST_USD,
) -> Mapping[date, DayScores]:
    """Return what was unusual on each wanted day; nothing of a later day is looked at.

    Args:
        series: Of all days to learn from, up to the last wanted one.
        wanted: Days of one month.
        marks: Explained days: not learnt and not told.
        verdicts: Anomalies that people called wrong or expected.
        least_usd: Smallest difference of an amount of money that matters.
    """
    result = {day: DayScores([]) for day in wanted}
    marked = _marked(series, marks)
    for kind in SERIES_KINDS.values():
        known = replace(kind, least=least_usd) if kind.is_money else kind
        _score_kind(known, series, marked, verdicts, result)
    return result


def _score_kind(
    kind: SeriesKind, series: Series, marked: Flags, verdicts: Sequence[Verdict], result: Mapping[date, DayScores]
) -> None:
    part, whole = series.parts(kind)
    if not np.nansum(part if whole is None else whole):
        # Nothing of that kind ever happened.
        return
    learner = Learner(kind.shape, kind.two_sided, len(series.businesses))
    is_platform = np.arange(part.shape[1]) == len(series.businesses)
    for row, day in enumerate(series.days):
        age = learner.age
        of_day = (
            part[row].astype(Float),
            None if whole is None else whole[row].astype(Float),
            day.weekday(),
            marked[row],
        )
        if day not in result:
            learner.learn(*of_day)
            continue
        scored = learner.step(*of_day)
        least = _least_nats(kind, series, scored, verdicts, day)
        flags = unusual(kind, scored, age, is_platform=is_platform, least_nats=least) & ~marked[row]
        if flags[-1]:
            flags[-1] = not _is_explained(scored, flags | marked[row], _marked_excess(part, marked, row, scored))
        result[day].tested += int(((age >= MIN_AGE) & ~np.isnan(part[row])).sum())
        result[day].found.extend(_told(kind, series, (part, whole), marked, row, scored, flags))


def _marked_excess(part: Floats, marked: Flags, row: int, scored: Scored) -> float:
    """Return how far explained days of businesses, before the last of the platform's window, are from their weeks."""
    result = 0.0
    for day in range(max(row - WINDOWS[int(scored.window[-1])] + 1, 0), row):
        for n in np.flatnonzero(marked[day, :-1] & ~marked[day, -1] & ~np.isnan(part[day, :-1])):
            before = part[max(day - _COMPARED_DAYS, 0) : day, n]
            if not np.isnan(before).all():
                result += float(part[day, n] - np.nanmedian(before))
    return result


def _is_explained(scored: Scored, flags: Flags, marked_excess: float) -> bool:
    """Whether the platform would be as usual without the businesses that are told, or explained, themselves."""
    excess = scored.excess[int(scored.window[-1])]
    told = flags[:-1] & (np.sign(excess[:-1]) == scored.side[-1])
    rest = excess[-1] - excess[:-1][told].sum() - marked_excess
    return bool(abs(rest) <= _EXPLAINED_SD * scored.spread[-1])


def _told(
    kind: SeriesKind,
    series: Series,
    cells: tuple[Floats, Floats | None],
    marked: Flags,
    row: int,
    scored: Scored,
    flags: Flags,
) -> Iterator[Unusual]:
    part, whole = cells
    for n in np.flatnonzero(flags):
        span = slice(max(row - WINDOWS[int(scored.window[n])] + 1, 0), row + 1)
        expected, spread = float(scored.expected[n]), float(scored.spread[n])
        counted = part[span, n][~marked[span, n]]
        of = None if whole is None else float(np.nansum(whole[span, n][~marked[span, n]]))
        high = expected + _RANGE_SD * spread
        yield Unusual(
            day=series.days.first + timedelta(days=row),
            metric=kind.name,
            business_id=series.businesses[n] if n < len(series.businesses) else None,
            side=int(scored.side[n]),
            window_days=int(np.isfinite(counted).sum()),
            found=round(float(np.nansum(counted)), 6),
            whole=of,
            expected=round(expected, 6),
            low=round(max(expected - _RANGE_SD * spread, 0.0), 6),
            high=round(min(high, of) if kind.shape == "rate" and of is not None else high, 6),
            nats=round(float(scored.nats[n]), 3),
        )


def _marked(series: Series, marks: Sequence[Mark]) -> Flags:
    result = np.zeros((len(series.days), len(series.businesses) + 1), bool)
    place = {business: n for n, business in enumerate(series.businesses)}
    for mark in marks:
        first, last = max(mark.first, series.days.first), min(mark.last, series.days.last)
        rows = slice((first - series.days.first).days, (last - series.days.first).days + 1)
        if first > last or (mark.business_id is not None and mark.business_id not in place):
            continue
        result[rows, slice(None) if mark.business_id is None else place[mark.business_id]] = True
    return result


def _least_nats(
    kind: SeriesKind, series: Series, scored: Scored, verdicts: Sequence[Verdict], day: date
) -> Floats | float:
    said = [each for each in verdicts if each.metric == kind.name and each.day < day]
    if not said:
        return 0.0
    place = {business: n for n, business in enumerate((*series.businesses, None))}
    result = np.zeros(len(place))
    for each in said:
        n = place.get(each.business_id)
        if n is not None and scored.side[n] == each.side:
            result[n] = max(result[n], each.nats + _TEN_TIMES_RARER)
    return result
