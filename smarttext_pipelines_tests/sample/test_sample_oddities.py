"""Thirty days of the sample hold every peculiarity of production (data contract, 2) and the incidents."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from smarttext_pipelines.core.statuses import RANK, STATUS_CLASS
from smarttext_pipelines.sample import SHARED_SENDER, SampleSpec, sample_businesses, sample_day
from smarttext_pipelines.sample.planted_incidents import incident_day
from smarttext_pipelines.sample.profiles import businesses_of

END = date(2026, 11, 20)
SPEC = SampleSpec(
    days=30, businesses=25, events_per_day=2000, seed=7, end=END, until=datetime(2026, 11, 30, tzinfo=UTC)
)

VIEWS = """
create view recorded as select * from sms_events
where request_id not like '%-owner' and request_id <> 'twilio-report' and status <> 'received';
create view outcomes as
select message_sid, min(created_at) as sent_at, min(business_id) as business_id, arg_max(class, rank) as class,
       arg_max(error_code, rank) as code
from sms_events left join ranks on lower(status) = name
where message_sid not in ('', 'RATE_LIMITED') and status <> 'received' group by message_sid;
create view reports as
select s.message_sid, lower(s.status) as status, s.created_at, o.sent_at, s.created_at - o.sent_at as delay
from sms_events s join outcomes o using (message_sid) where s.request_id = 'twilio-report';
"""


class Sample:
    """The month in DuckDB, asked with one query and one answer."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()

    def number(self, query: str, *values: object) -> Any:
        ((answer,),) = self.rows(query, *values)
        return answer


@pytest.fixture(scope="module")
def sample() -> Iterator[Sample]:
    days = [sample_day(SPEC, day) for day in SPEC]
    names, ranks = list(RANK), list(RANK.values())
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        for table in days[0]:
            connection.register("arrow", pa.concat_tables([day[table] for day in days]))
            connection.execute(f"create table {table} as from arrow")
        connection.register("businesses", sample_businesses(SPEC))
        classes = [STATUS_CLASS[name] for name in names]
        connection.register("arrow", pa.table({"name": names, "rank": ranks, "class": classes}))
        connection.execute("create table ranks as from arrow")
        connection.execute(VIEWS)
        yield Sample(connection)


def business_id(rank: int) -> str:
    everyone = businesses_of(SPEC)
    return str(everyone.ids[int(everyone.by_size[rank])])


@pytest.mark.parametrize("table", ["businesses", "sms_events", "call_events", "api_usage", "owner_alerts"])
def test_ids_are_unique(sample: Sample, table: str) -> None:
    assert sample.number(f"select count(*) - count(distinct id) from {table}") == 0


def test_all_numbers_are_fictional_ones(sample: Sample) -> None:
    fictional = r"^\+1[2-8]\d\d555\d{4}$"
    assert (
        sample.number(
            "select count(*) from sms_events where not (from_number similar to ? and to_number similar to ?)",
            *(fictional, fictional),
        )
        == 0
    )


def test_sizes_are_heavy_tailed_and_sundays_quiet(sample: Sample) -> None:
    counts = [n for (n,) in sample.rows("select count(*) from call_events group by business_id order by 1 desc")]
    assert counts[0] > 0.1 * sum(counts)
    assert sum(counts[10:]) < 0.4 * sum(counts)
    weekdays = dict(sample.rows("select isodow(ts), count(*) from call_events where ts is not null group by 1"))
    assert weekdays[7] < 0.6 * weekdays[2]


def test_a_message_is_recorded_without_and_again_with_its_business(sample: Sample) -> None:
    share = "select avg((named = 1 and rows >= 2)::int) from (select count(business_id) as named, count(*) as rows "
    assert sample.number(share + "from recorded where message_sid like 'SM%' group by message_sid)") > 0.95


def test_owner_texts_are_recorded_only_without_a_business(sample: Sample) -> None:
    owner = "select count(*), count(business_id) from sms_events where request_id like '%-owner'"
    ((rows, named),) = sample.rows(owner)
    assert rows > 1000
    assert named == 0


