"""Words for error codes, impossible costs, times that no day can hold."""

from decimal import Decimal

import pytest

from smarttext_pipelines.metrics import METRICS
from smarttext_pipelines.rollup.quality import undated_rows, undated_rows_from
from smarttext_pipelines.schema.installation import EventSpan, event_span
from smarttext_pipelines_tests import reference
from smarttext_pipelines_tests.agreement import AS_OF, AT, DAY, DAYS, ZONE
from smarttext_pipelines_tests.conftest import Database, soak_cases
from smarttext_pipelines_tests.events import cells, replace_events, roll_up_all
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, events, sms_event

_INSERTS = (
    "INSERT INTO public.sms_events (from_number, to_number, status, created_at) VALUES ('', '', 'sent', '{at}')",
    "INSERT INTO public.call_events (event_type, ts) VALUES ('voice.missed', '{at}')",
    "INSERT INTO public.owner_alerts (business_id, owner_phone, customer_phone, alert_type, message_content,"
    f" created_at) VALUES ('{BUSINESS_IDS[0]}', '', '', 'x', '', '{{at}}')",
    "INSERT INTO public.api_usage (service, endpoint, created_at, reset_date) VALUES ('openai', 'chat', '{at}', NULL)",
    "INSERT INTO public.api_usage (service, endpoint, created_at, reset_date) VALUES ('openai', 'chat', NULL, '{at}')",
)


@pytest.mark.parametrize(
    ("codes", "counted"),
    [
        (["30007", "unknown"], "failed_filtered"),
        (["Error 30034", "null"], "failed_registration"),
        (["zzz", "30007"], "failed_filtered"),
        (["N/A", "none"], "failed_unmapped"),
        (["code=21610;retry", ""], "failed_opted_out"),
        (["+15550100001", "error"], "failed_unmapped"),
    ],
)
def test_a_number_in_a_code_goes_before_words(database: Database, codes: list[str], counted: str) -> None:
    rows = [sms_event(n, AT, message_sid="SM1", status="failed", error_code=code) for n, code in enumerate(codes)]
    found = events(sms_events=rows)
    replace_events(database.engine, found)
    read = {name: METRICS[name] for name in ("sms_outcomes", "sms_failure_rates")}
    roll_up_all(database.engine, DAYS, metrics=read, as_of=AS_OF)
    (row,) = cells(database.engine, "sms_failure_rates")
    assert row[counted] == row["failed"] == 1
    assert reference.sms_failure_rates(found, DAY, zone=ZONE)[None] == row
    view = database.rows("SELECT failure_class FROM monitoring.message_rows")
    assert counted.removeprefix("failed_") in {seen["failure_class"] for seen in view}


COSTS = ["-Infinity", "Infinity", "NaN", "-1e40", "1e40"]


@pytest.mark.parametrize("costs", [*soak_cases([[cost] for cost in COSTS], short=()), COSTS], ids=" ".join)
def test_an_impossible_cost_counts_as_nothing_and_stops_no_day(database: Database, costs: list[str]) -> None:
    rows = [api_call(1, AT, cost_estimate=Decimal("0.25"), tokens_used=5)]
    rows += [api_call(10 + n, AT, cost_estimate=Decimal(cost)) for n, cost in enumerate(costs)]
    database.run("ALTER TABLE public.api_usage ALTER COLUMN cost_estimate TYPE numeric")
    credit = api_call(3, AT, cost_estimate=Decimal("-0.05"))
    replace_events(database.engine, events(api_usage=[*rows, credit]))
    roll_up_all(database.engine, DAYS, as_of=AS_OF)
    (row,) = cells(database.engine, "daily_stats")
    assert row["openai_cost_estimate"] == Decimal("0.20")
    counted = "SELECT monitoring.counted_usd(%s::numeric, 0, 'chat', NULL, NULL, NULL, current_date) AS usd"
    assert [database.rows(counted, cost) for cost in costs] == [[{"usd": 0}]] * len(costs)


@pytest.mark.parametrize(
    "at", ["0001-01-01", "1970-01-01", "1999-12-31 23:59:59", "2101-01-01", "9999-12-31", "infinity"]
)
def test_a_time_that_no_day_can_hold_is_undated_and_opens_no_partition(database: Database, at: str) -> None:
    replace_events(database.engine, events(businesses=[business(1)], sms_events=[sms_event(1, AT, message_sid="SM1")]))
    for insert in _INSERTS:
        database.run(f"SET TIME ZONE 'UTC'; {insert.format(at=at)}")
    with database.engine.connect() as connection:
        tables = ("sms_events", "call_events", "owner_alerts", "api_usage")
        assert [undated_rows(connection, table, ZONE) for table in tables] == [1, 1, 1, 2]
        assert event_span(connection, ZONE) == EventSpan(DAY, DAY)
    assert len(database.rows(f"SELECT id {undated_rows_from('sms_events', ZONE)}")) == 1
