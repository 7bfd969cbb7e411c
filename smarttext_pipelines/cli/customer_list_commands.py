"""``smarttext customers``, ``list`` and ``show``: what customers did, by key, and whom not to text."""

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
from smarttext_pipelines.core.days import DayRange, day_end, day_start
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.rolled_up_days import complete_days
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from smarttext_pipelines.customers.contacts import Contacts, Span
    from smarttext_pipelines.customers.customer_totals import Customer

_DAYS, _MOST = 30, 100
_NUMBERS = ("calls", "missed", "in time", "late", "never", "unknown", "texted us", "texts", "failed", "in spite",
            "tokens", "USD")  # fmt: skip
_NOT_READ = "opt-outs and numbers are unknown here"

UnansweredOption = Annotated[bool, typer.Option("--unanswered", help="Only who was never answered.")]
HeavyOption = Annotated[bool, typer.Option("--heavy", help="Only who causes much of the use of OpenAI.")]
OptedOutOption = Annotated[bool, typer.Option("--opted-out", help="Only who opted out of texts.")]


def customers(
    context: typer.Context,
    *,
    business: BusinessOption = None,
    unanswered: UnansweredOption = False,
    heavy: HeavyOption = False,
    opted_out: OptedOutOption = False,
    first: FromOption = None,
    last: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the people who call and text businesses, and whom businesses text; with --business, as `list` does."""
    if context.invoked_subcommand is None:
        list_customers(
            business=business, unanswered=unanswered, heavy=heavy, opted_out=opted_out, first=first, last=last,
            as_json=as_json,
        )  # fmt: skip
    elif any((business, unanswered, heavy, opted_out, first, last, as_json)):
        msg = f"write the options behind the word {context.invoked_subcommand}"
        raise InputError(msg)


def list_customers(
    *,
    business: BusinessOption = None,
    unanswered: UnansweredOption = False,
    heavy: HeavyOption = False,
    opted_out: OptedOutOption = False,
    first: FromOption = None,
    last: ToOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a business's customers by key, who needs a human first; of 30 days. Exit code 3: one is not rolled up."""
    from smarttext_pipelines.customers.customer_totals import Kind, customers_of

    require_text(("--business", business))
    if business is None or unanswered + heavy + opted_out > 1:
        msg = "name a business with --business, and at most one of --unanswered, --heavy and --opted-out"
        raise InputError(msg)
    kind = Kind.unanswered if unanswered else Kind.heavy if heavy else Kind.all
    settings = load_settings()
    days = chosen_days(settings, first, last)
    with event_transaction(settings) as connection:
        whose = find_business(connection, business)
        contacts, unread = open_contacts(connection, settings)
        suppressed = contacts.suppressed(whose) if contacts else {}
        keys = None
        if opted_out:
            if contacts is None:
                msg = f"{unread}; see `smarttext customers suppressions`"
                raise InputError(msg)
            keys = [key for key, found in suppressed.items() if found[0].verdict == "opted_out"]
        found = customers_of(connection, whose, days, kind, _MOST + 1, keys)
        shown = contacts.of(found[:_MOST], suppressed, span_of(days, settings)) if contacts else found[:_MOST]
        missing = {*days} - complete_days(connection, days, settings.zone, ("customer_days",))
    _show(shown, unread, as_json=as_json)
    if len(found) > _MOST and not as_json:
        say(f"the first {_MOST} of more; choose fewer days, --unanswered, --heavy or --opted-out")
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
    days = chosen_days(settings, first, last)
    with event_transaction(settings) as connection:
        key = key_of(connection, settings, customer)
        contacts, unread = open_contacts(connection, settings)
        found = find_customer(connection, key, days)
        if contacts:
            found = contacts.of(found, contacts.suppressed(), span_of(days, settings))
        missing = {*days} - complete_days(connection, days, settings.zone, ("customer_days",))
    _show(found, unread, as_json=as_json)
    end_not_computed(missing)


def open_contacts(connection: "Connection", settings: Settings) -> "tuple[Contacts | None, str]":
    """Return the reader of what events know of customers, or None and why nothing of it is known here."""
    from smarttext_pipelines.customers.contacts import Contacts, may_read_events
    from smarttext_pipelines.schema.same_secret import DIFFERS, is_same_secret
    from smarttext_pipelines.settings.customer_secret import known_secret

    if not may_read_events(connection):
        return None, f"{_NOT_READ}: this role may not read events"
    secret = known_secret(settings)
    if secret is None:
        return None, f"{_NOT_READ}: set SMARTTEXT_CUSTOMER_KEY to the secret of the keys"
    if is_same_secret(connection, secret) is False:
        return None, f"{_NOT_READ}: {DIFFERS}"
    return Contacts(connection, secret), ""


def span_of(days: DayRange, settings: Settings) -> "Span":
    """Return the instants of reporting days."""
    from smarttext_pipelines.customers.contacts import Span

    return Span(day_start(days.first, settings.zone), day_end(days.last, settings.zone))


def chosen_days(settings: Settings, first: str | None, last: str | None) -> DayRange:
    """Return the days that the options name; the last 30 by default."""
    yesterday = today(settings) - timedelta(days=1)
    if first is None and last is None:
        return DayRange(yesterday - timedelta(days=_DAYS - 1), yesterday)
    return parse_days(settings, None, first, last, default=yesterday, partitions_only=False)


def key_of(connection: "Connection", settings: Settings, customer: str) -> str:
    """Return the key, or the beginning of one, that was meant."""
    from smarttext_pipelines.core.customer_keys import customer_key, e164
    from smarttext_pipelines.customers.customer_totals import SHORT_KEY
    from smarttext_pipelines.schema.same_secret import require_same_secret
    from smarttext_pipelines.settings.customer_secret import known_secret

    if not customer.startswith("+") and re.fullmatch(rf"[0-9a-f]{{{SHORT_KEY},64}}", customer):
        return customer
    number = e164(customer)
    if number is None:
        msg = f"write a number such as +15551234567, or at least {SHORT_KEY} digits of a key"
        raise InputError(msg)
    secret = known_secret(settings)
    if secret is None:
        msg = "the secret of the keys is not here: set SMARTTEXT_CUSTOMER_KEY, or write the key"
        raise InputError(msg)
    require_same_secret(connection, secret)
    return str(customer_key(number, secret))


def _show(found: "Sequence[Customer]", unread: str, *, as_json: bool) -> None:
    if as_json:
        print_json([as_row(each) for each in found])
        return
    print_rows([_cells(each) for each in found], right=_NUMBERS)
    never = sum(each.is_never_answered for each in found)
    said = f"; {counted(never, 'customer')} never answered" if never else ""
    say(f"{counted(len({each.customer_key for each in found}), 'customer')}{said}")
    if unread:
        say(f"{unread}; before you text, see `smarttext customers suppressions`")


def as_row(each: "Customer") -> dict[str, Any]:
    """Return a customer for programs."""
    known = {"verdict": each.verdict, "since": each.since, "sent_in_spite": each.sent_in_spite}
    return asdict(each) | known | {"next_step": each.next_step or None}


def _cells(each: "Customer") -> dict[str, Any]:
    from smarttext_pipelines.customers.customer_totals import SHORT_KEY

    return {
        "customer": each.customer_key[:SHORT_KEY],
        "number": each.number,
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
        "texting": (each.verdict or "unknown").replace("_", " "),
        "in spite": each.sent_in_spite or None,
        "tokens": each.tokens,
        "USD": f"{each.cost_usd:.4f}",
        "first": each.first_day,
        "last": each.last_day,
        "next step": each.next_step,
    }
