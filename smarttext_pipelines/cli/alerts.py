"""``smarttext alerts …``: what the sensor does, without it; and what people ask of incidents."""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection, Engine

from smarttext_pipelines.cli.options import parse_days, today
from smarttext_pipelines.core.days import day_end, day_start
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.incidents import Severity
from smarttext_pipelines.core.rules import parse_duration
from smarttext_pipelines.core.words import counted
from smarttext_pipelines.launch.databases import databases
from smarttext_pipelines.settings import Settings, load_settings
from smarttext_pipelines.storage.connect import connected, open_engine
from smarttext_pipelines.storage.installation import require_installation

app = typer.Typer(help="Incidents and what is told of them.", no_args_is_help=True)
_console = Console(highlight=False, soft_wrap=True, markup=False)

LONGEST_NUMBER = 18
LONGEST_WORD = 36
"""Characters of a word in a table that are never broken: a name of a rule, the id of a business."""
WIDTH_OF_A_FILE = 1000
"""A file or a pipe has no width to keep to; a table takes what it needs."""

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
    if not _is_number(digits):
        msg = f"'{text}' is no incident; write its number, such as 214"
        raise InputError(msg)
    return int(digits)


def _is_number(text: str) -> bool:
    """Tell whether it is a number that a row of the database can have."""
    return text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER


def _require_text(*options: tuple[str, str | None]) -> None:
    for name, value in options:
        if value is not None and not value.strip():
            msg = f"{name} is empty; give a value"
            raise InputError(msg)


def _duration(option: str, text: str, example: str) -> timedelta:
    try:
        length = parse_duration(text)
    except ValueError as error:
        msg = f"{option} '{text}': {error}"
        raise InputError(msg) from None
    if not isinstance(length, timedelta) or not length:
        msg = f"{option} '{text}' is no duration; write it as {example}"
        raise InputError(msg)
    return length


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
        _print_rows(
            [
                {
                    "incident": f"INC-{row['id']}",
                    "state": f"{row['severity']} {row['state']}",
                    "rule": row["rule"],
                    "whom": row["whom"],
                    "k of n": "" if row["part"] is None else f"{_amount(row['part'])} of {_amount(row['whole'])}",
                    "since": f"{row['since']:%Y-%m-%d %H:%M}",
                    "held back by": row["held_by"],
                }
                for row in incidents
            ]
        )
    else:
        _console.print("there was never an incident" if all_ else "no incident is open")
    for state in states:
        if state["verdict"] not in ("ok", "breach"):
            _console.print(f"{state['rule']}: {state['verdict'].replace('_', ' ')} ({state['note']})")