def test_a_failed_send_has_no_sid_and_two_rows(sample: Sample) -> None:
    twice = """select count(*) from (select 1 from recorded where message_sid = '' and status = 'failed'
        and error_code in ('21610', '21211') group by request_id, to_number having count(*) = 2)"""
    assert sample.number(twice) > 20
    assert sample.number("select count(*) from recorded where message_sid = 'RATE_LIMITED'") > 50


def test_the_recorded_status_is_mostly_queued_of_mixed_case_and_sometimes_odd(sample: Sample) -> None:
    assert sample.number("select avg((lower(status) = 'queued')::int) from recorded") > 0.8
    assert sample.number("select count(distinct status) from recorded where lower(status) = 'queued'") == 3
    assert sample.number("select count(*) from recorded where lower(status) not in (select name from ranks)") > 10


def test_most_messages_get_reports_that_name_no_business(sample: Sample) -> None:
    messages = sample.number("select count(*) from outcomes")
    assert 0.82 < sample.number("select count(distinct message_sid) from reports") / messages < 0.9
    nameless = "request_id = 'twilio-report' and (business_id is not null or message_sid = '')"
    assert sample.number(f"select count(*) from sms_events where {nameless}") == 0


def test_reports_come_within_seconds_hours_days_and_after_the_settle_window(sample: Sample) -> None:
    assert sample.number("select median(delay) < interval 30 second from reports")
    assert sample.number("select count(*) from reports where delay > interval 1 hour") > 100
    assert sample.number("select count(*) from reports where delay between interval 24 hour and interval 72 hour") > 50
    assert sample.number("select count(*) from reports where created_at::date = sent_at::date + 1") > 10
    assert 3 < sample.number("select count(*) from reports where created_at::date > sent_at::date + 4") < 40


def test_reports_come_out_of_order_and_more_than_once(sample: Sample) -> None:
    disordered = """select count(*) from reports a join reports b using (message_sid)
        where a.status = 'delivered' and b.status = 'sent' and b.created_at > a.created_at"""
    assert sample.number(disordered) > 10
    again = "select count(*) from (select 1 from reports group by message_sid, status having count(*) > 1)"
    assert sample.number(again) > 50


def test_three_to_four_percent_of_the_decided_messages_fail(sample: Sample) -> None:
    (refused,) = sample.rows("select count(distinct request_id) from recorded where error_code like '21%'")[0]
    usual = "from outcomes where (code is null or code not in ('30007', '30034')) and class "
    failed = sample.number("select count(*) " + usual + "= 'failed'") + refused
    assert 0.03 < failed / (failed + sample.number("select count(*) " + usual + "= 'successful'")) < 0.042


def test_the_error_codes_are_those_of_carriers(sample: Sample) -> None:
    codes = {code for (code,) in sample.rows("select distinct error_code from sms_events")}
    assert codes == {None, "", "30003", "30005", "30006", "30007", "30008", "21610", "21211", "30034"}


def test_webhooks_repeat_and_one_call_is_inbound_and_missed(sample: Sample) -> None:
    equal = "select 1 from call_events group by call_sid, event_type, call_status, business_id having count(*) > 1"
    assert sample.number(f"select count(*) from ({equal})") > 50
    of_type = "select call_sid from call_events where event_type = "
    both = f"{of_type} 'voice.inbound' intersect {of_type} 'voice.missed'"
    assert sample.number(f"select count(*) from ({both})") > 500


def test_tests_and_inbound_texts_stand_among_the_calls(sample: Sample) -> None:
    types = dict(sample.rows("select event_type, count(*) from call_events group by 1"))
    assert types["voice.test"] > 5
    assert types["sms.inbound"] > 500
    assert sample.number("select count(*) from sms_events where status = 'received'") > 50


