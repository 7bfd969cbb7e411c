"""``smarttext alerts …``: what the sensor does, without it; and what people ask of incidents."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.alerting.incidents.lifecycle import Severity
from smarttext_pipelines.cli.incident_options import ByOption, Number, incident_number, person
from smarttext_pipelines.cli.lazy_commands import add_lazily
from smarttext_pipelines.cli.options import JsonOption
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.launch.databases import event_database, event_transaction
from smarttext_pipelines.settings import load_settings

app = typer.Typer(help="Incidents and their notifications.", no_args_is_help=True)
add_lazily(
    app,
    "silence",
    "silence_commands:silence",
    "Suppress notices for a while; what still fires then is notified at once.",
)
add_lazily(app, "silences", "silence_commands:silences", "List silences.")
add_lazily(
    app,
    "unsilence",
    "silence_commands:unsilence",
    "End a silence; what still fires is notified by the next evaluation.",
)
add_lazily(app, "metrics", "alert_rule_commands:metrics", "List what rules can watch.")
add_lazily(app, "validate", "alert_rule_commands:validate", "Explain every mistake in a file of rules, with its line.")
add_lazily(
    app,
    "backtest",
    "alert_rule_commands:backtest",
    "Replay rules over history and say how many notices each would have sent, and to whom; changes nothing.",
)

_SHOWN_ROWS = 20


@app.command()
def evaluate() -> None:
    """Evaluate all rules once and enqueue notifications; sends nothing. Exit code 1: a rule is in error."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels, evaluate_now
    from smarttext_pipelines.alerting.incidents import review

    with event_database(load_settings()) as (settings, engine):
        notices = evaluate_now(engine, settings, configured_channels(settings), datetime.now(UTC))
        with engine.connect() as connection:
            failed = [row for row in review.rule_states(connection) if row["verdict"] == "error"]
    told = ", ".join(f"{count} {kind}" for kind, count in notices.items())
    say(f"enqueued: {told}" if told else "nothing to notify")
    for row in failed:
        say(f"{row['rule']} cannot be evaluated: {row['note']}", stderr=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def deliver(
    *, seconds: Annotated[float, typer.Option("--seconds", min=1, help="Claim nothing more after that.")] = 60
) -> None:
    """Send what is due in the outbox over the channels that are configured here."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels, deliver_now, log_to

    with event_database(load_settings()) as (settings, engine):
        keep = log_to(settings)

        def write(text: str) -> None:
            # Whoever delivers, the log has it: a terminal is closed.
            keep(text)
            say(text + "\n")

        done = deliver_now(engine, configured_channels(settings, write), budget_seconds=seconds)
    said = ", ".join(f"{count} {outcome}" for outcome, count in done.counts.items()) or "nothing was due"
    due = done.next_due_seconds
    say(f"{said}; {'the outbox is empty' if due is None else f'the next is due in {due:.0f} s'}")


@app.command("list")
def list_(
    *,
    all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List open incidents, the most severe first, and rules without an answer."""
    from smarttext_pipelines.alerting.incidents import review

    settings = load_settings()
    with event_transaction(settings) as connection:
        incidents, states = review.list_incidents(connection, all_=all_), review.rule_states(connection)
        total = sum(review.count_open(connection).values())
    if as_json:
        unknown = [state for state in states if state["verdict"] not in ("ok", "breach")]
        print_json({"incidents": incidents, "rules_without_an_answer": unknown})
        return
    if incidents:
        print_rows([_listed(row, settings.zone) for row in incidents])
        if total > len(incidents):
            say(f"these are the first {len(incidents):,} of {total:,} that are open")
        say(f"times are in {settings.reporting_timezone}")
    else:
        say("there was never an incident" if all_ else "no incident is open")
    for state in states:
        if state["verdict"] not in ("ok", "breach"):
            say(f"{state['rule']}: {state['verdict'].replace('_', ' ')} ({state['note']})")


def _listed(row: Mapping[str, Any], zone: ZoneInfo) -> dict[str, Any]:
    return {
        "incident": f"INC-{row['id']}",
        "state": f"{row['severity']} {row['state']}",
        "rule": row["rule"],
        "whom": _whom(row),
        "k of n": "" if row["part"] is None else f"{_amount(row['part'])} of {_amount(row['whole'])}",
        "since": f"{row['since'].astimezone(zone):%Y-%m-%d %H:%M}",
        "who has it": row["acknowledged_by"],
        "suppressed by": row["silenced_by"] or row["held_by"],
    }


@app.command()
def show(
    incident: Number,
    *,
    rows: Annotated[int, typer.Option("--rows", min=0, max=10_000, help="Rows to show.")] = _SHOWN_ROWS,
    as_json: JsonOption = False,
) -> None:
    """Show the last notice of an incident and the rows that its rule counted, with numbers of customers masked."""
    from smarttext_pipelines.alerting.incidents import review
    from smarttext_pipelines.alerting.incidents.counted_rows import counted_rows
    from smarttext_pipelines.alerting.measuring.now import Place
    from smarttext_pipelines.alerting.rules.rules_file import load_rules
    from smarttext_pipelines.explain.masked_span import masked_engine

    number, settings = incident_number(incident), load_settings()
    with event_transaction(settings) as connection:
        found = review.find_incident(connection, number)
        message = review.last_message(connection, number)
        counted = counted_rows(connection, number, load_rules(settings.alert_rules), Place.of(settings), masked_engine)
    if as_json:
        print_json({"incident": found, "notice": message, "rows": list(counted.rows), "said": counted.said})
        return
    _show(found, message, settings.zone)
    zoned = [{name: _zoned(value, settings.zone) for name, value in row.items()} for row in counted.rows]
    print_rows(zoned[:rows])
    if counted.said:
        say(counted.said)
    elif len(zoned) > rows:
        say(f"{len(zoned):,} rows were counted; --rows {len(zoned)} shows all of them")
    else:
        say(f"{len(zoned):,} row{' was' if len(zoned) == 1 else 's were'} counted")


def _show(found: Mapping[str, Any], message: Mapping[str, Any] | None, zone: ZoneInfo) -> None:
    from smarttext_pipelines.alerting.notify.markup import PLAIN
    from smarttext_pipelines.alerting.notify.message import Message, full_text

    if message:
        say(full_text(Message.from_json(message), PLAIN))
    began, ended = (at and f"{at.astimezone(zone):%Y-%m-%d %H:%M}" for at in (found["since"], found["resolved_at"]))
    since = f"at {ended} {zone.key} ({found['reason']}), began {began}" if ended else f"since {began} {zone.key}"
    scope = "" if found["scope"] == found["whom"] else f" ({found['scope']})"
    say(f"{found['state']} {since}, {_whom(found)}{scope}")


def _whom(row: Mapping[str, Any]) -> str:
    """Return the name of a business, or of a sender its number, which is the company's own."""
    return str(row["whom"]) if row["whom"].startswith("sender +") else shown_name(row["whom"])


def _zoned(value: Any, zone: ZoneInfo) -> Any:
    return value.astimezone(zone) if isinstance(value, datetime) and value.tzinfo else value


@app.command()
def runbook(incident: Number, *, as_json: JsonOption = False) -> None:
    """Print the runbook of an incident's rule."""
    from smarttext_pipelines.alerting.incidents import review
    from smarttext_pipelines.alerting.rules.rules_file import load_rules
    from smarttext_pipelines.alerting.rules.runbook_text import read_runbook

    settings = load_settings()
    with event_transaction(settings) as connection:
        found = review.find_incident(connection, incident_number(incident))
    told = read_runbook(load_rules(settings.alert_rules).get(found["rule"]), found["rule"])
    if as_json:
        print_json({"incident": found["id"], "rule": found["rule"], "runbook": told})
    else:
        say(told)


@app.command()
def why(incident: Number, *, as_json: JsonOption = False) -> None:
    """Say for every recipient what was sent or suppressed, and by what."""
    from smarttext_pipelines.alerting.incidents import review

    settings = load_settings()
    with event_transaction(settings) as connection:
        told = review.why(connection, incident_number(incident))
    if as_json:
        print_json({"incident": told.incident, "notices": told.notices})
        return
    found = told.incident
    say(f"INC-{found['id']} {found['rule']}, {_whom(found)}: {found['severity']}, {found['state']}")
    print_rows([{name: _zoned(value, settings.zone) for name, value in row.items()} for row in told.notices])
    if not told.notices:
        say("nobody was notified")
    if told.incident["held_by"]:
        say(f"suppressed now by: {told.incident['held_by']}")
    if told.incident["acknowledged_by"]:
        until = "it is over" if told.incident["severity"] == Severity.critical.name else "it becomes worse"
        say(f"acknowledged by {told.incident['acknowledged_by']}: not repeated until {until}")


@app.command()
def ack(incident: Number, *, by: ByOption = None) -> None:
    """Stop the repeats of an incident until it becomes worse."""
    from smarttext_pipelines.alerting.incidents import review

    name = person(by)
    with event_transaction(load_settings()) as connection:
        severity, before = review.acknowledge(connection, incident_number(incident), name)
    if before == name:
        say(f"INC-{incident_number(incident)} was acknowledged by {name} already")
        return
    instead = f" instead of {before}" if before else ""
    again = "when it is over" if severity == Severity.critical.name else f"above {severity}, and when it is over"
    say(f"INC-{incident_number(incident)} is acknowledged by {name}{instead}; the next notice comes {again}")


@app.command()
def resolve(incident: Number, *, by: ByOption = None) -> None:
    """Say that a failed run or check needs nothing more; the next evaluation ends its incident."""
    from smarttext_pipelines.alerting.incidents import review

    name = person(by)
    with event_transaction(load_settings()) as connection:
        is_new = review.mark_resolved(connection, incident_number(incident), name)
    number = f"INC-{incident_number(incident)}"
    say(
        f"{number} is marked as well by {name}; it ends with the next evaluation"
        if is_new
        else f"{number} is over already"
    )


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
