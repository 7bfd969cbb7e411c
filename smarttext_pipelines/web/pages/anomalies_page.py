"""``/anomalies`` and ``/anomalies/{number}``: what was unusual, what was to be expected, and what people said of it."""

from dataclasses import asdict

from sqlalchemy import Connection

from smarttext_pipelines.anomalies.around import days_around
from smarttext_pipelines.anomalies.episodes import SHOWN, episodes_between, find_episode, searched_day
from smarttext_pipelines.anomalies.in_words import Episode, sentence
from smarttext_pipelines.anomalies.series_kinds import SERIES_KINDS
from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.web.view import Ask, Column, Figure, Line, Page, Series, Table, View

_DAYS = 14


class AnomalyView(View):
    """An anomaly, and what may be said of it."""

    number: int


def view(connection: Connection, ask: Ask) -> View:
    """Return what was unusual in the last days."""
    days = ask.days(_DAYS)
    newest = searched_day(connection, days.last)
    found = episodes_between(connection, days)
    said = f"{counted(len(found), 'anomaly', 'anomalies')} from {days.first} to {days.last}"
    if newest is None or newest < days.first:
        said = f"No day from {days.first} to {days.last} was searched"
    return View(
        title="Anomalies",
        headline=said,
        as_of=ask.now,
        zone=ask.zone.key,
        note=f"The most unusual {SHOWN} are shown." if len(found) == SHOWN else "",
        figures=(Figure(name="searched", label="Searched up to", value=newest),),
        tables=(
            Table(
                name="anomalies",
                title="What was unusual",
                columns=(
                    Column(key="days", label="Days", link="link"),
                    Column(key="whom", label="Whom", link="whom_link"),
                    Column(key="what", label="What"),
                    Column(key="verdict", label="Verdict", none="–"),
                ),
                rows=tuple(_row(each) for each in found),
                empty="Nothing was unusual.",
            ),
        ),
    )


def _row(each: Episode) -> dict[str, str | None]:
    return {
        "days": str(DayRange(each.first_day, each.last_day)),
        "link": f"/anomalies/{each.id}",
        "whom": each.whom,
        "whom_link": f"/businesses/{each.business_id}" if each.business_id else "/businesses",
        "what": sentence(each),
        "verdict": each.verdict and f"{each.verdict} ({each.said_by})",
    }


def one(connection: Connection, ask: Ask) -> AnomalyView:
    """Return one anomaly; raise InputError when there is none of that number."""
    found = find_episode(connection, ask.number("number"))
    kind = SERIES_KINDS[found.metric]
    days = days_around(connection, found, ask.zone)
    return AnomalyView(
        title=f"Anomaly {found.id}",
        headline=f"{found.whom}: {sentence(found)}",
        tone="" if found.verdict else "look",
        as_of=ask.now,
        zone=ask.zone.key,
        number=found.id,
        figures=(
            Figure(name="days", label="Days", value=str(DayRange(found.first_day, found.last_day))),
            Figure(name="whom", label="Whom", value=found.whom,
                   link=f"/businesses/{found.business_id}" if found.business_id else "/businesses"),
            Figure(name="verdict", label="Verdict", value=found.verdict or "none yet",
                   note=f"by {found.said_by}" if found.said_by else ""),
        ),
        lines=(
            Line(text="What is compared with what: docs/anomalies.md."),
            Line(text="The same in a terminal.", command=f"smarttext anomalies explain {found.id}"),
        ),
        tables=(
            Table(
                name="days",
                title="The days around it",
                columns=(
                    Column(key="day", label="Day"),
                    Column(key="weekday", label="Weekday"),
                    Column(key="found", label=kind.words.capitalize() if not kind.verb else kind.verb.capitalize(),
                           unit="USD" if kind.is_money else ""),
                    Column(key="whole", label="Of", none="–"),
                    Column(key="remark", label="Remark", none="–"),
                ),
                rows=tuple(asdict(each) for each in days),
            ),
        ),
        series=(
            Series(
                name="found",
                title=kind.words if not kind.verb else f"{kind.words} {kind.verb}",
                unit="USD" if kind.is_money else "",
                days=tuple(d.day for d in days),
                lines={"found": tuple(d.found for d in days)},
            ),
        ),
    )  # fmt: skip


PAGE = Page("anomalies", "/anomalies", view, menu="Anomalies", topics=("rollup",))
ONE = Page("anomaly", "/anomalies/{number}", one)
