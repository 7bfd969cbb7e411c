"""``smarttext alerts …``: what the sensor does, without it; and what people ask of incidents."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import typer

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.incidents.lifecycle import Severity
from smarttext_pipelines.cli import alert_rule_commands, silence_commands
from smarttext_pipelines.cli.options import is_number, require_text
from smarttext_pipelines.cli.printing import print_rows, say
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.launch.databases import event_database, event_transaction
from smarttext_pipelines.settings import load_settings

app = typer.Typer(help="Incidents and what is told of them.", no_args_is_help=True)
app.command("silence")(silence_commands.silence)
app.command("silences")(silence_commands.silences)
app.command("unsilence")(silence_commands.unsilence)
app.command()(alert_rule_commands.metrics)
app.command("validate")(alert_rule_commands.validate)
app.command("backtest")(alert_rule_commands.backtest)

Number = Annotated[str, typer.Argument(metavar="INCIDENT", help="Number of the incident, such as 214 or INC-214.")]


def _number(text: str) -> int:
    digits = text.upper().removeprefix("INC-")
    if not is_number(digits):
        msg = f"'{text}' is no incident; write its number, such as 214"
        raise InputError(msg)
    return int(digits)


@app.command()
def evaluate() -> None:
    """Evaluate all rules once and enqueue what is to be told; sends nothing."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels, evaluate_now

    with event_database(load_settings()) as (settings, engine):
        notices = evaluate_now(engine, settings, configured_channels(settings), datetime.now(UTC))
    told = ", ".join(f"{count} {kind}" for kind, count in notices.items())
    say(f"enqueued: {told}" if told else "nothing to tell")


@app.command()
def deliver(
    *, seconds: Annotated[float, typer.Option("--seconds", min=1, help="Claim nothing more after that.")] = 60
) -> None:
    """Send what is due in the outbox over the channels that are configured here."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now

    with event_database(load_settings()) as (settings, engine):
        channels = configured_channels(settings, lambda text: say(text + "\n"))
        done = deliver_now(engine, channels, budget_seconds=seconds)
    said = ", ".join(f"{count} {outcome}" for outcome, count in done.counts.items()) or "nothing was due"
    due = done.next_due_seconds
    say(f"{said}; {'the outbox is empty' if due is None else f'the next is due in {due:.0f} s'}")


@app.command("list")
def list_(*, all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False) -> None:
    """List open incidents, and rules without an answer."""
    from smarttext_pipelines.alerting.incidents import review

    with event_transaction(load_settings()) as connection:
        incidents, states = review.list_incidents(connection, all_=all_), review.rule_states(connection)
    if incidents:
        print_rows(
            [
                {
                    "incident": f"INC-{row['id']}",
                    "state": f"{row['severity']} {row['state']}",
                    "rule": row["rule"],
                    "whom": shown_name(row["whom"]),
                    "k of n": "" if row["part"] is None else f"{_amount(row['part'])} of {_amount(row['whole'])}",
                    "since": f"{row['since']:%Y-%m-%d %H:%M}",
                    "held back by": row["held_by"],
                }
                for row in incidents
            ]
        )
    else:
        say("there was never an incident" if all_ else "no incident is open")
    for state in states:
        if state["verdict"] not in ("ok", "breach"):
            say(f"{state['rule']}: {state['verdict'].replace('_', ' ')} ({state['note']})")


@app.command()
def show(
    incident: Number,
    *,
    rows: Annotated[int, typer.Option("--rows", min=0, max=10_000, help="Failed rows to show.")] = 20,
) -> None:
    """Show the last notice of an incident and the rows behind it, with numbers masked."""
    from smarttext_pipelines.alerting.incidents import review
    from smarttext_pipelines.alerting.notify.markup import PLAIN
    from smarttext_pipelines.alerting.notify.message import Message, full_text

    number = _number(incident)
    with event_transaction(load_settings()) as connection:
        found = review.find_incident(connection, number)
        message = review.last_message(connection, number)
        failed = review.failed_rows(connection, number, rows)
    if message:
        say(full_text(Message.from_json(message), PLAIN))
    since = f"since {found['since']:%Y-%m-%d %H:%M} UTC"
    if found["resolved_at"]:
        since = f"at {found['resolved_at']:%Y-%m-%d %H:%M} UTC, began {found['since']:%Y-%m-%d %H:%M} UTC"
    scope = "" if found["scope"] == found["whom"] else f" ({found['scope']})"
    say(f"{found['state']} {since}, {shown_name(found['whom'])}{scope}")
    print_rows(failed)


@app.command()
def why(incident: Number) -> None:
    """Say for every recipient what was sent or held back, and by what."""
    from smarttext_pipelines.alerting.incidents import review

    with event_transaction(load_settings()) as connection:
        told = review.why(connection, _number(incident))
    print_rows(told.notices)
    if not told.notices:
        say("nobody was told")
    if told.incident["held_by"]:
        say(f"held back now by: {told.incident['held_by']}")
    if told.incident["acknowledged_by"]:
        until = "it is over" if told.incident["severity"] == Severity.critical.name else "it becomes worse"
        say(f"acknowledged by {told.incident['acknowledged_by']}: not repeated until {until}")


@app.command()
def ack(
    incident: Number, *, by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who acknowledges.")]
) -> None:
    """Stop the repeats of an incident until it becomes worse."""
    from smarttext_pipelines.alerting.incidents import review

    require_text(("--by", by))
    with event_transaction(load_settings()) as connection:
        severity, before = review.acknowledge(connection, _number(incident), by)
    instead = f" instead of {before}" if before not in (None, by) else ""
    again = "when it is over" if severity == Severity.critical.name else f"above {severity}, and when it is over"
    say(f"INC-{_number(incident)} is acknowledged by {by}{instead}; it is told again {again}")


@app.command()
def test(channel: Annotated[str, typer.Argument(help=f"One of {', '.join(CHANNELS)}.")]) -> None:
    """Send a test message over a channel that is configured here, without the outbox."""
    from smarttext_pipelines.alerting.channels.channel import Delivery, Sent
    from smarttext_pipelines.alerting.evaluation_service import configured_channels
    from smarttext_pipelines.alerting.notify.message import Message

    settings = load_settings()
    found = {c.name: c for c in configured_channels(settings, say)}
    if channel not in found:
        msg = f"channel '{channel}' is not configured here; there is {', '.join(found)} (see docs/alerting.md)"
        raise InputError(msg)
    message = Message("test", 0, "test", "info", "Test", "this is what an alert looks like", runbook="docs/alerting.md")
    for recipient in found[channel].recipients:
        outcome = found[channel].send(Delivery("test", recipient, message, 1, datetime.now(UTC)))
        if not isinstance(outcome, Sent):
            msg = f"{channel} to {recipient}: not sent ({outcome.reason}); check the settings of the channel"
            raise InputError(msg)
        say(f"{channel} to {recipient}: sent")


def _amount(value: Decimal | float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
