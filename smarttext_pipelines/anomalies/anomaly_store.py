"""Where anomalies are kept: a day is searched and written in one transaction, and a rerun writes the same rows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.anomalies.scoring import LEAST_USD, DayScores, Mark, Verdict, learning_days, score
from smarttext_pipelines.anomalies.series_reader import read_series
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.database.rolled_up_days import complete_days

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('smarttext:anomalies', 0))")
_MARKS = text("SELECT business_id, first_day, last_day FROM monitoring.anomaly_marks ORDER BY id")
_VERDICTS = text(
    """
    SELECT metric, business_id, side, day, nats FROM monitoring.anomaly_verdicts
    WHERE verdict IN ('wrong', 'expected') ORDER BY anomaly_id
    """
)
_WRITE = text(
    """
    WITH seen AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (
            day date, metric text, business_id uuid, side smallint, window_days smallint, found numeric, whole numeric,
            expected numeric, low numeric, high numeric, nats double precision)
    ), gone AS (
        DELETE FROM monitoring.anomalies AS a
        WHERE a.day = ANY (CAST(:days AS date[])) AND NOT EXISTS (
            SELECT FROM seen AS s
            WHERE s.day = a.day AND s.metric = a.metric AND s.business_id IS NOT DISTINCT FROM a.business_id)
    )
    INSERT INTO monitoring.anomalies AS a
        (day, metric, business_id, side, window_days, found, whole, expected, low, high, nats)
    SELECT day, metric, business_id, side, window_days, found, whole, expected, low, high, nats
    FROM seen ORDER BY day, metric, business_id NULLS FIRST
    ON CONFLICT (day, metric, business_id) DO UPDATE
    SET side = EXCLUDED.side, window_days = EXCLUDED.window_days, found = EXCLUDED.found, whole = EXCLUDED.whole,
        expected = EXCLUDED.expected, low = EXCLUDED.low, high = EXCLUDED.high, nats = EXCLUDED.nats
    WHERE (a.side, a.window_days, a.found, a.whole, a.expected, a.low, a.high, a.nats) IS DISTINCT FROM (EXCLUDED.side,
        EXCLUDED.window_days, EXCLUDED.found, EXCLUDED.whole, EXCLUDED.expected, EXCLUDED.low, EXCLUDED.high,
        EXCLUDED.nats)
    """
)
_SEARCHED = text(
    """
    INSERT INTO monitoring.anomaly_days (day, tested_count)
    SELECT day, tested FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (day date, tested integer)
    ON CONFLICT (day) DO UPDATE SET tested_count = EXCLUDED.tested_count, evaluated_at = EXCLUDED.evaluated_at
    """
)


@dataclass(frozen=True)
class Searched:
    """What a search of a day found.

    Attributes:
        found: Series that were unusual.
        tested: Series that were looked at.
        expected_false: How many of them would be unusual by chance on a day like any other.
    """

    found: int
    tested: int
    expected_false: float


FALSE_A_YEAR = 0.15
"""False alarms a series and year that the thresholds are set for; measured in docs/anomalies.md."""


def search_days(
    connection: Connection, days: DayRange, zone: ZoneInfo, least_usd: float = LEAST_USD
) -> Mapping[date, Searched]:
    """Search some days for what is unusual, and write what was found; a day that is not rolled up is left out.

    Args:
        connection: In a transaction.
        days: The days.
        zone: Reporting zone.
        least_usd: Smallest difference of an amount of money that matters.
    """
    connection.execute(_LOCK)
    marks = [Mark(*row) for row in connection.execute(_MARKS)]
    verdicts = [Verdict(*row) for row in connection.execute(_VERDICTS)]
    complete = complete_days(connection, days, zone)
    result: dict[date, Searched] = {}
    for wanted in _months(days):
        known = [day for day in wanted if day in complete]
        if known:
            series = read_series(connection, learning_days(wanted.last), zone)
            scored = score(series, wanted, marks, verdicts, least_usd)
            result |= _write(connection, {day: scored[day] for day in known})
    return result


def _write(connection: Connection, scored: Mapping[date, DayScores]) -> Mapping[date, Searched]:
    rows = _json(asdict(each) for of_day in scored.values() for each in of_day.found)
    connection.execute(_WRITE, {"rows": rows, "days": list(scored)})
    connection.execute(_SEARCHED, {"rows": _json({"day": day, "tested": s.tested} for day, s in scored.items())})
    return {day: Searched(len(s.found), s.tested, round(s.tested * FALSE_A_YEAR / 365, 2)) for day, s in scored.items()}


def _json(rows: Iterable[Mapping[str, object]]) -> str:
    return json.dumps(list(rows), default=str)


def _months(days: DayRange) -> Sequence[DayRange]:
    """Return the days, cut where a month begins: the days of one month are learnt together."""
    result: list[DayRange] = []
    for day in days:
        if result and (result[-1].first.year, result[-1].first.month) == (day.year, day.month):
            result[-1] = DayRange(result[-1].first, day)
        else:
            result.append(DayRange(day, day))
    return result
