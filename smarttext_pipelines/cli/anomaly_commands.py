"""``smarttext anomalies``: what was unusual, and what people say of it."""

from dataclasses import asdict
from datetime import date, timedelta
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy import Connection

from smarttext_pipelines.anomalies import episodes
from smarttext_pipelines.anomalies.in_words import Episode, sentence
from smarttext_pipelines.cli.incident_options import ByOption, person
from smarttext_pipelines.cli.options import (
    NOT_COMPUTED,
    BusinessOption,
    DateOption,
    JsonOption,
    find_business,
    is_number,
    parse_day,
    require_text,
    today,
)
from smarttext_pipelines.cli.printing import print_json, print_rows, say
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.launch.databases import event_transaction
from smarttext_pipelines.settings import load_settings

app = typer.Typer(help="Show what was unusual, and say what it was.", no_args_is_help=True)
_RECENT_DAYS = 14
Anomaly = Annotated[str, typer.Argument(metavar="ID", help="Number of the anomaly, as `list` has it.")]


def _number(text: str) -> int:
    if not is_number(text):
        msg = f"'{text}' is no anomaly; write its number, see `smarttext anomalies list`"
        raise InputError(msg)
    return int(text)


@app.command("list")
def list_(*, day: DateOption = None, business: BusinessOption = None, as_json: JsonOption = False) -> None:
    """List what was unusual on a day; default is the last two weeks. Exit code 3: the day was not searched."""
    settings = load_settings()
    wanted = parse_day(day) if day else None
    require_text(("--business", business))
    with event_transaction(settings) as connection:
        chosen = find_business(connection, business) if business else None
        newest = episodes.searched_day(connection, wanted or today(settings))
        found = _find(connection, wanted, today(settings), chosen)
    if as_json:
        print_json([{**asdict(each), "text": sentence(each)} for each in found])
    else:
        print_rows([_row(each) for each in found])
    if newest is None or newest != (wanted or newest):
        say(f"{wanted or 'no day'} was not searched; run `smarttext rollup --date {wanted or 'DAY'}`", stderr=True)
        raise typer.Exit(NOT_COMPUTED)
    if not found and not as_json:
        say(f"nothing was unusual {f'on {wanted}' if wanted else 'in the last two weeks'}")


def _find(connection: Connection, wanted: date | None, last: date, business: UUID | None) -> list[Episode]:
    if wanted is None:
        return episodes.episodes_between(connection, DayRange(last - timedelta(days=_RECENT_DAYS), last), business)
    return episodes.episodes_of(connection, wanted, business)


def _row(each: Episode) -> dict[str, object]:
    return {
        "id": each.id,
        "whom": each.whom,
        "what": sentence(each),
        "days": str(DayRange(each.first_day, each.last_day)),
        "verdict": each.verdict and f"{each.verdict} ({each.said_by})",
    }


@app.command("explain")
def explain(number: Anomaly, *, as_json: JsonOption = False) -> None:
    """Show an anomaly with what was to be expected, and the days around it."""
    from smarttext_pipelines.anomalies.around import days_around

    settings = load_settings()
    with event_transaction(settings) as connection:
        found = episodes.find_episode(connection, _number(number))
        days = days_around(connection, found, settings.zone)
    if as_json:
        print_json({**asdict(found), "text": sentence(found), "days": [asdict(each) for each in days]})
        return
    span = DayRange(found.first_day, found.last_day)
    said = f"; called {found.verdict} by {found.said_by}" if found.verdict else ""
    say(f"{found.whom}, {span}: {sentence(found)}{said}")
    print_rows([{name: value for name, value in asdict(each).items()} for each in days])
    if found.business_id:
        say(f"More: smarttext stats --business {found.business_id} --from {days[0].day} --to {days[-1].day}")


@app.command("verdict")
def verdict(
    number: Anomaly,
    said: Annotated[str, typer.Argument(metavar="VERDICT", help="right, wrong or expected.")],
    *,
    by: ByOption = None,
) -> None:
    """Say what an anomaly was; after wrong or expected the series must be ten times as unusual to be told again."""
    with event_transaction(load_settings()) as connection:
        found = episodes.say_verdict(connection, _number(number), said, person(by))
    say(f"anomaly {found.id} is called {found.verdict} by {found.said_by}")


@app.command("mark")
def mark(
    *,
    business: BusinessOption = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="All businesses instead of one.")] = False,
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day.")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day.")],
    reason: Annotated[str, typer.Option("--reason", help="Why these days differ.")],
    by: ByOption = None,
) -> None:
    """Explain days: nothing is learnt from them, and nothing of them is told."""
    from smarttext_pipelines.anomalies.anomaly_store import search_days

    require_text(("--business", business), ("--reason", reason))
    if (business is None) != everybody:
        msg = "say either --business or --everybody"
        raise InputError(msg)
    settings = load_settings()
    days = DayRange(parse_day(first), parse_day(last))
    with event_transaction(settings) as connection:
        chosen = find_business(connection, business) if business else None
        number = episodes.mark_days(connection, chosen, days.first, days.last, reason, person(by))
        newest = episodes.searched_day(connection, date.max)
        if newest is not None and newest >= days.first:
            # A window of seven days looks back at an explained day.
            again = DayRange(days.first, min(days.last + timedelta(days=6), newest))
            search_days(connection, again, settings.zone, settings.anomaly_min_usd)
    say(f"mark {number}: {counted(len(days), 'day')} explained")


@app.command("marks")
def marks(*, as_json: JsonOption = False) -> None:
    """List the days that were explained."""
    with event_transaction(load_settings()) as connection:
        found = [{**row, "business": shown_name(row["business"])} for row in episodes.list_marks(connection)]
    if as_json:
        print_json(found)
    else:
        print_rows(found)
        if not found:
            say("no day is marked")


@app.command("backtest")
def backtest(
    *,
    days: Annotated[int, typer.Option("--days", min=60, max=730, help="Days of the past to plant faults into.")] = 196,
    seed: Annotated[int, typer.Option("--seed", help="Other faults for another number.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Plant faults into the past, and print how many are found and how often nothing was wrong. Nothing is written."""
    from smarttext_pipelines.anomalies.replay import replay
    from smarttext_pipelines.anomalies.series_reader import read_series

    settings = load_settings()
    last = today(settings) - timedelta(days=1)
    with event_transaction(settings) as connection:
        series = read_series(connection, DayRange(last - timedelta(days=days - 1), last), settings.zone)
    found = replay(series, seed=seed)
    if as_json:
        print_json(found.as_json())
        return
    print_rows(found.found_rows(), title="Planted faults that were found, by events of the business a day")
    print_rows(found.false_rows(), title="Told without a planted fault, a series and year")
