"""Episodes: days in a row on which a series was unusual, and what people say of them."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from smarttext_pipelines.anomalies.in_words import Episode
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown
from smarttext_pipelines.core.errors import InputError

QUIET_DAYS = 3
"""Days without a finding that are still within an episode."""

SHOWN = 200
VERDICTS = ("right", "wrong", "expected")

_SERIES = "metric, coalesce(business_id, '00000000-0000-0000-0000-000000000000'), side"
_NEAR = f"day BETWEEN CAST(:since AS date) - {QUIET_DAYS} AND CAST(:until AS date) + {QUIET_DAYS}"
_EPISODES = f"""
    WITH steps AS (
        SELECT *, coalesce(day - lag(day) OVER series > {QUIET_DAYS + 1}, true)::int AS begins
        FROM monitoring.anomalies
        WHERE ({_SERIES}) IN (SELECT {_SERIES} FROM monitoring.anomalies WHERE {{wanted}})
        WINDOW series AS (PARTITION BY metric, business_id, side ORDER BY day)
    ), numbered AS (
        SELECT *, sum(begins) OVER (PARTITION BY metric, business_id, side ORDER BY day) AS episode FROM steps
    ), days AS (
        SELECT min(id) OVER whole AS id, metric, business_id, side, min(day) OVER whole AS first_day,
               max(day) OVER whole AS last_day, day, window_days, found, n.whole, expected, low, high, nats
        FROM numbered AS n WINDOW whole AS (PARTITION BY metric, business_id, side, episode)
    ), episodes AS (
        SELECT DISTINCT ON (id) * FROM days WHERE CAST(:day AS date) IS NULL OR day = :day ORDER BY id, nats DESC, day
    )
    SELECT e.*, b.name AS business, v.verdict, v.said_by
    FROM episodes AS e LEFT JOIN monitoring.business_names AS b ON b.id = e.business_id
    LEFT JOIN LATERAL (
        SELECT verdict, said_by FROM monitoring.anomaly_verdicts AS v
        WHERE v.metric = e.metric AND v.side = e.side AND v.business_id IS NOT DISTINCT FROM e.business_id
            AND v.day BETWEEN e.first_day AND e.last_day
        ORDER BY said_at DESC LIMIT 1
    ) AS v ON true
"""  # noqa: S608 - a constant
_ORDER = "ORDER BY e.business_id IS NOT NULL, e.nats DESC, e.id LIMIT :limit"
_OF_BUSINESS = "(CAST(:business AS uuid) IS NULL OR e.business_id = :business)"
_WITHIN = "e.last_day >= :since AND e.first_day <= :until"
_LIST = text(f"{_EPISODES.format(wanted=_NEAR)} WHERE {_WITHIN} AND {_OF_BUSINESS} {_ORDER}")
_ONE = text(
    f"""
    {_EPISODES.format(wanted="id = :id")}
    JOIN monitoring.anomalies AS a ON a.id = :id AND a.metric = e.metric AND a.side = e.side
        AND a.business_id IS NOT DISTINCT FROM e.business_id AND a.day BETWEEN e.first_day AND e.last_day
    """
)
_SEARCHED = text("SELECT max(day) FROM monitoring.anomaly_days WHERE day <= :day")
_VERDICT = text(
    """
    INSERT INTO monitoring.anomaly_verdicts (anomaly_id, metric, business_id, side, day, nats, verdict, said_by)
    VALUES (:id, :metric, :business_id, :side, :day, :nats, :verdict, :said_by)
    ON CONFLICT (anomaly_id) DO UPDATE
    SET verdict = EXCLUDED.verdict, said_by = EXCLUDED.said_by, day = EXCLUDED.day, nats = EXCLUDED.nats,
        said_at = EXCLUDED.said_at
    """
)
_MARK = text(
    """
    INSERT INTO monitoring.anomaly_marks (business_id, first_day, last_day, reason, marked_by)
    VALUES (:business, :first, :last, :reason, :by) RETURNING id
    """
)
_MARKS = text(
    """
    SELECT m.id, coalesce(b.name, CASE WHEN m.business_id IS NULL THEN 'everybody' END) AS business, m.first_day,
           m.last_day, m.reason, m.marked_by
    FROM monitoring.anomaly_marks AS m LEFT JOIN monitoring.business_names AS b ON b.id = m.business_id
    ORDER BY m.last_day DESC, m.id DESC LIMIT 200
    """
)


def _episodes(rows: Sequence[Mapping[Any, Any]]) -> list[Episode]:
    return [Episode(**row) for row in rows]


def episodes_of(connection: Connection, day: date, business: UUID | None = None, limit: int = SHOWN) -> list[Episode]:
    """Return what was unusual on a day, with that day's numbers: all businesses together first, then the rarest."""
    values = {"day": day, "since": day, "until": day, "business": business, "limit": limit}
    return _episodes(connection.execute(_LIST, values).mappings().all())


def episodes_between(
    connection: Connection, days: DayRange, business: UUID | None = None, limit: int = SHOWN
) -> list[Episode]:
    """Return what was unusual on any of some days, of a business or of all, with the numbers of its rarest day."""
    values = {"day": None, "since": days.first, "until": days.last, "business": business, "limit": limit}
    return _episodes(connection.execute(_LIST, values).mappings().all())


def find_episode(connection: Connection, number: int) -> Episode:
    """Return the episode that a number belongs to; raise InputError for a number that is none."""
    found = _episodes(connection.execute(_ONE, {"id": number, "day": None}).mappings().all())
    if not found:
        msg = f"there is no anomaly {number}; see `smarttext anomalies list`"
        raise InputError(msg)
    return found[0]


def searched_day(connection: Connection, until: date) -> date | None:
    """Return the newest day up to one that was searched."""
    result: date | None = connection.scalar(_SEARCHED, {"day": until})
    return result


def say_verdict(connection: Connection, number: int, verdict: str, by: str) -> Episode:
    """Keep what somebody says of an anomaly; the last word counts.

    Args:
        connection: In a transaction.
        number: Of the episode.
        verdict: right, wrong or expected; after the last two the series must be ten times as unusual to be told again.
        by: Who says it.

    Raises:
        InputError: There is no such anomaly or verdict.
    """
    if verdict not in VERDICTS:
        msg = f"'{verdict}' is no verdict; write {', '.join(VERDICTS[:-1])} or {VERDICTS[-1]}"
        raise InputError(msg)
    found = find_episode(connection, number)
    values = {
        "id": found.id,
        "metric": found.metric,
        "business_id": found.business_id,
        "side": found.side,
        "day": found.last_day,
        "nats": found.nats,
        "verdict": verdict,
        "said_by": shown(by),
    }
    connection.execute(_VERDICT, values)
    return find_episode(connection, number)


def mark_days(connection: Connection, business: UUID | None, first: date, last: date, reason: str, by: str) -> int:
    """Note that some days are explained, and return the number of the mark; what is searched later knows it.

    Args:
        connection: In a transaction.
        business: Business; None for everybody.
        first: First day.
        last: Last day.
        reason: Why, in a line.
        by: Who says it.
    """
    values = {"business": business, "first": first, "last": last, "reason": shown(reason), "by": shown(by)}
    return int(connection.execute(_MARK, values).scalar_one())


def list_marks(connection: Connection) -> list[dict[str, Any]]:
    """Return the newest two hundred marks."""
    return [dict(row) for row in connection.execute(_MARKS).mappings()]
