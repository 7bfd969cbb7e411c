"""``smarttext explain``: from a number to its rows."""

import gc
import getpass
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from sqlalchemy import Connection

from smarttext_pipelines.cli.options import (
    BusinessOption,
    DateOption,
    JsonOption,
    UnattributedOption,
    end_not_computed,
    find_business,
    parse_days,
    today,
)
from smarttext_pipelines.cli.printing import CELL_LENGTH, print_json, print_rows, say
from smarttext_pipelines.cli.reconcile_command import MonthOption, print_month
from smarttext_pipelines.core.display import cut, visible
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from smarttext_pipelines.explain import Reading

MAX_SHOWN = 200
_SID = re.compile(r"(?:CA|SM|MM)[0-9A-Za-z]+")
_INCIDENT = re.compile(r"(?i)INC-\d+")


@dataclass(frozen=True)
class _Asked:
    """What the command line says."""

    what: str
    sid: str | None
    business: str | None
    unattributed: bool
    all_: bool
    audience: str | None
    day: str | None


@dataclass(frozen=True)
class _Told:
    """What is printed: tables, each with a title, and sentences."""

    tables: list[tuple[str, list[dict[str, Any]]]]
    sentences: list[str]


def explain(
    what: Annotated[
        str | None,
        typer.Argument(help="A column of stats, a CA… or SM… sid, a telephone number, INC-N, customer or messages."),
    ] = None,
    sid: Annotated[
        str | None, typer.Argument(help="Sid, after `call` or `message`; after `customer` a key or a number.")
    ] = None,
    *,
    phone: Annotated[str | None, typer.Option("--phone", help="Telephone number of a caller: the whole story.")] = None,
    business: BusinessOption = None,
    unattributed: UnattributedOption = False,
    all_: Annotated[bool, typer.Option("--all", help="Every business.")] = False,
    audience: Annotated[
        str | None, typer.Option("--audience", metavar="customer|owner", help="Texts to callers, or to owners.")
    ] = None,
    day: DateOption = None,
    month: MonthOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="With `messages`: print CSV, one line a message.")] = False,
    incident: Annotated[str | None, typer.Option("--incident", help="Number of an incident.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, max=10_000, help="Rows of an incident to show.")] = 50,
    reveal: Annotated[bool, typer.Option("--reveal", help="Show numbers in full; who asked is recorded.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who asks; default is your user name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the rows behind a number, a call, a message, a caller, a customer or an incident; numbers are masked.

    A column needs --business, --unattributed or --all; --date is yesterday by default. In what a telephone number or a
    sid shows, --date is not needed; of a customer it shows 30 days. Exit code 3: a day of these was not rolled up.
    """
    asked = what if phone is None else phone
    if incident or (asked and _INCIDENT.fullmatch(asked)):
        from smarttext_pipelines.cli import alert_commands

        alert_commands.show(incident or str(asked), rows=rows, as_json=as_json)
        return
    if not asked or (what and phone):
        msg = "say what to explain: a column with --business and --date, a CA… or SM… sid, a number, or INC-214"
        raise InputError(msg)
    if asked == "messages":
        print_month(month, business, all_=all_, unattributed=unattributed, as_csv=as_csv, as_json=as_json)
        return
    if asked == "customer":
        from smarttext_pipelines.cli.explain_customer import explain_customer

        end_not_computed(explain_customer(load_settings(), sid, business=business, day=day, as_json=as_json))
        return
    _require(phone, audience)
    settings = load_settings()
    # A process that answers once and ends: looking for cycles among expressions takes a fifth of its time.
    gc.disable()
    with event_database(settings) as (_, engine), connected(engine) as connection:
        if reveal:
            _record_reveal(connection, asked, by)
        told = _explained(
            connection, settings, _Asked(asked, sid, business, unattributed, all_, audience, day), reveals=reveal
        )
    _print(told, as_json=as_json)


def _require(phone: str | None, audience: str | None) -> None:
    if audience not in (None, "customer", "owner"):
        msg = f"'{audience}' is no audience; write customer or owner"
        raise InputError(msg)
    if phone is not None:
        from smarttext_pipelines.explain.story import spellings

        spellings(phone)


def _print(told: _Told, *, as_json: bool) -> None:
    if as_json:
        print_json({"rows": [row for _, rows in told.tables for row in rows], "sentences": told.sentences})
        return
    for title, rows in told.tables:
        print_rows(rows, title=title)
    for sentence in told.sentences:
        say(cut(sentence, CELL_LENGTH))


def _record_reveal(connection: Connection, what: str, by: str | None) -> None:
    from smarttext_pipelines.explain import is_number as is_phone
    from smarttext_pipelines.explain.reveals import record

    author = by or getpass.getuser()
    record(connection, author, "a telephone number" if is_phone(what) else visible(what)[:100])


def _reading(settings: Settings, *, reveals: bool) -> "Reading":
    from smarttext_pipelines.explain import Reading

    shared = [number.get_secret_value() for number in settings.shared_senders]
    return Reading(settings.zone, settings.settle_days, datetime.now(UTC), settings.reply_minutes, shared, reveals)


def _explained(connection: Connection, settings: Settings, asked: _Asked, *, reveals: bool) -> _Told:
    from smarttext_pipelines.explain import explain_call, explain_message, tell_story
    from smarttext_pipelines.explain import is_number as is_phone

    reading = _reading(settings, reveals=reveals)
    kind, sid = _kind(asked)
    if kind == "message":
        found = explain_message(connection, sid, reading)
        return _Told([("", found.rows)], found.sentences)
    if kind == "call":
        found = explain_call(connection, sid, reading)
        tried = [(f"texts that were tried ({len(found.texts)}):", found.texts)] if found.texts else []
        none = [] if found.texts or "not missed" in found.sentences[0] else ["No text to the caller was tried."]
        return _Told([("", found.rows), *tried], [*found.sentences, *none])
    if is_phone(asked.what):
        day = _day(settings, asked.day) if asked.day else None
        rows = tell_story(connection, asked.what, reading, day)
        when = f" on {day}" if day else ""
        return _Told(
            [(f"{visible(asked.what)}{when}", rows)], [f"{counted(len(rows), 'call or text', 'calls and texts')}"]
        )
    return _column(connection, settings, asked, reading)


def _kind(asked: _Asked) -> tuple[str, str]:
    """Return ``call`` or ``message`` and the sid; empty where neither is asked for."""
    if asked.what in ("call", "message"):
        if not asked.sid:
            msg = f"give the sid: `smarttext explain {'CA…' if asked.what == 'call' else 'SM…'}`"
            raise InputError(msg)
        return asked.what, asked.sid
    if _SID.fullmatch(asked.what):
        return ("call" if asked.what.startswith("CA") else "message"), asked.what
    return "", ""


def _day(settings: Settings, given: str | None) -> date:
    yesterday = today(settings) - timedelta(days=1)
    return parse_days(settings, given, None, None, default=yesterday, partitions_only=False).first


def _column(connection: Connection, settings: Settings, asked: _Asked, reading: "Reading") -> _Told:
    from smarttext_pipelines.explain.column import Scope, explain_scope, window_of

    if sum((asked.business is not None, asked.unattributed, asked.all_)) != 1:
        msg = f"say whose {asked.what}: --business B, --all, or --unattributed for what names none"
        raise InputError(msg)
    day = _day(settings, asked.day)
    window = window_of(day, settings.zone, settings.settle_days, reading.now, settings.reply_minutes)
    chosen = None if asked.business is None else find_business(connection, asked.business)
    scope = Scope(chosen, asked.all_, asked.audience, reading.shared_senders, reading.reveals)
    rows = explain_scope(connection, asked.what, scope, window)
    shown = "" if len(rows) <= MAX_SHOWN else f", the first {MAX_SHOWN} are shown"
    total = f"{counted(len(rows), 'row')} of {asked.what} on {day}{shown}"
    return _Told([("", rows[:MAX_SHOWN])], [total])