@app.command()
def show(
    incident: Number,
    *,
    rows: Annotated[int, typer.Option("--rows", min=0, max=10_000, help="Failed rows to show.")] = 20,
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
    since = f"since {found['since']:%Y-%m-%d %H:%M} UTC"
    if found["resolved_at"]:
        since = f"at {found['resolved_at']:%Y-%m-%d %H:%M} UTC, began {found['since']:%Y-%m-%d %H:%M} UTC"
    scope = "" if found["scope"] == found["whom"] else f" ({found['scope']})"
    _console.print(f"{found['state']} {since}, {found['whom']}{scope}")
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
        until = "it is over" if told.incident["severity"] == Severity.critical.name else "it becomes worse"
        _console.print(f"acknowledged by {told.incident['acknowledged_by']}: not repeated until {until}")


@app.command()
def ack(
    incident: Number, *, by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who acknowledges.")]
) -> None:
    """Stop the repeats of an incident until it becomes worse."""
    from smarttext_pipelines.alerting import review

    _require_text(("--by", by))
    with _reading() as connection:
        severity, before = review.acknowledge(connection, _number(incident), by)
    instead = f" instead of {before}" if before not in (None, by) else ""
    again = "when it is over" if severity == Severity.critical.name else f"above {severity}, and when it is over"
    _console.print(f"INC-{_number(incident)} is acknowledged by {by}{instead}; it is told again {again}")


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
    from smarttext_pipelines.alerting.rules_file import load_rules

    _require_text(("--rule", rule), ("--scope", scope), ("--by", by), ("--reason", reason))
    length = _duration("--for", for_, "30m, 6h or 2d")
    known = load_rules(load_settings().alert_rules)
    if rule is not None and rule not in known:
        msg = f"there is no rule '{rule}'; there are {', '.join(known)}"
        raise InputError(msg)
    with _reading() as connection:
        number, end = review.silence(connection, rule=rule, scope=scope, author=by, reason=reason, length=length)
    _console.print(f"silence {number} until {end:%Y-%m-%d %H:%M} UTC; `smarttext alerts unsilence {number}` ends it")


@app.command("silences")
def silences(*, all_: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False) -> None:
    """List silences."""
    from smarttext_pipelines.alerting import review

    with _reading() as connection:
        found = review.silences(connection, all_=all_)
    _print_rows(found)
    if not found:
        _console.print("nothing is silenced")


@app.command()
def unsilence(
    number: Annotated[str, typer.Argument(metavar="SILENCE", help="Number of the silence, as `silences` has it.")],
) -> None:
    """End a silence; what still fires is told by the next evaluation."""
    from smarttext_pipelines.alerting import review

    if not _is_number(number):
        msg = f"'{number}' is no silence; write its number, see `smarttext alerts silences`"
        raise InputError(msg)
    with _reading() as connection:
        review.end_silence(connection, int(number))
    _console.print(f"silence {int(number)} is over; what still fires is told by the next evaluation")


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
        rules = load_rules(path, source="" if file else "SMARTTEXT_ALERT_RULES")
    except RulesError as error:
        for mistake in error.mistakes:
            Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"{path}: {mistake}")
        raise typer.Exit(2) from None
    _console.print(f"{path or 'alert_rules.yaml (shipped)'}: {counted(len(rules), 'rule')}, no mistake")


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

    step = _duration("--every", every, "15m or 1h")
    with _engine() as (settings, engine):
        days = parse_days(settings, None, first, last, default=today(settings), partitions_only=False)
        known = load_rules(rules or settings.alert_rules, source="" if rules else "SMARTTEXT_ALERT_RULES")
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
    title = f"{days}: {counted(done.total, 'notice')} in {counted(done.evaluations, 'evaluation')}"
    table = Table(*heads, title=title)
    for name in known:
        counts = [done.notices[name, kind] for kind in ("firing", "worse", "repeat", "resolved")]
        if any(counts) or done.held[name]:
            whom = ", ".join(f"{channel} {n}" for channel, n in done.recipients.get(name, Counter()).most_common())
            about = ", ".join(f"{names.get(s, s)} {n}" for s, n in done.scopes.get(name, Counter()).most_common(5))
            table.add_row(name, *map(str, counts), str(done.held[name]), whom, about)
    if table.row_count:
        _print_table(table)
    else:
        _console.print(title)


def _names(engine: Engine) -> dict[str, str]:
    with connected(engine) as connection:
        return {
            f"business:{id_}": name
            for id_, name in connection.exec_driver_sql("SELECT id, name FROM public.businesses")
        }


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a table; a column in which nothing stands is left out, and no word of a cell is broken."""
    cells = [{name: _cell(value) for name, value in row.items()} for row in rows]
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    names = [name for name in (cells[0] if cells else ()) if any(row[name] for row in cells)]
    for name in names:
        words = (len(word) for row in cells for word in row[name].split())
        table.add_column(name, min_width=min(max(words), LONGEST_WORD), overflow="fold")
    for row in cells:
        table.add_row(*(row[name] for name in names))
    if names:
        _print_table(table)


def _print_table(table: Table) -> None:
    width = None if sys.stdout.isatty() else WIDTH_OF_A_FILE
    Console(highlight=False, soft_wrap=True, markup=False, width=width).print(table)


def _amount(value: Decimal | float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def _cell(value: object) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else "" if value is None else str(value)
