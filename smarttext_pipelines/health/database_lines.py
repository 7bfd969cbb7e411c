"""Lines that the event database answers: each reads a few rows and judges them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from smarttext_pipelines.budgets.ledger_findings import counter_differences
from smarttext_pipelines.core.days import DayRange, day_of
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.health.heartbeat import CYCLE, read
from smarttext_pipelines.health.verdicts import Line, State, ago, judge_heartbeats, shortly

CLOCK_WARN, CLOCK_FAIL = timedelta(seconds=5), timedelta(seconds=60)
OUTBOX_WARN, OUTBOX_FAIL = timedelta(minutes=3), timedelta(minutes=10)
NIGHT = timedelta(hours=2)
"""After midnight in which yesterday is rolled up."""

_OLDEST_DUE = text(
    """
    SELECT clock_timestamp() - min(due_at) AS waiting, count(*) AS waiting_count,
           string_agg(DISTINCT channel, ', ') AS channels
    FROM monitoring.notifications WHERE status IN ('pending', 'sending', 'unknown') AND due_at <= clock_timestamp()
    """
)
_STUCK = text(
    """
    SELECT channel, max(note) AS note, count(*) AS n,
           coalesce(clock_timestamp() - min(first_attempt_at), interval '0') AS tried
    FROM monitoring.notifications WHERE status IN ('pending', 'unknown') AND attempts > 0 GROUP BY channel
    ORDER BY channel
    """
)
_DEAD = text(
    """
    SELECT channel, count(*) AS n, max(note) AS note FROM monitoring.notifications
    WHERE status = 'dead' AND finished_at > now() - interval '1 day' GROUP BY channel ORDER BY channel
    """
)
_TRACKING = text(
    """
    SELECT coalesce(sum(dropped + damaged) FILTER (WHERE dropped_at > now() - interval '1 day'), 0)::bigint AS lost,
           coalesce(sum(rejected) FILTER (WHERE rejected_at > now() - interval '1 day'), 0)::bigint AS rejected,
           coalesce(sum(buffered), 0)::bigint AS buffered, coalesce(sum(trimmed), 0)::bigint AS trimmed,
           coalesce(sum(odd_numbers), 0)::bigint AS odd, count(*) AS writers
    FROM monitoring.tracking_writers WHERE reported_at > now() - interval '1 day'
    """
)
_UNBOOKED = text(
    """
    SELECT sum(n)::bigint AS waiting, string_agg(refusal || ' (' || n || ' rows)', '; ' ORDER BY n DESC) AS reasons
    FROM (SELECT refusal, count(*) AS n FROM monitoring.openai_reservations WHERE refusal IS NOT NULL
          GROUP BY refusal ORDER BY n DESC LIMIT 5) AS by_reason
    """
)
_TODAY = text("SELECT max(data_through) FROM public.daily_stats WHERE date = :day")
_OLD_ROLLUP = text(
    """
    SELECT (SELECT max(updated_at) FROM public.daily_stats
            WHERE data_through IS NULL AND date >= current_date - 3
                AND updated_at > now() - interval '2 days') AS stats,
           (SELECT max(created_at) FROM monitoring.api_usage
            WHERE endpoint = 'daily_reset' AND created_at > now() - interval '2 days') AS markers,
           (SELECT max(requested_at) FROM monitoring.rollup_requests
            WHERE reason = 'update_daily_stats()' AND requested_at > now() - interval '2 days') AS asks
    """
)
_KEPT = text(
    """
    SELECT count(DISTINCT row_day) AS days, min(row_day) AS first, max(row_day) AS last FROM monitoring.rollup_days
    WHERE table_name IN ('sms_events', 'call_events', 'api_usage', 'owner_alerts')
        AND checked_at > now() - interval '2 days' AND rolled_up_at < checked_at - interval '1 hour'
    """
)
_ARCHIVE = text(
    """
    SELECT count(*) AS segments, count(failure) AS failures, max(failure) AS failure,
           count(*) FILTER (WHERE state = 'planned' AND planned_at < now() - interval '1 day') AS planned,
           max(day) FILTER (WHERE state IN ('verified', 'deleted') AND day > '0001-01-01') AS newest
    FROM monitoring.archive_segments WHERE state <> 'superseded'
    """
)


def clock(connection: Connection) -> Line:
    """Judge the difference between our clock and the database's."""
    theirs: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    skew = abs(datetime.now(UTC) - theirs)
    state = State.fail if skew > CLOCK_FAIL else State.warn if skew > CLOCK_WARN else State.ok
    return Line(
        "clock", state, f"{skew.total_seconds():.1f} s from the database's", _unless_ok(state, "start NTP here")
    )


