"""The report of a month has the numbers of stats, and says what is unknown rather than zero."""

import dataclasses
import json
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.reports.missed_hours import MissedHours, all_missed_hours, by_business, missed_hours
from smarttext_pipelines.reports.month_facts import MonthFacts, month_of, read_month_facts
from smarttext_pipelines.reports.month_forms import in_report_form
from smarttext_pipelines.reports.month_view import Report, report_of, said_days
from smarttext_pipelines.reports.report_form import ReportForm
from smarttext_pipelines.retention.run import Retention, archive_days, raise_failures
from smarttext_pipelines.schema.migrate import make_roles, migrate
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.hostile import CONTROLS, NAMES
from smarttext_pipelines_tests.reports.world import ALWAYS, CALLER, FIRST, JOINED, LAST, NEVER, OUR_NUMBER, QUIET, fill
from smarttext_pipelines_tests.schema.test_roles import logged_in

NOW = datetime(2026, 4, 20, tzinfo=UTC)
Smarttext = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def filled(server: Server, template: str) -> Iterator[str]:
    with fresh_database(server, template) as database:
        fill(database)
        database.engine.dispose()
        yield database.name


@pytest.fixture
def database(server: Server, filled: str) -> Iterator[Database]:
    with fresh_database(server, filled) as database:
        yield database


def _facts(database: Database, business: UUID, first: date = FIRST, now: datetime = NOW) -> MonthFacts:
    month = month_of(database.settings(), first, now)
    with database.engine.begin() as connection:
        return read_month_facts(connection, business, month, missed_hours(connection, month, business))


def _report(database: Database, business: UUID, first: date = FIRST, now: datetime = NOW) -> Report:
    return report_of(_facts(database, business, first, now))


def _values(report: Report) -> dict[str, Any]:
    return {each.name: each.value for figures in report.figures.values() for each in figures}


def test_the_numbers_are_those_of_stats_and_of_explain_to_the_digit(smarttext: Smarttext) -> None:
    code, said, _ = smarttext("report", "--business", str(ALWAYS), "--month", "2026-03", "--format", "json")
    assert code == 0
    found = json.loads(said)
    span = ("--from", str(FIRST), "--to", str(LAST))
    _, said, _ = smarttext("stats", "--business", str(ALWAYS), *span, "--json")
    rows = json.loads(said)
    figures = found["figures"]
    for name, column in (
        ("missed", "calls_missed"), ("never", "missed_calls_unreplied"), ("unknown", "missed_calls_reply_unknown"),
        ("texts", "messages_sent"), ("failed", "sms_failure_count"), ("tokens", "openai_tokens_used"),
        ("received", "messages_received"),
    ):  # fmt: skip
        assert figures[name] == sum(row[column] for row in rows), name
    assert figures["in_time"] + figures["late"] == sum(row["missed_calls_replied"] for row in rows)
    assert Decimal(figures["openai_usd"]) == sum(Decimal(row["openai_cost_estimate"]) for row in rows)
    _, table, _ = smarttext("stats", "--business", str(ALWAYS), *span)
    assert f"{figures['in_time']} answered in time, {figures['late']} late, {figures['never']} never" in table
    assert f"OpenAI {Decimal(figures['openai_usd']):.4f} USD, texts {Decimal(figures['texts_usd']):.4f} USD" in table
    _, said, _ = smarttext("explain", "calls_missed", "--business", str(ALWAYS), "--date", str(LAST), "--json")
    assert found["days"][-1]["missed"] == len(json.loads(said)["rows"]) == 3
    assert sum(sum(row) for row in found["missed_by_weekday_and_hour"].values()) == figures["missed"] == 93
    assert found["unknown"] == []


