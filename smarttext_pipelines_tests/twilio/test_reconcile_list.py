"""Twilio's list beside ours: each lost, added, late, repriced and doubled message is named, and nothing else."""

import csv
import io
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.twilio.reconcile_list import Listed, Recorded, read_list, reconcile
from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.events import replace_events
from smarttext_pipelines_tests.strategies import BUSINESS_IDS, api_call, business, events, sms_event

BEGIN, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
PRICE = Decimal("0.0079")


def _month(count: int = 400) -> tuple[list[Recorded], list[Listed]]:
    chance = random.Random(7)
    ours = [
        Recorded(f"SM{n:032x}", chance.choice(["delivered", "undelivered"]), BEGIN + timedelta(hours=50 + n), PRICE)
        for n in range(count)
    ]
    return ours, [Listed(each.sid, each.status, each.at, PRICE, 1) for each in ours]


def test_equal_lists_differ_in_nothing() -> None:
    ours, listed = _month()
    found = reconcile(ours, listed, BEGIN, END)
    assert (found.in_both, found.differences, found.ours_usd) == (400, [], found.twilios_usd)


@pytest.mark.parametrize("seed", range(5))
def test_each_change_is_found_with_its_reason_and_nothing_else(seed: int) -> None:
    ours, listed = _month()
    chance = random.Random(seed)
    lost, added, late, repriced, doubled, reported = (
        chance.sample(range(400), 60)[n * 10 : n * 10 + 10] for n in range(6)
    )
    changed = [*listed]
    for n in repriced:
        changed[n] = Listed(ours[n].sid, changed[n].status, ours[n].at, Decimal("0.0158"), 2)
    for n in reported:
        ours[n] = Recorded(ours[n].sid, "queued", ours[n].at, ours[n].price_usd)
    for n in late:
        ours[n] = Recorded(ours[n].sid, ours[n].status, END + timedelta(minutes=5), ours[n].price_usd, is_within=False)
    given = [each for n, each in enumerate(changed) if n not in lost]
    given += [listed[n] for n in doubled]
    strange = [Listed(f"SMstrange{n}", "delivered", BEGIN + timedelta(days=9), PRICE, 1) for n in added]
    found = reconcile(ours, [*given, *strange], BEGIN, END).differences
    named = {(each.where, each.sid) for each in found}
    # A message may be in several of the groups; where it is in none, it must not be named.
    wanted = {("only here", ours[n].sid) for n in lost if ours[n].is_within and n not in doubled}
    wanted |= {("only there", each.sid) for each in strange}
    there = {each.sid for each in given}
    wanted |= {("late", ours[n].sid) for n in late if ours[n].sid in there}
    wanted |= {("status", ours[n].sid) for n in reported if ours[n].status == "queued" and ours[n].sid in there}
    wanted |= {("twice there", listed[n].sid) for n in doubled if n not in lost}
    prices = {each.sid: each.price_usd for each in given}
    wanted |= {("price", sid) for sid, price in prices.items() if price != PRICE}
    assert named == wanted
    assert all(each.why for each in found)


def test_lists_of_the_console_and_of_the_api_are_read_alike() -> None:
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["From", "To", "Body", "Status", "SentDate", "NumSegments", "Price", "Sid", "Direction"])
    writer.writerow(
        ["+1", "+2", "Hi, you", "Delivered", "2026-03-04T10:00:00Z", "1", "-0.00790", "SM1", "outbound-api"]
    )
    writer.writerow(["+2", "+1", "Hi", "received", "2026-03-04T10:00:00Z", "1", "-0.00790", "SM2", "inbound"])
    of_api = {
        "messages": [
            {"sid": "SM1", "status": "delivered", "date_sent": "Wed, 04 Mar 2026 10:00:00 +0000", "num_segments": "1",
             "price": "-0.00790", "direction": "outbound-api"}
        ]
    }  # fmt: skip
    one = [Listed("SM1", "delivered", datetime(2026, 3, 4, 10, tzinfo=UTC), Decimal("0.00790"), 1)]
    assert read_list(written.getvalue()) == one
    assert read_list(json.dumps(of_api)) == one
    for content in ("a,b\n1,2\n", "", "{]", "[]"):
        with pytest.raises(InputError, match="Twilio"):
            read_list(content)


@pytest.fixture
def month(database: Database) -> Database:
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    texts = [
        sms_event(1, at, message_sid="SM1", business_id=BUSINESS_IDS[0], status="delivered"),
        sms_event(2, at, message_sid="SM2", business_id=BUSINESS_IDS[0], status="queued"),
        sms_event(3, at, message_sid="", request_id="r3", business_id=BUSINESS_IDS[0], status="failed"),
        sms_event(4, at - timedelta(days=11), message_sid="SM4", business_id=BUSINESS_IDS[0], status="delivered"),
    ]
    price = {
        "service": "twilio",
        "endpoint": "sms",
        "cost_estimate": PRICE,
        "request_id": "SM1",
        "reset_date": date(2026, 3, 10),
    }
    usage = [api_call(1, at, business_id=BUSINESS_IDS[0], tokens_used=0, **price)]
    replace_events(database.engine, events(businesses=[business(1)], sms_events=texts, api_usage=usage))
    database.run("UPDATE public.sms_events SET payload = '{\"num_segments\": 2}' WHERE message_sid = 'SM1'")
    database.run("UPDATE public.api_usage SET id = md5('twilio-price:SM1')::uuid")
    return database


def test_a_month_is_one_line_a_message(smarttext: Callable[..., tuple[int, str, str]], month: Database) -> None:
    code, out, errors = smarttext("explain", "messages", "--business", "Business 1", "--month", "2026-03", "--csv")
    assert (code, errors) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["sid"], row["segments"], row["status"], row["price_usd"]) for row in rows] == [
        ("", "", "failed", ""), ("SM1", "2", "delivered", "0.007900"), ("SM2", "", "queued", ""),
    ]  # fmt: skip
    assert all(row["time"].startswith("2026-03-10T12:00:00+00:00") for row in rows)


def test_the_command_compares_a_file_and_says_why(
    smarttext: Callable[..., tuple[int, str, str]], month: Database, tmp_path: Path
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(
        "Sid,Status,SentDate,Price\nSM1,delivered,2026-03-10T12:00:00Z,-0.0079\nSM2,delivered,2026-03-10T12:00:00Z,\n"
        "SM4,delivered,2026-02-27T12:00:00Z,\nSM9,delivered,2026-03-10T12:00:00Z,-0.0079\n"
    )
    code, out, errors = smarttext("reconcile", str(file), "--month", "2026-03", "--json")
    assert (code, errors) == (1, "")
    found = json.loads(out)
    assert {(each["where"], each["sid"]) for each in found["differences"]} == {
        ("status", "SM2"), ("late", "SM4"), ("only there", "SM9"),
    }  # fmt: skip
    assert (found["in_both"], found["without_sid"]) == (3, 1)
    file.write_text("Sid,Status\nSM1,delivered\nSM2,queued\n")
    code, out, _ = smarttext("reconcile", str(file), "--month", "2026-03")
    assert code == 0
    assert "no difference" in out
    assert smarttext("reconcile", str(tmp_path / "none.csv"))[0] == 2
    assert smarttext("reconcile", str(file), "--month", "March")[0] == 2
