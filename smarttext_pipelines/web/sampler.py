"""The sampler: counts today whenever a source has a new row, with the expressions of the rollup, and says so.

It asks each second for the newest row of each source by index. The statements of a day are compiled once; of the time
of reading only its text is replaced. Its pause is at least a second and five times what the last count took, so that a
large installation is not burdened.
"""

import logging
import time
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import ibis.expr.operations as ops
from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import DatabaseError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.digest.totals import Source, Totals, read_totals
from smarttext_pipelines.engines import Parameters, PostgresEngine
from smarttext_pipelines.engines.engine import give_repeated_keys
from smarttext_pipelines.engines.postgres import PLANNER
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.metrics.metric import Window
from smarttext_pipelines.metrics.window_tables import REPEATED_KEYS, WINDOW_TABLES
from smarttext_pipelines.schema.installation import counts_usage_by_time
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.live_today import LiveToday, Unanswered, keep_live_today

CHANNEL = "smarttext_live"
"""PostgreSQL's channel on which topics are announced; the payload is the topic."""

PAUSE_SECONDS = 1.0
_SHARE = 5
_FACTS = tuple(METRICS[name] for name in METRICS["daily_stats"].inputs if name in METRICS)
_LIVE = Source("live_daily_stats", "live_missed_call_replies", "live_spend")
_NEWEST = text(
    """
    WITH until AS (SELECT now() + interval '1 day' AS at)
    SELECT (SELECT max(created_at) FROM monitoring.sms_events WHERE created_at < until.at) AS sms_events,
           (SELECT max(ts) FROM monitoring.call_events WHERE ts < until.at) AS call_events,
           (SELECT max(created_at) FROM monitoring.api_usage WHERE created_at < until.at) AS api_usage,
           (SELECT max(created_at) FROM monitoring.owner_alerts WHERE created_at < until.at) AS owner_alerts
    FROM until
    """
)
_VERSIONS = text(
    """
    SELECT 'incidents' AS topic, (SELECT max(evaluated_at)::text FROM monitoring.incidents
                                  WHERE state IN ('firing', 'recovering')) AS version
    UNION ALL SELECT 'incidents', (SELECT concat_ws(' ', count(*), max(fired_at), max(resolved_at),
                                                    count(acknowledged_by)) FROM monitoring.incidents)
    UNION ALL SELECT 'incidents', (SELECT concat_ws(' ', max(id), max(ends_at)) FROM monitoring.silences)
    UNION ALL SELECT 'budgets', (SELECT concat_ws(' ', sum(used_tokens), sum(granted_tokens), sum(limit_tokens))
                                 FROM monitoring.openai_budgets WHERE day = monitoring.today())
    UNION ALL SELECT 'rollup', (SELECT max(checked_at)::text FROM monitoring.rollup_days)
    """
)
_UNANSWERED = text(
    """
    SELECT coalesce(b.name, '(no business)') AS business, t.business_id, t.unreplied_count AS unreplied,
           t.replied_in_time_count + t.replied_late_count + t.unreplied_count + t.reply_unknown_count AS missed
    FROM live_missed_call_replies AS t LEFT JOIN monitoring.business_names AS b ON b.id = t.business_id
    WHERE t.unreplied_count > 0 ORDER BY unreplied DESC, business, t.business_id LIMIT 20
    """
)
_NOTIFY = text("SELECT pg_notify(:channel, :topic)")

_NO_SCHEMA = ops.Namespace()
Newest = dict[str, datetime | None]

_logger = logging.getLogger(__name__)


class Sampler:
    """Counts today; knows what it saw at the last look."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """Begin with nothing seen.

        Args:
            engine: Of the event database, as the pipeline's role.
            settings: Zone and the like.
        """
        self._engine, self._settings = engine, settings
        self._seen: Any = None
        self._versions: Any = None

    def look(self, now: datetime) -> list[str]:
        """Look once: count today if something is new, announce every topic that changed, and return the topics."""
        today = day_of(now, self._settings.zone)
        with connected(self._engine) as connection, connection.begin():
            topics = self._changed(connection)
            newest = dict(connection.execute(_NEWEST).mappings().one())
            # A caller becomes unanswered when the promised time has passed, without any new row.
            state = (today, newest, int(now.timestamp() // 60))
            if state != self._seen:
                keep_live_today(connection, self.count(connection, today, now, newest))
                topics.add("today")
            for topic in sorted(topics):
                connection.execute(_NOTIFY, {"channel": CHANNEL, "topic": topic})
        self._seen = state
        return sorted(topics)

    def count(self, connection: Connection, today: date, now: datetime, newest: Newest) -> LiveToday:
        """Return today as the rollup would write it; only temporary tables of the transaction are written."""
        settings = self._settings
        for statement in PLANNER:
            connection.exec_driver_sql(statement)
        window = Window(
            DayRange(today, today),
            settings.zone,
            settings.settle_days,
            now,
            reply_minutes=settings.reply_minutes,
            usage_by_time=counts_usage_by_time(connection),
        )
        shared = [each.get_secret_value() for each in settings.shared_senders]
        engine = PostgresEngine(connection, Parameters(window, shared))
        give_repeated_keys(engine, engine.fetch(REPEATED_KEYS(engine.tables, window)))
        for name, build in WINDOW_TABLES.items():
            engine.keep(build(engine.tables, window), name)
        for metric in (*_FACTS, METRICS["daily_stats"]):
            # Later metrics read it in place of the table of the metric itself.
            table = f"live_{metric.name}"
            engine.stage(metric.rows(engine.tables, window), table)
            own = engine.tables[metric.name].op()
            engine.tables[metric.name] = own.copy(name=table, namespace=_NO_SCHEMA).to_expr()
        found = read_totals(connection, [today], source=_LIVE)
        totals = found.get(today, Totals(in_time=0, late=0, never=0, unknown=0))
        rows = connection.execute(_UNANSWERED).mappings()
        unanswered = [Unanswered(**{**row, "business": shown_name(row["business"])}) for row in rows]
        return LiveToday(today, now, totals, unanswered, newest)

    def _changed(self, connection: Connection) -> set[str]:
        found = [tuple(row) for row in connection.execute(_VERSIONS)]
        before, self._versions = self._versions or found, found
        return {new[0] for old, new in zip(before, found, strict=True) if old != new}


def run_sampler(sampler: Sampler, clock: Callable[[], datetime], wait: Callable[[float], bool]) -> None:
    """Look until ``wait`` returns true; a database that is away is asked again."""
    waits = 0.0  # The first look compiles what is read from then on.
    while True:
        began = time.monotonic()
        try:
            sampler.look(clock())
        except DatabaseError as error:
            _logger.warning("%s; trying again", error)
        if wait(max(PAUSE_SECONDS, waits * (time.monotonic() - began))):
            return
        waits = _SHARE