def test_hours_are_those_of_the_reporting_zone_also_when_the_clock_changes() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    at = [datetime(2026, 4, 4, 13, tzinfo=UTC), datetime(2026, 4, 5, 13, tzinfo=UTC)]
    rows = [
        {"business_id": str(ALWAYS), "day": a.astimezone(zone).date(), "slot": int(a.timestamp()) // 900, "missed": 2}
        for a in at
    ]
    assert by_business(rows, zone) == {ALWAYS: {date(2026, 4, 5): {0: 2, 23: 2}}}


def test_one_business_and_all_of_them_have_the_same_hours(database: Database) -> None:
    month = month_of(database.settings(), FIRST, NOW)
    with database.engine.begin() as connection:
        each = {business: missed_hours(connection, month, business) for business in (ALWAYS, JOINED)}
    with database.engine.begin() as connection:
        assert all_missed_hours(connection, month) == each
    assert each[ALWAYS][FIRST] == {9: 2, 17: 1}


def test_a_month_with_nothing_is_zero_where_the_business_was_there_and_unknown_where_it_was_not(
    database: Database,
) -> None:
    quiet = _report(database, QUIET)
    assert quiet.headline == "No missed call was recorded in March 2026."
    assert set(_values(quiet).values()) == {0}
    assert list(quiet.unknown) == []
    never = _report(database, NEVER)
    assert never.headline == "Nothing was recorded of Business 4 in March 2026, or before."
    assert set(_values(never).values()) == {None}


def test_a_business_that_joined_on_the_20th_has_no_zero_before_it(database: Database) -> None:
    report = _report(database, JOINED)
    assert list(report.unknown) == [
        "The first call, text or cost was recorded on 20 March 2026; nothing is known from before."
    ]
    assert _values(report)["missed"] == 3 * 12
    assert [each.day for each in report.days if each.totals is None] == [FIRST + timedelta(days=n) for n in range(19)]
    text = in_report_form(report, ReportForm.html)
    assert "Thu 19</th>" not in text
    assert "Fri 20</th>" in text
    days = json.loads(in_report_form(report, ReportForm.json))["days"]
    assert days[18]["missed"] is None


def test_of_a_month_half_archived_the_counts_are_known_and_its_hours_are_not(
    database: Database, tmp_path: Path
) -> None:
    before = _values(_report(database, ALWAYS))
    today = datetime.now(UTC).date()
    retention = Retention(ZoneInfo("UTC"), 4, (today - date(2026, 3, 16)).days, deletes=True)
    archive = ArchiveTarget(str(tmp_path / "archive"))
    raise_failures(archive_days(database.engine, archive, retention, done=lambda _d: None, begun=lambda _n: None))
    report = _report(database, ALWAYS)
    assert _values(report) == before
    left = database.rows("SELECT DISTINCT (ts AT TIME ZONE 'UTC')::date AS day FROM public.call_events")
    gone = sorted(set(DayRange(FIRST, LAST)) - {row["day"] for row in left})
    assert len(gone) > 5
    assert list(report.unknown) == [
        f"The hours of {said_days(gone)} are not known: the single calls are no longer at hand, only how many there "
        "were."
    ]
    assert sum(count for row in report.hours if row for count in row) == 3 * (31 - len(gone))


def test_a_weekday_of_which_no_hour_is_known_is_unknown_and_not_empty() -> None:
    monday, tuesday = date(2026, 3, 2), date(2026, 3, 3)
    hours = MissedHours.agreeing({monday: {9: 1}, tuesday: {9: 2}}, {monday: 2, tuesday: 2})
    assert (list(hours.archived), list(hours.changed), set(hours.weekdays)) == ([monday], [], {1})
    assert hours.counts == {(1, 9): 2}


def test_days_that_were_not_rolled_up_are_named_and_never_zero(server: Server, template: str) -> None:
    with fresh_database(server, template) as database:
        fill(database, DayRange(date(2026, 3, 5), LAST))
        report = _report(database, ALWAYS)
        assert list(report.unknown) == ["Not counted: 1–4 March. What happened then is unknown, and in no number here."]
        assert report.span == "27 of 31 days"
        assert "as far as it was counted" in report.headline
        assert _values(report)["received"] is None
        february = _report(database, ALWAYS, date(2026, 1, 1))
        assert february.headline == "Nothing of January 2026 was counted yet, so nothing of it is known."
        assert set(_values(february).values()) == {None}
        html = in_report_form(february, ReportForm.html)
        assert not re.search(r">\s*0\b", re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))


def test_a_month_that_is_not_over_ends_yesterday(database: Database) -> None:
    report = _report(database, ALWAYS, now=datetime(2026, 3, 11, 12, tzinfo=UTC))
    assert report.unknown[0] == "March 2026 is not over: these are its days up to 10 March."
    assert _values(report)["missed"] == 30


def test_a_day_that_was_read_before_its_end_is_named(database: Database) -> None:
    database.run("UPDATE monitoring.rollup_days SET checked_at = '2026-03-07 12:00Z' WHERE row_day = '2026-03-07'")
    assert list(_report(database, ALWAYS).unknown) == ["Counted only in part, before the day was over: 7 March."]


