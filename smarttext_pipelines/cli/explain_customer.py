"""``smarttext explain customer KEY|NUMBER``: the story of one customer."""

from dataclasses import asdict
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from smarttext_pipelines.cli.customer_list_commands import as_row, chosen_days, key_of, open_contacts, span_of
from smarttext_pipelines.cli.options import find_business
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.customer_keys import e164
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smarttext_pipelines.customers.customer_totals import Customer, CustomerDay

_COUNTS = ("calls", "missed", "in time", "late", "never", "unknown", "texted us", "texts", "failed", "requests",
           "tokens", "USD")  # fmt: skip


def explain_customer(
    settings: Settings, asked: str | None, *, business: str | None, day: str | None, as_json: bool
) -> set[date]:
    """Print what a customer did by day, whether to text it, and what to do; return days that were not rolled up.

    The number is masked, except for who typed it.

    Args:
        settings: Settings of the process.
        asked: A key, its beginning, or a number.
        business: Only what concerns this one.
        day: One day; by default the last 30.
        as_json: Print JSON instead of text.

    Raises:
        InputError: It is neither, or several keys begin so.
    """
    from smarttext_pipelines.customers.customer_totals import SHORT_KEY, days_of, find_customer

    if not asked:
        msg = "say which customer: write a key, or a number such as +15551234567, behind the word"
        raise InputError(msg)
    days = chosen_days(settings, day, day)
    with event_transaction(settings) as connection:
        key = key_of(connection, settings, asked)
        whose = None if business is None else find_business(connection, business)
        contacts, unread = open_contacts(connection, settings)
        found, by_day = find_customer(connection, key, days, whose), days_of(connection, key, days, whose)
        if contacts:
            found = contacts.of(found, contacts.suppressed(whose), span_of(days, settings))
        missing = {*days} - complete_days(connection, days, settings.zone, ("customer_days",))
    typed = e164(asked) if key != asked else None
    if as_json:
        rows = [as_row(each) for each in found]
        print_json({"number": typed, "businesses": rows, "days": [asdict(each) for each in by_day]})
        return missing
    masked = next((f" ({each.number})" for each in found if each.number), "")
    _print(typed or f"customer {key[:SHORT_KEY]}{masked}", found, by_day)
    say(unread or f"{counted(len(by_day), 'day')} with a business, {days.first} to {days.last}")
    return missing


def _print(name: str, found: "Sequence[Customer]", by_day: "Sequence[CustomerDay]") -> None:
    print_rows([_cells(each) for each in by_day], title=name, right=_COUNTS)
    print_rows([line for each in found for line in _advice(each)], title="what to do")
    if not by_day:
        say(f"{name}: nothing is known of these days")


def _cells(each: "CustomerDay") -> dict[str, Any]:
    return {
        "day": each.day, "business": _named(each.business), "calls": each.calls, "missed": each.missed,
        "in time": each.in_time, "late": each.late, "never": each.never, "unknown": each.unknown,
        "texted us": each.received, "texts": each.sent, "failed": each.failed, "requests": each.requests,
        "tokens": each.tokens, "USD": f"{each.cost_usd:.4f}",
    }  # fmt: skip


def _advice(each: "Customer") -> list[dict[str, Any]]:
    """Return a line for each reason not to text; one in any case."""
    reasons: list[tuple[str, datetime | None, str | None, int]] = [
        (why.verdict, why.since, why.reason, why.sent_in_spite) for why in each.suppressed or ()
    ]
    return [
        {
            "business": _named(each.business),
            "next step": each.next_step or "none",
            "texting": verdict.replace("_", " "),
            "since": since,
            "why": reason,
            "texted in spite": sent_in_spite or None,
        }
        for verdict, since, reason, sent_in_spite in reasons or [(each.verdict or "unknown", None, None, 0)]
    ]


def _named(business: str | None) -> str | None:
    return shown_name(business) if business else None
