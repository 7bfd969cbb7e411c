"""A tick of alerting: 50 rules, 10,000 businesses, a day of a million rows, against its message pass alone."""

from datetime import UTC, datetime, time, timedelta

from sqlalchemy import event

from smarttext_pipelines.alerting.channels.log import LogChannel
from smarttext_pipelines.alerting.incidents.evaluate import evaluate
from smarttext_pipelines.alerting.measuring.now import Now, Place
from smarttext_pipelines.alerting.measuring.recent_texts import stage_messages
from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rules_file import load_rules
from smarttext_pipelines.engines import Parameters, PostgresEngine
from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.metrics.metric import RecentWindow
from smarttext_pipelines.rollup import roll_up
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.bench.day import DAY, SETTLE_DAYS, WINDOW, ZONE, fill_days
from smarttext_pipelines_tests.bench.tools import SHARED, Line, alternate, seconds
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import CUSTOMER_SECRET

RULES = 50
PLACE = Place(ZONE, SETTLE_DAYS, [SHARED])
NOW = datetime.combine(DAY + timedelta(days=1), time.min, UTC) - timedelta(minutes=1)


def measure(server: Server, scale: float) -> list[Line]:
    """Return the ratio, and how many statements a tick issues with a tenth of the businesses and with all."""
    few, _, _ = _ticks(server, scale, businesses=1000)
    many, ticks, passes = _ticks(server, scale, businesses=10_000)
    return [
        Line("the message pass over 6 h", f"{passes:.2f} s"),
        Line(f"a tick with {RULES} rules and 10,000 businesses", f"{ticks:.2f} s = {ticks / passes:.2f} ×", "4 ×"),
        Line("statements of a tick with 1,000 and with 10,000 businesses", f"{few} and {many}", "the same"),
    ]


def _ticks(server: Server, scale: float, businesses: int) -> tuple[int, float, float]:
    with fresh_database(server) as database:
        migrate(database.engine, ZONE)
        rows = int(1_000_000 * scale)
        fill_days(database, rows=rows, days=1, businesses=businesses, first=DAY)
        database.run("VACUUM ANALYZE")
        for name in METRICS:
            metric = METRICS[name]
            roll_up(
                database.engine,
                metric,
                WINDOW.days,
                zone=ZONE,
                settle_days=SETTLE_DAYS,
                shared_senders=[SHARED],
                customer_secret=CUSTOMER_SECRET,
            )
        _tick(database)
        statements: list[str] = []
        event.listen(database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
        _tick(database)
        count = len(statements)
        ticks, passes = alternate(
            lambda: seconds(lambda: _tick(database)), lambda: seconds(lambda: _pass_alone(database))
        )
        return count, ticks, passes


def _rules() -> dict[str, Rule]:
    """Return the shipped rules, and copies of them with other thresholds up to fifty."""
    shipped = list(load_rules(None).values())
    names = [f"{rule.name}_{n}" if n else rule.name for n in range(RULES) for rule in shipped][:RULES]
    return {
        name: shipped[n % len(shipped)].model_copy(
            update={"name": name, "threshold": shipped[n % len(shipped)].threshold + n / 100}
        )
        for n, name in enumerate(names)
    }


def _tick(database: Database) -> None:
    evaluate(database.engine, _rules(), [LogChannel(lambda _text: None)], PLACE, now=NOW, link="http://127.0.0.1:3000")


def _pass_alone(database: Database) -> None:
    window = RecentWindow(WINDOW.days, ZONE, SETTLE_DAYS, NOW, LONGEST_SHORT_WINDOW)
    with database.engine.begin() as connection:
        engine = PostgresEngine(connection, Parameters(window, [SHARED]))
        stage_messages(Now(engine, connection, PLACE, NOW, facts_are_fresh=True))
