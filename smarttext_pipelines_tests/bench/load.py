"""Writing the sample, against a bare COPY of the same rows."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.tools import Line, alternate, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

TABLES = ("businesses", "sms_events", "call_events", "api_usage", "owner_alerts")
END = datetime(2026, 6, 30, 23, tzinfo=UTC)


def measure(server: Server, scale: float) -> list[Line]:
    """Return the rows per second of both."""
    days = max(1, int(20 * scale))
    with fresh_database(server) as database, fresh_database(server) as copy:
        for each in (database, copy):
            migrate(each.engine, ZoneInfo("UTC"))
        spec = SampleSpec(days, 200, 20_000, 7, END.date(), END)
        rows = sum(load_sample(database.url, spec).values())
        written = {table: _copy_out(database, table) for table in TABLES}
        ours, bare = alternate(lambda: _load(copy, spec), lambda: _copy_in(copy, written))
    return [Line(f"{rows:,} rows against a bare COPY of them", f"{bare / ours:.2f} of its rows/s", "at least 0.33")]


def _empty(database: Database) -> None:
    database.run(f"TRUNCATE {', '.join(f'public.{table}' for table in TABLES)} CASCADE")


def _load(database: Database, spec: SampleSpec) -> float:
    _empty(database)
    return seconds(lambda: load_sample(database.url, spec))


def _copy_out(database: Database, table: str) -> bytes:
    with (
        database.server.connect(database.name) as connection,
        connection.cursor() as cursor,
        cursor.copy(f"COPY public.{table} TO STDOUT") as copy,
    ):
        return b"".join(bytes(part) for part in copy)


def _copy_in(database: Database, written: dict[str, bytes]) -> float:
    _empty(database)

    def copy_all() -> None:
        with database.server.connect(database.name) as connection, connection.transaction():
            for table, rows in written.items():
                with connection.cursor() as cursor, cursor.copy(f"COPY public.{table} FROM STDIN") as copy:
                    copy.write(rows)

    return seconds(copy_all)
