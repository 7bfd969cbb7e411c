"""``smarttext customers`` and ``smarttext explain customer``: who was never answered, who uses most, who opted out."""

import csv
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer
from sqlalchemy import Connection

from smarttext_pipelines.cli.options import BusinessOption, find_business, today
from smarttext_pipelines.cli.printing import print_rows, say
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.customers.customer_list import Choice, customer_history, list_customers
from smarttext_pipelines.customers.secret_file import customer_key
from smarttext_pipelines.customers.suppressions import install_secret, list_suppressions, refresh
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import Settings, load_settings

LONGEST = 3660

app = typer.Typer(help="Customers of a business by their keys, and whom not to text.", invoke_without_command=True)


@app.callback()
def customers(
    context: typer.Context,
    *,
    business: BusinessOption = None,
    days: Annotated[int, typer.Option("--days", min=1, max=LONGEST, help="Days that are added up.")] = 30,
    unanswered: Annotated[bool, typer.Option("--unanswered", help="Whose missed call got no text.")] = False,
    heavy: Annotated[bool, typer.Option("--heavy", help="Who uses most OpenAI tokens.")] = False,
    opted_out: Annotated[bool, typer.Option("--opted-out", help="Who opted out of texts.")] = False,
) -> None:
    """Show the customers of a business by their keys, and what to do; numbers are not stored."""
    if context.invoked_subcommand is not None:
        return
    if business is None:
        msg = "say whose customers: --business B"
        raise InputError(msg)
    wanted = [
        choice
        for choice, is_wanted in (
            (Choice.unanswered, unanswered),
            (Choice.heavy, heavy),
            (Choice.opted_out, opted_out),
        )
        if is_wanted
    ]
    if len(wanted) > 1:
        msg = "use one of --unanswered, --heavy and --opted-out"
        raise InputError(msg)
    settings = load_settings()
    last = today(settings)
    span = DayRange(last - timedelta(days=days - 1), last)
    with event_database(settings) as (_, engine), connected(engine) as connection:
        chosen = find_business(connection, business)
        found = list_customers(connection, chosen, span, wanted[0] if wanted else Choice.everyone)
    print_rows(found.rows)
    shown = "" if found.count == len(found.rows) else f", the first {len(found.rows)} are shown"
    say(f"{found.count:,} customer{'' if found.count == 1 else 's'} from {span.first} to {span.last}{shown}")


@app.command("suppressions")
def suppressions(
    *, as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, for whoever cannot call the function.")] = False
) -> None:
    """Show who opted out and whose number takes no texts, by their keys."""
    with event_database(load_settings()) as (_, engine), connected(engine) as connection:
        rows = list_suppressions(connection)
    if not as_csv:
        print_rows(rows)
        say(f"{len(rows):,} not to be texted")
        return
    writer = csv.DictWriter(sys.stdout, ["customer_key", "reason", "since", "why", "business"])
    writer.writeheader()
    writer.writerows(rows)


@app.command("install-secret")
def install(
    *, days: Annotated[int, typer.Option("--days", min=1, max=LONGEST, help="Days that are read.")] = 90
) -> None:
    """Let the database answer check_sms_recipient: give it the secret, which its owner alone reads."""
    settings = load_settings()
    with event_database(settings) as (_, engine), connected(engine) as connection, connection.begin():
        changed = install_secret(connection, customer_key(settings))
        marks = refresh(connection, datetime.now(UTC) - timedelta(days=days))
    said = "installed" if changed else "was installed before"
    say(f"the secret {said}; {marks:,} new marks from the last {days} days")


def explain_customer(
    connection: Connection, settings: Settings, who: str | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the days of a customer, who is named by the key or the number, and a sentence."""
    if not who:
        msg = "say which customer: `smarttext explain customer KEY`, or a number such as +15551234567"
        raise InputError(msg)
    key = _key_of(settings, who)
    rows = customer_history(connection, key)
    counted = f"{len(rows):,} day{'' if len(rows) == 1 else 's'}"
    return rows, [f"customer {key}: {counted} with a call, a text or usage"]


def _key_of(settings: Settings, who: str) -> UUID:
    try:
        return UUID(who)
    except ValueError:
        key = customer_key(settings).of_number(who)
    if key is None:
        msg = "that is neither the key of a customer nor a number; write a number such as +15551234567"
        raise InputError(msg)
    return key
