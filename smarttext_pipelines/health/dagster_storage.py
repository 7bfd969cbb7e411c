"""Lines that Dagster's own storage answers, read by SQL so that no process loads Dagster to say that it is down."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from smarttext_pipelines.health.verdicts import Line, State, ago, shortly

DAEMON_FAIL = timedelta(minutes=2)
QUEUE_WARN = timedelta(minutes=15)
SIZE_WARN_BYTES = 5 * 10**9

_INSTALLED = text("SELECT to_regclass('daemon_heartbeats') IS NOT NULL AND to_regclass('instigators') IS NOT NULL")
_DAEMON = text("SELECT daemon_type, timestamp AT TIME ZONE 'UTC' AS at FROM daemon_heartbeats")
_STOPPED = text(
    """
    SELECT instigator_body::jsonb #>> '{origin,instigator_name}' AS name FROM instigators
    WHERE status = 'STOPPED' ORDER BY 1
    """
)
_QUEUE = text(
    "SELECT count(*) AS n, min(create_timestamp) AT TIME ZONE 'UTC' AS oldest FROM runs WHERE status = 'QUEUED'"
)
_SIZE = text("SELECT pg_database_size(current_database())")


def dagster_lines(connection: Connection) -> list[Line]:
    """Judge daemon, switches, queue and size."""
    if not connection.execute(_INSTALLED).scalar():
        return [Line("dagster", State.warn, "its storage is empty", "start it: `smarttext up`, or dagster-daemon")]
    now = datetime.now(UTC)
    return [daemon(connection, now), switches(connection), queue(connection, now), size(connection)]


def daemon(connection: Connection, now: datetime) -> Line:
    """Judge the daemon by the heartbeats of its parts."""
    beats = {row.daemon_type: row.at for row in connection.execute(_DAEMON)}
    todo = "start it: `smarttext up`, or `dagster-daemon run`; its log says why it ended"
    if not beats:
        return Line("daemon", State.fail, "never ran", todo)
    newest = max(beats.values())
    if now - newest > DAEMON_FAIL:
        return Line("daemon", State.fail, f"last heartbeat {ago(newest, now)}", todo)
    stale = sorted(name for name, at in beats.items() if now - at > 2 * DAEMON_FAIL)
    if stale:
        return Line("daemon", State.warn, f"no heartbeat of {', '.join(stale)}", "restart it; its log says what hangs")
    return Line("daemon", State.ok, f"{len(beats)} parts, last heartbeat {ago(newest, now)}")


def switches(connection: Connection) -> Line:
    """Judge whether somebody has switched a schedule or sensor off."""
    stopped = [name or "?" for name in connection.execute(_STOPPED).scalars()]
    if stopped:
        return Line("schedules and sensors", State.warn, f"off: {', '.join(stopped)}", "switch them on in the UI")
    return Line("schedules and sensors", State.ok, "none is switched off")


def queue(connection: Connection, now: datetime) -> Line:
    """Judge how long runs wait."""
    row = connection.execute(_QUEUE).one()
    if row.n and now - row.oldest > QUEUE_WARN:
        todo = "see what runs in the UI; a backfill takes two of the four places at most"
        return Line("run queue", State.warn, f"{row.n} runs wait, the oldest for {shortly(now - row.oldest)}", todo)
    return Line("run queue", State.ok, f"{row.n} runs wait")


def size(connection: Connection) -> Line:
    """Judge the size of the storage, which a job keeps small."""
    found = int(connection.execute(_SIZE).scalar_one())
    state = State.warn if found > SIZE_WARN_BYTES else State.ok
    todo = "see that dagster_history_job succeeds" if state is State.warn else ""
    return Line("dagster storage", state, f"{found / 1e6:,.0f} MB", todo)
