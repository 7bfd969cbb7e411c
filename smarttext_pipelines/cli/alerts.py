"""``smarttext alerts …``: what the sensor does, without it; and what people ask of incidents."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, Engine

from smarttext_pipelines.cli.options import parse_days, today
from smarttext_pipelines.core.days import day_end, day_start
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.rules import parse_duration
from smarttext_pipelines.launch.databases import databases
from smarttext_pipelines.settings import Settings, load_settings
from smarttext_pipelines.storage.connect import connected, open_engine
from smarttext_pipelines.storage.installation import require_installation

app = typer.Typer(help="Incidents and what is told of them.", no_args_is_help=True)
_console = Console(highlight=False, soft_wrap=True, markup=False)

Number = Annotated[str, typer.Argument(metavar="INCIDENT", help="Number of the incident, such as 214 or INC-214.")]
RulesOption = Annotated[Path | None, typer.Option("--rules", metavar="FILE", help="File of rules; default as set.")]


@contextmanager
def _engine() -> Iterator[tuple[Settings, Engine]]:
    with databases(load_settings()) as ready:
        engine = open_engine(ready.database_url.get_secret_value())  # type: ignore[union-attr]
        require_installation(engine, ready.zone)
        yield ready, engine


@contextmanager
def _reading() -> Iterator[Connection]:
    with _engine() as (_, engine), connected(engine) as connection, connection.begin():
        yield connection


def _number(text: str) -> int:
    digits = text.upper().removeprefix("INC-")
    if not digits.isdigit():
        msg = f"'{text}' is no incident; write its number, such as 214"
        raise InputError(msg)
    return int(digits)


@app.command()
def evaluate() -> None:
    """Evaluate all rules once and enqueue what is to be told; sends nothing."""
    from smarttext_pipelines.alerting.service import configured_channels, evaluate_now

    with _engine() as (settings, engine):
        notices = evaluate_now(engine, settings, configured_channels(settings), datetime.now(UTC))
    told = ", ".join(f"{count} {kind}" for kind, count in notices.items())
    _console.print(f"enqueued: {told}" if told else "nothing to tell")


@app.command()
def deliver(
    *, seconds: Annotated[float, typer.Option("--seconds", min=1, help="Claim nothing more after that.")] = 60
) -> None:
    """Send what is due in the outbox over the channels that are configured here."""
    from smarttext_pipelines.alerting.service import configured_channels, deliver_now

    with _engine() as (settings, engine):
        channels = configured_channels(settings, lambda text: _console.print(text + "\n"))
        done = deliver_now(engine, channels, budget_seconds=seconds)
    said = ", ".join(f"{count} {outcome}" for outcome, count in done.counts.items()) or "nothing was due"
    due = done.next_due_seconds
    _console.print(f"{said}; {'the outbox is empty' if due is None else f'the next is due in {due:.0f} s'}")


@app.command("list")
def list_(*, all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False) -> None:
    """List open incidents, and rules without an answer."""
    from smarttext_pipelines.alerting import review

    with _reading() as connection:
        incidents, states = review.list_incidents(connection, all_=all_), review.rule_states(connection)
    if incidents:
        table = Table("incident", "severity", "state", "rule", "whom", "k of n", "since", "held back by")
        for row in incidents:
            counted = "" if row["part"] is None else f"{row['part']:g} of {row['whole']:g}"
            since = f"{row['since']:%Y-%m-%d %H:%M}"
            shown = (row["severity"], row["state"], row["rule"], row["whom"], counted, since, row["held_by"] or "")
            table.add_row(f"INC-{row['id']}", *shown)
        _console.print(table)
    else:
        _console.print("no incident is open")
    for state in states:
        if state["verdict"] not in ("ok", "breach"):
            _console.print(f"{state['rule']}: {state['verdict'].replace('_', ' ')} ({state['note']})")


@app.command()
def show(
    incident: Number, *, rows: Annotated[int, typer.Option("--rows", min=0, help="Failed rows to show.")] = 20
) -> None:
    """Show the last notice of an incident and the rows behind it, with numbers masked."""
    from smarttext_pipelines.alerting import review
    from smarttext_pipelines.alerting.messages import Message, slack_text

    number = _number(incident)
    with _reading() as connection:
        found = review.find_incident(connection, number)
        message = review.last_message(connection, number)
        failed = review.failed_rows(connection, number, rows)
    if message:
        _console.print(slack_text(Message.from_json(message)))
    _console.print(f"{found['state']} since {found['since']:%Y-%m-%d %H:%M} UTC, {found['whom']}")
    _print_rows(failed)


@app.command()
def why(incident: Number) -> None:
    """Say for every recipient what was sent or held back, and by what."""
    from smarttext_pipelines.alerting import review

    with _reading() as connection:
        told = review.why(connection, _number(incident))
    _print_rows(told.notices)
    if not told.notices:
        _console.print("nobody was told")
    if told.incident["held_by"]:
        _console.print(f"held back now by: {told.incident['held_by']}")
    if told.incident["acknowledged_by"]:
        _console.print(f"acknowledged by {told.incident['acknowledged_by']}: not repeated until it becomes worse")


@app.command()
def ack(
    incident: Number, *, by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who acknowledges.")]
) -> None:
    """Stop the repeats of an incident until it becomes worse."""
    from smarttext_pipelines.alerting import review

    with _reading() as connection:
        severity = review.acknowledge(connection, _number(incident), by)
    _console.print(
        f"INC-{_number(incident)} is acknowledged by {by}; it is told again above {severity}, and when it is over"
    )


@app.command()
def silence(
    *,
    rule: Annotated[str | None, typer.Option("--rule", help="Rule to silence; default all.")] = None,
    scope: Annotated[str | None, typer.Option("--scope", help="Scope such as platform or business:<id>.")] = None,
    for_: Annotated[str, typer.Option("--for", metavar="30m|6h|2d", help="How long.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who silences.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
) -> None:
    """Hold notices back for a while; what still fires then is told at once."""
    from smarttext_pipelines.alerting import review

    length = parse_duration(for_)
    if not isinstance(length, timedelta) or not length:
        msg = f"'{for_}' is no duration; write it as 30m, 6h or 2d"
        raise InputError(msg)
    with _reading() as connection:
        number, end = review.silence(connection, rule=rule, scope=scope, author=by, reason=reason, length=length)
    _console.print(f"silence {number} until {end:%Y-%m-%d %H:%M} UTC")


@app.command()
def test(channel: Annotated[str, typer.Argument(help="log, slack, twilio_sms, webhook, pagerduty or email.")]) -> None:
    """Send a test message over a channel that is configured here, without the outbox."""
    from smarttext_pipelines.alerting.channels.base import Delivery, Sent
    from smarttext_pipelines.alerting.messages import Message
    from smarttext_pipelines.alerting.service import configured_channels

    settings = load_settings()
    found = {c.name: c for c in configured_channels(settings, lambda text: _console.print(text))}
    if channel not in found:
        msg = f"channel '{channel}' is not configured here; there is {', '.join(found)} (see docs/alerting.md)"
        raise InputError(msg)
    message = Message("test", 0, "test", "info", "Test", "this is what an alert looks like", runbook="docs/alerting.md")
    for recipient in found[channel].recipients:
        outcome = found[channel].send(Delivery("test", recipient, message, 1, datetime.now(UTC)))
        if not isinstance(outcome, Sent):
            msg = f"{channel} to {recipient}: {outcome}"
            raise InputError(msg)
        _console.print(f"{channel} to {recipient}: sent")


@app.command()
def validate(
    file: Annotated[Path | None, typer.Argument(help="File of rules; default is SMARTTEXT_ALERT_RULES.")] = None,
) -> None:
    """Explain every mistake in a file of rules, with its line."""
    from smarttext_pipelines.alerting.rules_file import RulesError, load_rules

    path = file or load_settings().alert_rules
    try:
        rules = load_rules(path)
    except RulesError as error:
        for mistake in error.mistakes:
            Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"{path}: {mistake}")
        raise typer.Exit(2) from None
    _console.print(f"{path or 'alert_rules.yaml (shipped)'}: {len(rules)} rules, no mistake")


@app.command()
def backtest(
    *,
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day.")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day.")],
    rules: RulesOption = None,
    every: Annotated[str, typer.Option("--every", metavar="15m", help="Time between evaluations.")] = "15m",
) -> None:
    """Replay rules over history and say how many notices each would have sent, and to whom; changes nothing."""
    from smarttext_pipelines.alerting.backtest import backtest as replay
    from smarttext_pipelines.alerting.rules_file import load_rules
    from smarttext_pipelines.alerting.service import configured_channels
    from smarttext_pipelines.alerting.signals import Place

    step = parse_duration(every)
    if not isinstance(step, timedelta) or not step:
        msg = f"'{every}' is no duration; write it as 15m or 1h"
        raise InputError(msg)
    with _engine() as (settings, engine):
        days = parse_days(settings, None, first, last, default=today(settings), partitions_only=False)
        known = load_rules(rules or settings.alert_rules)
        place = Place.of(settings)
        targets = [(c.name, r) for c in configured_channels(settings) for r in c.recipients]
        start, end = day_start(days.first, settings.zone), min(day_end(days.last, settings.zone), datetime.now(UTC))
        with _console.status(f"replaying {days}") as status:
            done = replay(
                engine, known, place, start=start, end=end, step=step, targets=targets,
                progress=lambda at: status.update(f"replaying {at:%Y-%m-%d %H:%M}"),
            )  # fmt: skip
        names = _names(engine)
    heads = ("rule", "began", "worse", "repeated", "over", "held back", "to whom", "about")
    table = Table(*heads, title=f"{days}: {done.total} notices in {done.evaluations} evaluations")
    for name in known:
        counts = [done.notices[name, kind] for kind in ("firing", "worse", "repeat", "resolved")]
        if any(counts) or done.held[name]:
            whom = ", ".join(f"{channel} {n}" for channel, n in done.recipients.get(name, Counter()).most_common())
            about = ", ".join(f"{names.get(s, s)} {n}" for s, n in done.scopes.get(name, Counter()).most_common(5))
            table.add_row(name, *map(str, counts), str(done.held[name]), whom, about)
    _console.print(table)


def _names(engine: Engine) -> dict[str, str]:
    with connected(engine) as connection:
        return {
            f"business:{id_}": name
            for id_, name in connection.exec_driver_sql("SELECT id, name FROM public.businesses")
        }


def _print_rows(rows: Any) -> None:
    if not rows:
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    _console.print(table)


def _cell(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else "" if value is None else str(value)
