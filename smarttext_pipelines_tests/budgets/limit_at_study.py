"""How far off "limit at" is on the sample: ``python -m smarttext_pipelines_tests.budgets.limit_at_study``.

Every business gets a limit of 70 % of what its day used in the end, so it is known when that was reached. At each hour
before, it is forecast in four ways from what was known then. A forecast of "not today" counts as the day's end.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

from smarttext_pipelines.budgets import limit_forecast
from smarttext_pipelines.database.embedded import embedded_server
from smarttext_pipelines.sample.load import load_sample
from smarttext_pipelines.sample.spec import SampleSpec
from smarttext_pipelines.schema.migrate import migrate
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database

END = date(2026, 3, 13)
SPEC, SPARSE = (SampleSpec(45, *size, 7, END, datetime(2026, 3, 14, tzinfo=UTC)) for size in ((4, 2000), (12, 1500)))
"""About 27 calls to OpenAI a business and day, and 7."""
DAYS = 14
NOW = """
CREATE OR REPLACE FUNCTION monitoring.today() RETURNS date LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$ SELECT pg_catalog.current_setting('test.day')::date $$
"""
_BUDGETS = """
    WITH used AS (
        SELECT coalesce(business_id, '00000000-0000-0000-0000-000000000000') AS business_key, created_at,
               sum(tokens_used) OVER (PARTITION BY business_id ORDER BY created_at, id) AS through,
               0.7 * sum(tokens_used) OVER (PARTITION BY business_id) AS allowed
        FROM public.api_usage
        WHERE service = 'openai' AND tokens_used > 0 AND created_at >= monitoring.today()::timestamp AT TIME ZONE 'UTC'
            AND created_at < (monitoring.today() + 1)::timestamp AT TIME ZONE 'UTC'
    )
    SELECT u.business_key, monitoring.today() AS day, max(u.through) FILTER (WHERE u.created_at <= c.at) AS used,
           u.allowed, c.at, min(u.created_at) FILTER (WHERE u.through >= u.allowed) AS truth,
           max(u.through) FILTER (WHERE u.created_at <= c.at)
               - coalesce(max(u.through) FILTER (WHERE u.created_at <= c.at - interval '1 hour'), 0) AS of_the_hour
    FROM used AS u
    CROSS JOIN generate_series(monitoring.today()::timestamp AT TIME ZONE 'UTC' + interval '1 hour',
                               monitoring.today()::timestamp AT TIME ZONE 'UTC' + interval '23 hours',
                               '1 hour') AS c (at)
    GROUP BY u.business_key, u.allowed, c.at
    HAVING c.at < min(u.created_at) FILTER (WHERE u.through >= u.allowed)
        AND max(u.through) FILTER (WHERE u.created_at <= c.at) > 0
"""
_ERRORS = """
    WITH known AS MATERIALIZED ({budgets}), hours AS ({forecast}),
    told AS (
        SELECT k.truth, d.ends, d.begins + (k.at - d.begins) * (k.allowed / k.used)::double precision AS straight,
               k.at + least((k.allowed - k.used) / nullif(k.of_the_hour, 0), 48)::double precision * interval '1 hour'
                   AS of_the_hour,
               k.allowed - k.used < k.of_the_hour AS is_near, h.reached_at AS of_the_week
        FROM known AS k
        JOIN hours AS h ON h.business_key = k.business_key AND h.at = k.at
        CROSS JOIN LATERAL (SELECT k.day::timestamp AT TIME ZONE 'UTC' AS begins,
                                   (k.day + 1)::timestamp AT TIME ZONE 'UTC' AS ends) AS d
    )
    SELECT w.way, abs(extract(epoch FROM least(coalesce(w.at, t.ends), t.ends) - t.truth)) / 60 AS minutes
    FROM told AS t
    CROSS JOIN LATERAL (VALUES
        ('straight line', t.straight), ('last hour', t.of_the_hour), ('hours of the week', t.of_the_week),
        ('as shown', least(t.of_the_week, CASE WHEN t.is_near THEN t.of_the_hour END))
    ) AS w (way, at)
"""


def errors(database: Database) -> Mapping[str, list[float]]:
    """Return the absolute errors in minutes of each way, over the last days of the sample."""
    found: dict[str, list[float]] = {}
    budgets = "SELECT business_key, day, used, allowed, at FROM known"
    forecast = limit_forecast.REACHED_AT.format(budgets=budgets, prior=limit_forecast.PRIOR)
    statement = _ERRORS.format(budgets=_BUDGETS, forecast=forecast)
    with database.server.connect(database.name) as connection:
        connection.execute(NOW)
        for ago in range(DAYS):
            connection.execute("SELECT set_config('test.day', %s, false)", [str(END - timedelta(days=ago))])
            for learning in limit_forecast.LEARNING:
                connection.execute(learning)  # type: ignore[arg-type]
            for way, minutes in connection.execute(statement):  # type: ignore[arg-type]
                found.setdefault(way, []).append(float(minutes))
    return found


def _main() -> None:
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder)) as embedded:
            for spec in (SPEC, SPARSE):
                with fresh_database(Server(embedded.url("postgres"))) as database:
                    migrate(database.engine, ZoneInfo("UTC"))
                    load_sample(database.url, spec)
                    for way, minutes in errors(database).items():
                        said = f"{spec.businesses} businesses, {way}: median absolute error {median(minutes):.0f} min"
                        print(f"{said} of {len(minutes):,} forecasts")  # noqa: T201


if __name__ == "__main__":
    _main()