def daily_stats(connection: Connection, zone: ZoneInfo, now: datetime, first_partition: date) -> Line:
    """Judge whether yesterday is complete, and how old today's numbers are."""
    today = day_of(now, zone)
    due = day_of(now - NIGHT, zone) - timedelta(days=1)
    if due < first_partition:
        return Line("daily_stats", State.unknown, f"the first partition {first_partition} is not over")
    todo = f"run `smarttext rollup --from {due} --to {due}`; if it fails, its first error says why"
    if due not in complete_days(connection, DayRange(due, due), zone):
        return Line("daily_stats", State.fail, f"{due} is not rolled up", todo)
    through: datetime | None = connection.execute(_TODAY, {"day": today}).scalar()
    told = "no numbers of today yet" if through is None else f"today until {ago(through, now)}"
    return Line("daily_stats", State.ok, f"{due} is complete; {told}")


def heartbeats(connection: Connection, now: datetime) -> list[Line]:
    """Judge the last success of every sensor, schedule and job."""
    beats = [beat for beat in read(connection) if beat.kind != CYCLE[0]]
    return judge_heartbeats(beats, now)


def outbox(connection: Connection) -> Line:
    """Judge how long the oldest due notification has waited."""
    row = connection.execute(_OLDEST_DUE).one()
    stuck = connection.execute(_STUCK).all()
    todo = "see that alert_evaluation_sensor ticks and that the channel's credentials are set where it runs"
    if stuck:
        said = "; ".join(f"{s.channel}: {s.n} tried in vain ({s.note})" for s in stuck)
        # A busy provider is asked again within a minute; that is no failure yet.
        state = State.fail if max(s.tried for s in stuck) > OUTBOX_WARN else State.warn
        return Line("outbox", state, said, "the channel does not take them: see its status page")
    if row.waiting is None:
        return Line("outbox", State.ok, "nothing waits")
    state = State.fail if row.waiting > OUTBOX_FAIL else State.warn if row.waiting > OUTBOX_WARN else State.ok
    said = f"{row.waiting_count} wait for {row.channels}, the oldest for {shortly(row.waiting)}"
    return Line("outbox", state, said, _unless_ok(state, todo))


def dead_notifications(connection: Connection) -> Line:
    """Judge notifications that were given up."""
    dead = [f"{row.channel}: {row.n} ({row.note})" for row in connection.execute(_DEAD)]
    if not dead:
        return Line("dead notifications", State.ok, "none in 24 h")
    todo = "correct what the note says, then `smarttext alerts test CHANNEL`; `alerts list` shows what is open"
    return Line("dead notifications", State.warn, "; ".join(dead), todo)


def tracking(connection: Connection) -> Line:
    """Judge what the tracking library lost."""
    row = connection.execute(_TRACKING).one()
    if row.lost:
        todo = "give its spill folder room, or reach the database from there; the numbers of those days are too low"
        return Line("tracking", State.fail, f"processes that dropped events in 24 h have lost {row.lost}", todo)
    if row.rejected:
        todo = "see the application's log: it names what was wrong; what the database refused is in its spill folder"
        return Line(
            "tracking", State.warn, f"processes that rejected events in 24 h have left out {row.rejected}", todo
        )
    noted = [
        f"{count} {what}"
        for count, what in (
            (row.buffered, "in memory only, since no file could be written"),
            (row.trimmed, "with a field that was trimmed"),
            (row.odd, "with a telephone number that is none"),
        )
        if count
    ]
    since = f"; events since they began: {', '.join(noted)}" if noted else ""
    return Line("tracking", State.ok, f"nothing was dropped in 24 h, {row.writers} reporting{since}")


def guardrail(connection: Connection) -> Line:
    """Judge whether the admission counter is the ledger's sum."""
    found = counter_differences(connection)
    if not found:
        return Line("guardrail", State.ok, "the counter is the ledger's sum")
    return Line("guardrail", State.fail, f"{len(found)} counters differ from the ledger", "run `smarttext migrate`")