def test_what_fired_is_told_in_words_with_what_was_done(database: Database) -> None:
    for fired, ended, peak in (("2026-03-04 14:00Z", "2026-03-04 16:10Z", 43.1), ("2026-04-02 09:00Z", None, 50)):
        database.run(
            "INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, resolved_at,"
            " reason, peak, told, acknowledged_by, evaluated_at) VALUES ('sms_failure_rate', %s, %s, %s, 'warning', %s,"
            " %s, %s, 'recovered', %s, 'warning', 'ann', now())",
            f"business:{ALWAYS}", ALWAYS, "resolved" if ended else "firing", fired, fired, ended, peak,
        )  # fmt: skip
    report = _report(database, ALWAYS)
    (told,) = report.incidents
    assert told.what == "4 March, 14:00: Too many texts failed, at worst 43.1 % of them"
    assert told.done == "SmartText was notified; somebody there took it on; over after 2 h 10 min: it is well again."
    assert [each.what for each in report.failures] == ["31 texts failed: unreachable handset"]
    assert "ann" not in in_report_form(report, ReportForm.json).replace("channel", "")
    assert not _report(database, JOINED).incidents


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_name_stays_text_in_every_form(database: Database, name: str) -> None:
    facts = _facts(database, ALWAYS)
    tags = []
    for each in (facts, dataclasses.replace(facts, name=shown_name(NAMES[name]))):
        report = report_of(each)
        parser = _Tags()
        parser.feed(in_report_form(report, ReportForm.html))
        tags.append(parser.seen)
        for form in ReportForm:
            assert not CONTROLS.search(in_report_form(report, form))
    assert tags[0] == tags[1]


def test_no_number_of_anybody_is_in_any_form(database: Database) -> None:
    for business in (ALWAYS, JOINED):
        report = _report(database, business)
        for form in ReportForm:
            text = in_report_form(report, form)
            assert CALLER.removeprefix("+") not in text
            assert OUR_NUMBER not in text


def test_the_page_needs_nothing_from_outside(database: Database) -> None:
    html = in_report_form(_report(database, ALWAYS), ReportForm.html)
    assert not re.search(r"https?:|<script|<link|<img|@import|url\((?!#)|src=|href=", html)


def test_the_command_writes_a_file_that_only_its_owner_reads(smarttext: Smarttext, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    out.write_text("before")
    done = smarttext("report", "--business", "Business 1", "--month", "2026-03", "--format", "html", "--out", str(out))
    assert done == (0, "", f"wrote {out}\n")
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--month", "2026-03"], "say whose report: --business B"),
        (["--business", "Business 1", "--month", "2026-13"], "'2026-13' is no month; write it as 2026-01"),
        (["--business", "Business 1", "--month", "2099-01"], "no day of 2099-01 is over yet"),
        (["--business", "nobody", "--month", "2026-03"], "no business is called 'nobody'"),
        (["--business", "Business 1", "--month", "2026-03", "--out", "/proc/nothing/x"], "cannot be written"),
    ],
    ids=["no business", "no month", "future", "unknown business", "no place"],
)
def test_a_mistake_is_one_line_and_exit_code_2(smarttext: Smarttext, arguments: list[str], said: str) -> None:
    code, out, err = smarttext("report", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_a_day_that_was_not_rolled_up_is_exit_code_3_and_the_report_is_printed(
    smarttext: Smarttext, database: Database
) -> None:
    code, out, err = smarttext("report", "--business", str(ALWAYS), "--month", "2026-01")
    assert code == 3
    assert "Nothing of January 2026 was counted yet" in out
    assert "not rolled up: 31 of the days from 2026-01-01 to 2026-01-31" in err


def test_a_reader_without_rights_on_events_gets_the_same_report(
    smarttext: Smarttext, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("report", "--business", str(ALWAYS), "--month", "2026-03")
    before = smarttext(*asked)
    make_roles(database.engine)
    migrate(database.engine, ZoneInfo("UTC"))
    with logged_in(database, "smarttext_reader") as engine:
        monkeypatch.setenv("SMARTTEXT_DATABASE_URL", engine.url.render_as_string(hide_password=False))
        assert smarttext(*asked) == before
    assert before[0] == 0