def test_a_missed_call_is_texted_within_a_minute(sample: Sample) -> None:
    delays = """select quantile_cont(epoch(sent_at - ts), 0.9) from outcomes
        join (select message_sid, min(to_number) as customer from recorded group by 1) using (message_sid)
        join call_events c on c.from_number = customer and sent_at between ts and ts + interval 2 minute
        where event_type = 'voice.missed'"""
    assert 10 < sample.number(delays) < 60


def test_one_number_sends_for_several_businesses_and_the_others_for_one(sample: Sample) -> None:
    senders = dict(sample.rows("select twilio_phone, count(*) from businesses group by 1"))
    assert senders.pop(SHARED_SENDER) >= 2
    assert len(senders) > 15
    assert set(senders.values()) == {1}


@pytest.mark.parametrize(
    "lacking",
    [
        "endpoint = 'daily_reset' and tokens_used = 0",
        "tokens_used is null",
        "cost_estimate is null and tokens_used > 0",
        "cost_estimate = 0 and tokens_used > 0",
        "reset_date is null and created_at is not null",
        "created_at is null and reset_date is not null",
        "business_id is null",
    ],
)
def test_usage_lacks_values(sample: Sample, lacking: str) -> None:
    assert sample.number(f"select count(*) from api_usage where {lacking}") > 0


def test_usage_counts_for_the_utc_day_of_its_time_and_costs_exact_decimals(sample: Sample) -> None:
    assert sample.number("select count(*) from api_usage where reset_date <> created_at::date") == 0
    assert sample_day(SPEC, END)["api_usage"].schema.field("cost_estimate").type == pa.decimal128(18, 6)


def test_alerts_count_as_delivered_beside_the_placeholder_and_some_are_undecided(sample: Sample) -> None:
    assert sample.number("select count(*) from owner_alerts where delivered and message_sid = 'RATE_LIMITED'") > 5
    assert sample.number("select count(*) from owner_alerts where delivered is null") > 5
    assert sample.number("select count(*) from owner_alerts where not delivered and error_message is not null") > 5


@pytest.mark.parametrize(
    ("table", "undated"),
    [("sms_events", "created_at is null"), ("call_events", "ts is null"),
     ("api_usage", "created_at is null and reset_date is null")],
)  # fmt: skip
def test_a_few_rows_are_undated(sample: Sample, table: str, undated: str) -> None:
    assert 0 < sample.number(f"select count(*) from {table} where {undated}") < 50


@pytest.mark.parametrize(("code", "days_before", "ranks"), [("30007", 12, (1, 2)), ("30034", 7, (3,))])
def test_waves_of_one_error_strike_their_businesses_on_their_day(
    sample: Sample, code: str, days_before: int, ranks: tuple[int, ...]
) -> None:
    struck = """select business_id from outcomes where code = ? and sent_at::date = ? and business_id is not null
        group by 1 having count(*) > 3"""
    assert {business for (business,) in sample.rows(struck, code, incident_day(END, days_before))} == {
        business_id(rank) for rank in ranks
    }


def test_no_number_is_unregistered_on_other_days(sample: Sample) -> None:
    days = sample.rows("select distinct sent_at::date from outcomes where code = '30034'")
    assert days == [(incident_day(END, 7),)]


def test_the_largest_business_is_silent_for_a_day(sample: Sample) -> None:
    calls, day = "select count(*) from call_events where business_id = ? and ts::date = ?", incident_day(END, 9)
    assert sample.number(calls, business_id(0), day) == 0
    assert sample.number(calls, business_id(0), day - timedelta(days=7)) > 20


def test_one_business_spends_far_more_on_one_day(sample: Sample) -> None:
    spend = "select sum(cost_estimate) from api_usage where business_id = ? and reset_date = ? and service = 'openai'"
    struck, usual = incident_day(END, 5), incident_day(END, 5) - timedelta(days=14)
    assert sample.number(spend, business_id(1), struck) > 20 * sample.number(spend, business_id(1), usual)


def test_incidents_fall_on_working_days() -> None:
    ends = [END + timedelta(days=n) for n in range(7)]
    assert all(incident_day(end, before).weekday() < 5 for end in ends for before in (5, 7, 9, 12))