def unbooked(connection: Connection) -> Line:
    """Judge whether api_usage takes the rows of the guard."""
    row = connection.execute(_UNBOOKED).one()
    if not row.waiting:
        return Line("unbooked usage", State.ok, "api_usage takes what the guard settles")
    todo = (
        "give the column named a default or loosen the constraint named, on public.api_usage; within 5 minutes all is "
        "booked, and until then it is held against the limits"
    )
    said = f"api_usage refuses {row.waiting} settled or unsettled calls of the guard: {row.reasons}"
    return Line("unbooked usage", State.fail, said, todo)


def old_scripts(connection: Connection) -> Line:
    """Judge whether what this pipeline replaces still writes or deletes."""
    row, kept = connection.execute(_OLD_ROLLUP).one(), connection.execute(_KEPT).one()
    found = [
        said
        for at, said in (
            (row.stats, "something else writes daily_stats"),
            (row.markers, "the old reset writes markers into api_usage"),
            (row.asks, "the old cron calls update_daily_stats() (harmless: it asks for a rollup)"),
        )
        if at
    ]
    if kept.days:
        found.append(f"events of {kept.days} days from {kept.first} to {kept.last} are gone: something deletes them")
    if found:
        todo = "take the application's cron scripts for statistics, reset and clean-up out of its crontab"
        return Line("old cron scripts", State.warn, "; ".join(found), todo)
    return Line("old cron scripts", State.ok, "no trace of them in two days")


def archive(connection: Connection) -> Line:
    """Judge the archive by its manifest."""
    row = connection.execute(_ARCHIVE).one()
    if row.failures:
        todo = "run `smarttext retention verify`; a damaged file of deleted rows is restored from its copy elsewhere"
        return Line("archive", State.fail, f"{row.failures} files failed: {row.failure}", todo)
    if row.planned:
        todo = "run `smarttext retention run`: it takes up what was left"
        return Line("archive", State.warn, f"{row.planned} segments were begun and not verified for a day", todo)
    return Line(
        "archive",
        State.ok,
        f"{row.segments} segments, the newest verified of {row.newest or 'no day'}"
        if row.segments
        else "nothing is archived yet",
    )


def _unless_ok(state: State, todo: str) -> str:
    return "" if state is State.ok else todo


_RULES_IN_ERROR = text("SELECT rule, note FROM monitoring.rule_states WHERE verdict = 'error' ORDER BY rule")


def alert_rules(connection: Connection) -> Line:
    """Return whether every alert rule could be evaluated the last time."""
    found = connection.execute(_RULES_IN_ERROR).all()
    if not found:
        return Line("alert rules", State.ok, "every rule was evaluated")
    said = f"{counted(len(found), 'rule')} in error: {', '.join(row.rule for row in found)} ({found[0].note})"
    return Line("alert rules", State.fail, said, "see smarttext_pipelines/alerting/runbooks/rules_in_error.md")


_SAMPLED = text("SELECT max(as_of) FROM monitoring.live_today")
_SAMPLED_WITHIN = timedelta(minutes=3)


def sampler(connection: Connection, now: datetime, *, is_expected: bool) -> Line:
    """Return whether today is counted for the dashboard; it is counted each minute, also when nothing happens."""
    at: datetime | None = connection.execute(_SAMPLED).scalar()
    if at is None and not is_expected:
        return Line("sampler", State.unknown, "no dashboard is configured: SMARTTEXT_WEB_URL is not set")
    if at is not None and now - at <= _SAMPLED_WITHIN:
        return Line("sampler", State.ok, f"counted today {ago(at, now)}")
    return Line("sampler", State.warn, f"counted today {ago(at, now)}", "see that `smarttext sampler` runs")


_FAILED_CHECKS = text(
    "SELECT substr(scope, 7) AS name FROM monitoring.alert_signals WHERE scope LIKE 'check:%' AND value > 0 ORDER BY 1"
)
_NAMED = 3


def checks(connection: Connection) -> Line:
    """Return the asset checks that did not pass the last time they ran on a day."""
    found = connection.execute(_FAILED_CHECKS).scalars().all()
    if not found:
        return Line("checks", State.ok, "every asset check passed, as far as it was reported")
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    said = f"{counted(len(found), 'check')} failed: {', '.join(found[:_NAMED])}{more}"
    return Line("checks", State.warn, said, "see `smarttext alerts list`, or the check in the UI")
