"""``smarttext explain``: from a number to its rows."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from smarttext_pipelines.cli.options import (
    BusinessOption,
    DateOption,
    UnattributedOption,
    find_business,
    parse_days,
    today,
)
from smarttext_pipelines.cli.printing import CELL_LENGTH, print_rows, say
from smarttext_pipelines.core.display import cut
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import Settings, load_settings

MOST_SHOWN = 200


def explain(
    what: Annotated[str | None, typer.Argument(help="A column of daily_stats, or: call, message, customer.")] = None,
    sid: Annotated[str | None, typer.Argument(help="Sid, or the customer's key or number.")] = None,
    *,
    business: BusinessOption = None,
    unattributed: UnattributedOption = False,
    day: DateOption = None,
    incident: Annotated[str | None, typer.Option("--incident", help="Number of an incident.")] = None,
) -> None:
    """Show the rows behind a number, a call, a message or an incident, with numbers masked."""
    if incident:
        from smarttext_pipelines.cli import alert_commands

        alert_commands.show(incident, rows=50)
        return
    if not what:
        msg = "say what to explain: a column with --business and --date, call SID, message SID, or --incident ID"
        raise InputError(msg)
    settings = load_settings()
    with event_database(settings) as (_, engine), connected(engine) as connection:
        rows, sentences = _explained(connection, settings, what, sid, business, unattributed, day)
    print_rows(rows)
    for sentence in sentences:
        say(cut(sentence, CELL_LENGTH))


def _explained(
    connection: Connection,
    settings: Settings,
    what: str,
    sid: str | None,
    business: str | None,
    unattributed: bool,
    day: str | None,
) -> tuple[Sequence[dict[str, Any]], Sequence[str]]:
    from smarttext_pipelines.explain import explain_call, explain_column, explain_message
    from smarttext_pipelines.explain.column import window_of

    if what == "customer":
        from smarttext_pipelines.cli.customer_commands import explain_customer

        return explain_customer(connection, settings, sid)
    shared = [number.get_secret_value() for number in settings.shared_senders]
    if what in ("call", "message"):
        if not sid:
            msg = f"give the sid: `smarttext explain {what} SID`"
            raise InputError(msg)
        if what == "message":
            found = explain_message(connection, sid)
        else:
            found = explain_call(
                connection,
                sid,
                zone=settings.zone,
                settle_days=settings.settle_days,
                now=datetime.now(UTC),
                reply_minutes=settings.reply_minutes,
                shared_senders=shared,
            )
        return found.rows, found.sentences
    if (business is not None) == unattributed:
        msg = f"say whose {what}: --business B, or --unattributed for what names none"
        raise InputError(msg)
    days = parse_days(settings, day, None, None, default=today(settings) - timedelta(days=1), partitions_only=False)
    window = window_of(days.first, settings.zone, settings.settle_days, datetime.now(UTC), settings.reply_minutes)
    chosen = None if business is None else find_business(connection, business)
    rows = explain_column(connection, what, chosen, window, shared_senders=shared)
    shown = "" if len(rows) <= MOST_SHOWN else f", the first {MOST_SHOWN} are shown"
    return rows[:MOST_SHOWN], [f"{len(rows):,} row{'' if len(rows) == 1 else 's'} of {what} on {days.first}{shown}"]
