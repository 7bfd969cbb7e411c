"""A bad day told: each command that the digest names runs, and shows the numbers that stand in its line."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.sample import SampleSpec, load_sample
from smarttext_pipelines.schema.migrate import make_roles, migrate
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import insert_events, roll_up_all
from smarttext_pipelines_tests.schema.test_roles import logged_in
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, call_event, sms_event

DAY = date(2026, 3, 16)
BEFORE = DAY - timedelta(days=1)
AT = datetime(2026, 3, 16, 15, tzinfo=UTC)
LEFT, SILENT = BUSINESS_IDS[:2]
WEEKS = 4
SENDER = "+15557770001"
Asked = Callable[..., tuple[int, str, str]]
COLUMNS = ("missed_calls_unreplied", "sms_failure_count", "calls_missed", "replied_late_count")


def _missed(number: int, at: datetime, whose: Any) -> dict[str, Any]:
    caller = f"+1555020{number:04d}"
    return call_event(number, at, call_sid=f"CA{number}", event_type="voice.missed", business_id=whose,
                      from_number=caller)  # fmt: skip


def _faults() -> dict[str, list[dict[str, Any]]]:
    """Make of an ordinary day one with every fault that a line of the digest tells."""
    calls = [_missed(5000 + n, AT + timedelta(minutes=n), LEFT) for n in range(12)]
    late = [_missed(5100 + n, AT + timedelta(minutes=n), LEFT) for n in range(12)]
    calls += late
    texts = [
        sms_event(5000 + n, AT + timedelta(minutes=n), message_sid=f"SM{n}", business_id=LEFT, from_number=SENDER,
                  to_number=f"+1555030{n:04d}", status="undelivered", error_code="30007")
        for n in range(60)
    ] + [
        sms_event(5100 + n, AT + timedelta(minutes=n + 40), message_sid=f"SML{n}", business_id=LEFT,
                  from_number=SENDER, to_number=call["from_number"], status="delivered")
        for n, call in enumerate(late)
    ]  # fmt: skip
    for week in range(1, WEEKS + 1):
        calls.append(call_event(5200 + week, AT - timedelta(weeks=week), call_sid=f"CS{week}", business_id=SILENT))
    twilio = {"service": "twilio", "business_id": LEFT, "tokens_used": 0, "reset_date": DAY}
    usage = [
        api_call(5000, AT, business_id=LEFT, tokens_used=1_040_000, cost_estimate=Decimal("50.25"), reset_date=DAY),
        api_call(5001, AT, endpoint="sms", cost_estimate=Decimal("71.10"), **twilio),
        api_call(5002, AT, endpoint="sms.fees", cost_estimate=Decimal("0.37"), **twilio),
    ]
    return {"businesses": [business(1), business(2)], "call_events": calls, "sms_events": texts, "api_usage": usage}


@pytest.fixture(scope="module")
def bad_day(server: Server, template: str) -> Iterator[Database]:
    spec = SampleSpec(7 * WEEKS + 2, 6, 200, 7, DAY, datetime(2026, 3, 17, tzinfo=UTC))
    with fresh_database(server, template) as database:
        load_sample(database.url, spec, lambda _day, _rows: None)
        with database.engine.begin() as connection:
            insert_events(connection, _faults())
        for week in range(WEEKS, -1, -1):
            day = DAY - timedelta(weeks=week)
            roll_up_all(database.engine, DayRange(day if week else BEFORE, day))
        database.run(
            "INSERT INTO monitoring.budget_crossings (business_id, day, unit, threshold_percent, used, allowed)"
            " VALUES (%s, %s, 'tokens', 100, 1040000, 1000000)", LEFT, DAY,
        )  # fmt: skip
        database.run("INSERT INTO monitoring.openai_refusals VALUES (%s, %s, 'limit_tokens', 31)", DAY, LEFT)
        database.run(
            "INSERT INTO monitoring.incidents (rule, scope, business_id, state, severity, since, fired_at, resolved_at,"
            " evaluated_at) VALUES ('sms_failure_rate', %s, %s, 'resolved', 'critical', %s, %s, %s, now())",
            f"business:{LEFT}", LEFT, AT, AT, AT + timedelta(hours=2),
        )  # fmt: skip
        yield database


@pytest.fixture
def ask(smarttext: Asked, bad_day: Database, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setenv("SMARTTEXT_DATABASE_URL", bad_day.url)
    return smarttext


def _numbers(text: str) -> list[str]:
    return re.findall(r"\d[\d,]*(?:\.\d+)?", text)


def test_each_kind_of_line_is_told_of_a_day_with_every_fault(ask: Asked) -> None:
    told = "\n".join(line["text"] for line in json.loads(ask("digest", "--date", str(DAY), "--json")[1])["lines"])
    for said in (
        "INC-1 sms_failure_rate, critical", "left 12 of 24 callers without a text", "Without a text: ",
        "Fewer answered in time: ", "answered too late", "More texts failed: ", "OpenAI cost ", "Texts cost 71.",
        "used 104 % of its OpenAI budget", "31 OpenAI calls refused", "Silent, unlike other Mondays: Business 2",
        "; usually ", "carriers' fees 0.37 USD",
    ):  # fmt: skip
        assert said in told, (said, told)


def test_each_command_of_a_digest_shows_the_number_that_stands_in_its_line(ask: Asked) -> None:
    stats = json.loads(ask("stats", "--date", str(DAY), "--json")[1])
    compared = set()
    for line in json.loads(ask("digest", "--date", str(DAY), "--json")[1])["lines"]:
        words = (line["command"] or "").split()[1:]
        if not words or words[0] in ("doctor", "rollup"):
            continue
        code, out, errors = ask(*words)
        assert code in (0, 3), (words, errors)
        if words[0] == "explain":
            rows = json.loads(ask(*words, "--json")[1])["rows"]
            shown = _shown(words[1], rows, line["text"])
            assert shown in _numbers(line["text"]), (words, shown, line["text"])
            compared.add(words[1])
        elif words[:2] == ["alerts", "show"]:
            assert "sms_failure_rate" in line["text"]
            assert "Business 1" in out
    assert {*COLUMNS, "openai_cost_estimate", "sms_cost_usd", "openai_tokens_used"} <= compared
    for column in ("sms_failure_count", "missed_calls_unreplied", "calls_missed"):
        rows = json.loads(ask("explain", column, "--all", "--date", str(DAY), "--json")[1])["sentences"]
        assert rows[0].startswith(f"{sum(row[column] or 0 for row in stats):,} rows of {column}")


def test_the_reader_is_shown_the_same_by_each_command_of_a_digest(
    ask: Asked, bad_day: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ask("digest", "--date", str(DAY), "--json")
    told = {line["command"] for line in json.loads(said[1])["lines"] if line["command"]}
    wanted = [words for command in sorted(told) if (words := command.split()[1:])[0] not in ("doctor", "rollup")]
    whole = [ask(*words) for words in wanted]
    make_roles(bad_day.engine)
    migrate(bad_day.engine, ZoneInfo("UTC"))
    with logged_in(bad_day, "smarttext_reader") as engine:
        monkeypatch.setenv("SMARTTEXT_DATABASE_URL", engine.url.render_as_string(hide_password=False))
        assert ask("digest", "--date", str(DAY), "--json") == said
        for words, shown in zip(wanted, whole, strict=True):
            assert ask(*words) == shown, words
    assert {words[0] for words in wanted} >= {"stats", "explain", "alerts", "budgets"}


def _shown(column: str, rows: list[dict[str, Any]], line: str) -> str:
    """Return what the rows of a column come to, in the form of the line that names their command."""
    if column == "openai_tokens_used":
        return f"{sum(row['tokens_used'] or 0 for row in rows) / 10_000:.0f}"
    if column in ("openai_cost_estimate", "sms_cost_usd"):
        is_fee = column == "sms_cost_usd"
        priced = [row for row in rows if not (is_fee and "fee" in row["endpoint"])]
        return f"{sum(Decimal(row['cost_estimate'] or 0) for row in priced):,.2f}"
    return f"{len(rows):,}"


def test_the_row_of_totals_and_the_sentence_below_it_are_the_sums_of_the_rows(ask: Asked) -> None:
    span = ("--from", str(BEFORE), "--to", str(DAY))
    rows = json.loads(ask("stats", *span, "--json")[1])
    code, out, errors = ask("stats", *span)
    assert (code, errors) == (0, "")

    def added(name: str) -> int:
        return sum(row[name] or 0 for row in rows)

    (total,) = [line.split() for line in out.splitlines() if line.split()[:1] == ["total"]]
    assert total[1:3] == [f"{len(rows)}", "rows"]
    missed, in_time, never, texts, ok, failed, *_, tokens, usd = total[3:]
    assert (missed, never) == (f"{added('calls_missed'):,}", f"{added('missed_calls_unreplied'):,}")
    assert texts == f"{added('messages_sent'):,}"
    assert (ok, failed) == (f"{added('sms_success_count'):,}", f"{added('sms_failure_count'):,}")
    assert tokens == f"{added('openai_tokens_used'):,}"
    assert usd == f"{sum(Decimal(row['openai_cost_estimate'] or 0) for row in rows):.4f}"
    found = re.search(
        r"([\d,]+) missed calls: ([\d,]+) answered in time, ([\d,]+) late, ([\d,]+) never, ([\d,]+) unknown; "
        r"OpenAI ([\d.]+) USD, texts ([\d.]+) USD, carriers' fees ([\d.]+) USD", out,
    )  # fmt: skip
    assert found, out
    assert (found[1], found[2], found[4], found[6]) == (missed, in_time, never, usd)
    parts = [int(number.replace(",", "")) for number in found.groups()[:5]]
    assert parts[0] == sum(parts[1:])
    assert found[8] == "0.3700"
    costs = json.loads(ask("explain", "sms_cost_usd", "--all", "--date", str(DAY), "--json")[1])["rows"]
    assert Decimal(found[7]) >= sum(Decimal(row["cost_estimate"] or 0) for row in costs) - Decimal("0.37")


def test_late_and_never_are_the_same_in_the_digest_in_stats_in_explain_and_in_the_fact(
    ask: Asked, bad_day: Database
) -> None:
    on_day = ("--date", str(DAY))
    told = "\n".join(line["text"] for line in json.loads(ask("digest", *on_day, "--json")[1])["lines"])
    digest = [
        re.search(said, told)
        for said in (r"([\d,]+) callers answered too late", r"text: ([\d,]+) of [\d,]+ callers in all")
    ]
    stats = re.search(r"([\d,]+) late, ([\d,]+) never", ask("stats", *on_day)[1])
    columns = ("replied_late_count", "missed_calls_unreplied")
    rows = [json.loads(ask("explain", column, "--all", *on_day, "--json")[1])["rows"] for column in columns]
    (fact,) = bad_day.rows(
        "SELECT sum(replied_late_count) AS late, sum(unreplied_count) AS never FROM monitoring.missed_call_replies"
        " WHERE day = %s", DAY,
    )  # fmt: skip
    wanted = [f"{fact[name]:,}" for name in ("late", "never")]
    assert [found and found[1] for found in digest] == wanted, told
    assert stats
    assert list(stats.groups()) == wanted
    assert [f"{len(found):,}" for found in rows] == wanted


def test_what_a_month_is_compared_with_are_the_texts_of_stats(ask: Asked, tmp_path: Path) -> None:
    month = ("--month", f"{DAY:%Y-%m}")
    rows = json.loads(ask("explain", "messages", "--all", *month, "--json")[1])
    for day in (BEFORE, DAY):
        sent = sum(row["messages_sent"] for row in json.loads(ask("stats", "--date", str(day), "--json")[1]))
        assert sum(row["time"].startswith(str(day)) for row in rows) == sent
    columns = {"sid": "Sid", "status": "Status", "time": "SentDate", "price_usd": "Price"}
    with (tmp_path / "list.csv").open("w") as file:
        list_ = csv.DictWriter(file, list(columns.values()))
        list_.writeheader()
        list_.writerows({named: row[name] for name, named in columns.items()} for row in rows if row["sid"])
    code, out, errors = ask("reconcile", str(tmp_path / "list.csv"), *month, "--json")
    assert (code, errors) == (0, "")
    found = json.loads(out)
    assert found["differences"] == []
    assert found["in_both"] + found["without_sid"] == len(rows)
    assert found["without_sid"] == sum(not row["sid"] for row in rows) > 0


@pytest.mark.parametrize(
    ("words", "has_week"),
    [
        (("--date", str(BEFORE)), True), (("--date", str(DAY)), False), (("--date", str(DAY), "--week"), True),
        (("--date", str(BEFORE), "--no-week"), False),
    ],
)  # fmt: skip
def test_the_week_is_told_of_a_sunday_which_is_read_on_monday_and_when_asked_for(
    words: tuple[str, ...], has_week: bool, ask: Asked
) -> None:
    lines = json.loads(ask("digest", *words, "--json")[1])["lines"]
    told = [line for line in lines if line["text"].startswith("The week from ")]
    assert len(told) == has_week
    for line in told:
        assert line["command"].startswith("smarttext stats --from 2026-03-")
        assert ask(*line["command"].split()[1:])[0] == 3, "most days of it were not rolled up"
