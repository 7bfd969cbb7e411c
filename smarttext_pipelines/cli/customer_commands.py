"""``smarttext customers``: the people whom businesses text."""

import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from smarttext_pipelines.cli.customer_list_commands import customers
from smarttext_pipelines.cli.lazy_commands import add_lazily
from smarttext_pipelines.cli.options import BusinessOption, JsonOption, find_business, require_text
from smarttext_pipelines.cli.printing import print_json, print_rows, reporting_zone, say, telling
from smarttext_pipelines.core.display import no_formula, shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import load_settings

if TYPE_CHECKING:
    from smarttext_pipelines.customers.suppressions import Suppression

app = typer.Typer(no_args_is_help=True)
app.callback(invoke_without_command=True)(customers)
_FIELDS = (
    "business_id", "business", "recipient", "verdict", "since", "reason", "sender", "sent_in_spite", "last_in_spite_at",
)  # fmt: skip


@app.command("suppressions")
def suppressions(
    *,
    business: BusinessOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line a recipient and sender.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show who is not to be texted now, since when and why, and who was texted in spite of an opt-out."""
    from smarttext_pipelines.customers.suppressions import find_suppressions

    require_text(("--business", business))
    if as_csv and as_json:
        msg = "use either --csv or --json"
        raise InputError(msg)
    with telling("reading events"), event_transaction(load_settings()) as connection:
        found = find_suppressions(connection, find_business(connection, business) if business else None)
    if as_json:
        print_json([asdict(each) for each in found])
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, _FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_cells(asdict(each)) for each in found)
    else:
        _print(found)


@app.command("new-key")
def new_key(*, yes: Annotated[bool, typer.Option("--yes", help="Do it; without, nothing is changed.")] = False) -> None:
    """Let the secret of this machine be that of the customers' keys from now on; each customer gets another key."""
    from smarttext_pipelines.schema.same_secret import is_same_secret, use_secret
    from smarttext_pipelines.settings.customer_secret import customer_secret, known_secret

    settings = load_settings()
    with event_transaction(settings) as connection:
        secret = known_secret(settings)
        if secret is not None and is_same_secret(connection, secret):
            say("the keys are made under this secret already; nothing was changed")
            return
        if not yes:
            msg = "every customer gets another key, and other machines are refused: say --yes; nothing was changed"
            raise InputError(msg)
        secret = secret or customer_secret(settings)
        use_secret(connection, secret, anew=True)
    say("days that are rolled up from now on have keys under this secret; roll up all others again, too, as far as")
    say("their events are there: until then nobody can tell that a key of before and one of now are one person")


def _cells(row: dict[str, Any]) -> dict[str, Any]:
    zone = reporting_zone()
    cells = {n: v.astimezone(zone).isoformat() if isinstance(v, datetime) else v for n, v in row.items()}
    # A customer chooses the name of a business.
    return cells | {"business": no_formula(cells["business"] or "")}


def _print(found: "Sequence[Suppression]") -> None:
    rows = [
        {
            "business": shown_name(each.business) if each.business else "(none)",
            "number": each.recipient,
            "verdict": each.verdict.replace("_", " "),
            "since": each.since,
            "why": each.reason,
            "sender": each.sender,
            "texted in spite": each.sent_in_spite or None,
            "last": each.last_in_spite_at,
        }
        for each in found
    ]
    print_rows(rows, right=("texted in spite",))
    said = f"{counted(sum(each.verdict != 'allowed' for each in found), 'suppression')} now"
    sent = sum(each.sent_in_spite for each in found)
    say(f"{said}; {counted(sent, 'text')} sent in spite of an opt-out" if sent else said)
    say("known from events that are not archived yet; Twilio itself refuses texts to whoever opted out before")


add_lazily(
    app,
    "list",
    "customer_list_commands:list_customers",
    "Show a business's customers by key, who needs a human first; of 30 days. Exit code 3: one is not rolled up.",
)
add_lazily(
    app,
    "show",
    "customer_list_commands:show_customer",
    "Show what a customer did, by business; default is the last 30 days. Exit code 3: a day was not rolled up.",
)
add_lazily(
    app,
    "robocallers",
    "robocaller_command:robocallers",
    "Show likely robocallers by key; default is yesterday. Exit code 3: one of a day's seven was not rolled up.",
)
