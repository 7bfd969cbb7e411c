"""One day of a million texts among equally large days: the pipeline against SQL by hand."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.metrics import METRICS, Window
from smarttext_pipelines.rollup import SharedRead, roll_up
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.tools import SHARED, Line, alternate, read_sql, reading, run_sql, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET

SETTLE_DAYS = 4
DAY = date(2026, 6, 15)
ZONE = ZoneInfo("UTC")
WINDOW = Window(days=DayRange(DAY, DAY), zone=ZONE, settle_days=SETTLE_DAYS, as_of=datetime(2026, 7, 1, tzinfo=UTC))
METRIC = METRICS["sms_outcomes"]
ANYBODY = {
    "recipient": "100000 + (n % 7919) * 1000 + business",
    "caller": "100000 + n % 7919000",
    "request": "'req_' || n",
    "asker": "pg_temp.u(n, 21)",
}
"""Expressions of the number ``n`` of a text, call or request: who is texted, who calls, a request's id, whose it is."""


def measure(server: Server, scale: float) -> list[Line]:
    """Return the ratios of the statement, and of everything a rollup of the day does."""
    with fresh_database(server) as database:
        migrate(database.engine, ZONE)
        fill(database, scale)
        hand, ours = alternate(lambda: _by_hand(database), lambda: _staged(database))
        # Once for the statements, which a process builds once.
        for _ in range(2):
            alone, whole = alternate(lambda: _one_by_one(database), lambda: _as_a_run(database), runs=1)
        differences = _differences(database)
        sizes = _index_sizes(database)
    return [
        Line("rows that differ from SQL by hand", str(differences), "0"),
        Line("SQL by hand, the best form", f"{hand:.2f} s"),
        Line("statement of sms_outcomes", f"{ours:.2f} s = {ours / hand:.2f} ×", "1.25 ×"),
        Line("all facts, stats and assertions of the day, as a run", f"{whole:.2f} s = {whole / hand:.2f} ×", "2.5 ×"),
        Line("the same, each fact by itself", f"{alone:.2f} s = {alone / hand:.2f} ×"),
        *sizes,
    ]


def fill(database: Database, scale: float, people: Mapping[str, str] = ANYBODY) -> None:
    """Load equally large days, the measured one among them, without counting usage into budgets."""
    days, first = 2 * SETTLE_DAYS + 1, DAY - timedelta(days=SETTLE_DAYS)
    # A row of a budget that changes a thousand times in one transaction takes longer than all else.
    database.run("ALTER TABLE public.api_usage DISABLE TRIGGER USER")
    fill_days(database, rows=int(1_000_000 * scale), days=days, businesses=1000, first=first, people=people)
    database.run("ALTER TABLE public.api_usage ENABLE TRIGGER USER")
    database.run("VACUUM ANALYZE")


def fill_days(
    database: Database, *, rows: int, days: int, businesses: int, first: date, people: Mapping[str, str] = ANYBODY
) -> None:
    """Load days of so many texts each."""
    values = {"rows": rows, "days": days, "businesses": businesses, "shared": SHARED, "first": first, **people}
    run_sql(database, read_sql("day_data.sql", **values))


def spans() -> dict[str, date]:
    """Return the bounds of the day and of its settle window, by the names that statements by hand have for them."""
    first, last = DAY - timedelta(days=SETTLE_DAYS), DAY + timedelta(days=SETTLE_DAYS + 1)
    return {"search_first": first, "search_end": last, "day": DAY, "day_end": DAY + timedelta(days=1)}


def _hand_sql() -> str:
    return read_sql("sms_outcomes_by_hand.sql", **spans())


def _by_hand(database: Database) -> float:
    with reading(database.engine, WINDOW) as (connection, _):
        statement = f"CREATE TEMPORARY TABLE by_hand AS {_hand_sql()}"
        return seconds(lambda: connection.exec_driver_sql(statement, execution_options={"no_parameters": True}))


def _staged(database: Database) -> float:
    with reading(database.engine, WINDOW) as (_, engine):
        return seconds(lambda: engine.stage(METRIC.rows(engine.tables, WINDOW), "computed"))


def _one_by_one(database: Database) -> float:
    return seconds(lambda: [roll_up_one(database.engine, name) for name in METRICS])


def _as_a_run(database: Database) -> float:
    return seconds(lambda: roll_up_day(database.engine))


def roll_up_day(engine: Engine) -> dict[str, float]:
    """Roll every fact and stat of the day up, as a run does; return how long each took."""
    with SharedRead() as shared:
        return {name: seconds(lambda name=name: roll_up_one(engine, name, shared)) for name in METRICS}  # type: ignore[misc]


def roll_up_one(engine: Engine, name: str, shared: SharedRead | None = None) -> None:
    """Roll one fact or stat of the day up."""
    roll_up(
        engine,
        METRICS[name],
        WINDOW.days,
        zone=ZONE,
        settle_days=SETTLE_DAYS,
        shared_senders=[SHARED],
        customer_secret=CUSTOMER_SECRET,
        shared=shared,
    )


def _differences(database: Database) -> int:
    columns = ", ".join((*METRIC.dimensions, *(c for parts in METRIC.totals.values() for c in parts)))
    with reading(database.engine, WINDOW) as (connection, engine):
        engine.stage(METRIC.rows(engine.tables, WINDOW), "computed")
        statement = f"CREATE TEMPORARY TABLE by_hand AS {_hand_sql()}"
        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        one, other = (f"SELECT {columns} FROM {name}" for name in ("computed", "by_hand"))
        both = f"({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one})"
        return int(connection.execute(text(f"SELECT count(*) FROM ({both}) AS d")).scalar_one())


def _index_sizes(database: Database) -> list[Line]:
    """Compare btree and BRIN on the time of texts by size and by the time to count one day."""
    lines = []
    database.run("CREATE INDEX texts_brin ON public.sms_events USING brin (created_at)")
    for name, other in (("sms_events_created_at_idx", "texts_brin"), ("texts_brin", "sms_events_created_at_idx")):
        with database.server.connect(database.name) as connection, connection.transaction(force_rollback=True):
            size = connection.execute(f"SELECT pg_size_pretty(pg_relation_size('public.{name}'))").fetchone()
            connection.execute(f"DROP INDEX public.{other}")
            count = (
                f"SELECT count(*) FROM public.sms_events WHERE created_at >= '{DAY}' AND created_at < '{DAY}'::date + 1"
            )
            connection.execute(count)
            taken = seconds(lambda c=connection, q=count: c.execute(q))
        kind = "BRIN" if "brin" in name else "btree"
        lines.append(Line(f"{kind} on created_at: size, time to count one day", f"{size and size[0]}, {taken:.2f} s"))
    return lines
