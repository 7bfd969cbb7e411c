"""``smarttext customers list`` and ``show``: what customers did, by key."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smarttext_pipelines.cli.options import (
    BusinessOption,
    FromOption,
    JsonOption,
    ToOption,
    end_not_computed,
    find_business,
    parse_days,
    require_text,
    today,
)
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from smarttext_pipelines.customers.customer_totals import Customer

_DAYS, _MOST = 30, 100
_NUMBERS = ("calls", "missed", "in time", "late", "never", "unknown", "texted us", "texts", "failed", "tokens", "USD")


def list_customers(
    *,
    business: BusinessOption = None,
    unanswered: Annotated[bool, typer.Option("--unanswered", help="Only who was never answered.")] = False,
    heavy: Annotated[bool, typer.Option("--heavy", help="Only who causes much of the use of OpenAI.")] = False,
    first: FromOption = None,
    last: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a business's customers by key, who needs a human first; of 30 days. Exit code 3: one is not rolled up."""
    from smarttext_pipelines.customers.customer_totals import Kind, customers_of

    require_text(("--business", business))
    if business is None or (unanswered and heavy):
        msg = "name a business with --business, and at most one of --unanswered and --heavy"
        raise InputError(msg)
    kind = Kind.unanswered if unanswered else Kind.heavy if heavy else Kind.all
    settings = load_settings()
    days = _days(settings, first, last)
    with event_transaction(settings) as connection:
        found = customers_of(connection, find_business(connection, business), days, kind, _MOST + 1)
        missing = {*days} - complete_days(connection, days, settings.zone, ("customer_days",))
    _show(found[:_MOST], as_json=as_json)
    if len(found) > _MOST and not as_json:
        say(f"the first {_MOST} of more; choose fewer days, --unanswered or --heavy")
    end_not_computed(missing)


def show_customer(
    customer: Annotated[str, typer.Argument(metavar="KEY|NUMBER", help="A key, its first 12 digits, or a number.")],
    *,
    first: FromOption = None,
    last: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a customer did, by business; default is the last 30 days. Exit code 3: a day was not rolled up."""
    from smarttext_pipelines.customers.customer_totals import find_customer

    settings = load_settings()
    key, days = _key(settings, customer), _days(settings, first, last)
    with event_transaction(settings) as connection:
        found = find_customer(connection, key, days)
        missing = {*days} - complete_days(connection, days, settings.zone, ("customer_days",))
    _show(found, as_json=as_json)
    end_not_computed(missing)


def _days(settings: Settings, first: str | None, last: str | None) -> DayRange:
    yesterday = today(settings) - timedelta(days=1)
    if first is None and last is None:
        return DayRange(yesterday - timedelta(days=_DAYS - 1), yesterday)
    return parse_days(settings, None, first, last, default=yesterday, partitions_only=False)


def _key(settings: Settings, customer: str) -> str:
    """Return the key, or the beginning of one, that was meant."""
    from smarttext_pipelines.core.customer_keys import e164
    from smarttext_pipelines.customers.customer_totals import SHORT_KEY
    from smarttext_pipelines.settings.customer_secret import known_key

    if not customer.startswith("+") and re.fullmatch(rf"[0-9a-f]{{{SHORT_KEY},64}}", customer):
        return customer
    if e164(customer) is None:
        msg = f"write a number such as +15551234567, or at least {SHORT_KEY} digits of a key"
        raise InputError(msg)
    key = known_key(settings, customer)
    if key is None:
        msg = "the secret of the keys is not here: set SMARTTEXT_CUSTOMER_KEY, or write the key"
        raise InputError(msg)
    return key


def _show(found: "Sequence[Customer]", *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(each) | {"next_step": each.next_step or None} for each in found])
        return
    print_rows([_cells(each) for each in found], right=_NUMBERS)
    never = sum(each.is_never_answered for each in found)
    said = f"; {counted(never, 'customer')} never answered" if never else ""
    say(f"{counted(len({each.customer_key for each in found}), 'customer')}{said}")


def _cells(each: "Customer") -> dict[str, Any]:
    from smarttext_pipelines.customers.customer_totals import SHORT_KEY

    return {
        "customer": each.customer_key[:SHORT_KEY],
        "business": shown_name(each.business) if each.business else None,
        "calls": each.calls,
        "missed": each.missed,
        "in time": each.in_time,
        "late": each.late,
        "never": each.never,
        "unknown": each.unknown,
        "texted us": each.received,
        "texts": each.sent,
        "failed": each.failed,
        "tokens": each.tokens,
        "USD": f"{each.cost_usd:.4f}",
        "first": each.first_day,
        "last": each.last_day,
        "next step": each.next_step,
    }
