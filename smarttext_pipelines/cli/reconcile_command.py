"""``smarttext reconcile`` and ``smarttext explain messages``: a month of messages, and Twilio's list of them."""

import csv
import sys
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import Connection

from smarttext_pipelines.cli.options import BusinessOption, JsonOption, find_business, first_of_month, today
from smarttext_pipelines.cli.printing import local_time, print_json, print_rows, say
from smarttext_pipelines.core.days import DayRange, day_end, day_start
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from smarttext_pipelines.explain.month_messages import MonthMessage
    from smarttext_pipelines.twilio.reconcile_list import Recorded

MonthOption = Annotated[
    str | None, typer.Option("--month", metavar="YYYY-MM", help="Month of the reporting zone; default is the last one.")
]
_AROUND = timedelta(days=3)
"""Days around the month in which a message of the list is looked for, too."""


def reconcile(
    file: Annotated[
        Path, typer.Argument(help="Messages exported from Twilio: CSV of the console, or JSON of the API.")
    ],
    *,
    month: MonthOption = None,
    business: BusinessOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare a month of messages with Twilio's list: what is only here, only there, or different, and why.

    Exit code 1: they do not agree.
    """
    from smarttext_pipelines.twilio.reconcile_list import read_list
    from smarttext_pipelines.twilio.reconcile_list import reconcile as compare

    listed = read_list(_content(file))
    settings = load_settings()
    days = _days(settings, month)
    with event_database(settings) as (_, engine), connected(engine) as connection:
        ours = _recorded(connection, settings, days, business)
    found = compare(ours, listed, day_start(days.first, settings.zone), day_end(days.last, settings.zone))
    if as_json:
        print_json(asdict(found))
    else:
        rows = [{"where": d.where, "message": d.sid, "ours": d.ours, "Twilio's": d.twilios, "why": d.why}
                for d in found.differences]  # fmt: skip
        print_rows(rows)
        say(
            f"{counted(found.in_both, 'message')} in both, ours {found.ours_usd:f} USD, Twilio's "
            f"{found.twilios_usd:f} USD; {counted(found.without_sid, 'message')} without a sid never reached Twilio"
        )
        kinds = Counter(each.where for each in found.differences)
        say(", ".join(f"{where}: {count:,}" for where, count in kinds.items()) or "no difference")
    if found.differences:
        raise typer.Exit(1)


def _content(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        msg = f"{file} cannot be read: {reason}; name a CSV file"
        raise InputError(msg) from None


def _days(settings: Settings, month: str | None) -> DayRange:
    """Return the days of a month up to today."""
    from smarttext_pipelines.explain.month_messages import days_of_month

    now = today(settings)
    first = now.replace(day=1) - timedelta(days=1) if month is None else first_of_month(month)
    if first > now:
        msg = f"{month} is in the future; today is {now} in {settings.reporting_timezone}"
        raise InputError(msg)
    return days_of_month(first, now)


def _messages(
    connection: Connection, settings: Settings, days: DayRange, business: str | None, *, all_: bool, unattributed: bool
) -> "list[MonthMessage]":
    from smarttext_pipelines.explain import Reading
    from smarttext_pipelines.explain.month_messages import read_month_messages

    if sum((business is not None, all_, unattributed)) != 1:
        msg = "say whose messages: --business B, --all, or --unattributed for what names none"
        raise InputError(msg)
    shared = [number.get_secret_value() for number in settings.shared_senders]
    reading = Reading(settings.zone, settings.settle_days, datetime.now(UTC), settings.reply_minutes, shared)
    chosen = None if business is None else find_business(connection, business)
    return read_month_messages(connection, days, reading, business=chosen, is_all=all_)


def _recorded(connection: Connection, settings: Settings, days: DayRange, business: str | None) -> "list[Recorded]":
    from smarttext_pipelines.twilio.reconcile_list import Recorded

    around = DayRange(days.first - _AROUND, min(days.last + _AROUND, today(settings)))
    found = _messages(connection, settings, around, business, all_=business is None, unattributed=False)
    begin, end = day_start(days.first, settings.zone), day_end(days.last, settings.zone)
    return [Recorded(each.sid, each.status, each.at, each.price_usd, begin <= each.at < end) for each in found]


def print_month(
    month: str | None, business: str | None, *, all_: bool, unattributed: bool, as_csv: bool, as_json: bool
) -> None:
    """Print the messages of a month: sid, time, audience, segments, status, price."""
    settings = load_settings()
    days = _days(settings, month)
    with event_database(settings) as (_, engine), connected(engine) as connection:
        found = _messages(connection, settings, days, business, all_=all_, unattributed=unattributed)
    rows = [
        {
            "sid": each.sid,
            "time": each.at.astimezone(settings.zone).isoformat() if as_csv or as_json else local_time(each.at),
            "audience": each.audience,
            "segments": each.segments,
            "status": each.status,
            "code": each.error_code,
            "price_usd": each.price_usd,
        }
        for each in found
    ]
    if as_json:
        print_json(rows)
    elif as_csv:
        names = ("sid", "time", "audience", "segments", "status", "code", "price_usd")
        writer = csv.DictWriter(sys.stdout, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        print_rows(rows)
        prices = [each.price_usd for each in found if each.price_usd is not None]
        say(
            f"{counted(len(rows), 'message')} from {days.first} to {days.last}; "
            f"{sum(prices):f} USD of {len(prices):,} prices"
        )
