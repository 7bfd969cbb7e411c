"""``/digest``: the morning digest of a day."""

import re
from datetime import timedelta

from sqlalchemy import Connection

from smarttext_pipelines.digest.enqueue import build_digest
from smarttext_pipelines.digest.thing_to_tell import Urgency
from smarttext_pipelines.web.view import Ask, Line, Page, View

_INCIDENT = re.compile(r"smarttext alerts show (\d+)")
_ANOMALY = re.compile(r"smarttext anomalies explain (\d+)")
_TONES = {
    "well": "good",
    "well so far": "good",
    "bad": "bad",
    "bad so far": "bad",
    "look": "look",
    "quiet": "look",
    "quiet so far": "look",
}


def view(connection: Connection, ask: Ask) -> View:
    """Return the digest of a day; default is yesterday."""
    day = ask.day(ask.today - timedelta(days=1))
    found = build_digest(connection, ask.settings, day, now=ask.now)
    links = [Line(text=f"{day - timedelta(days=1)}", link=f"/digest?date={day - timedelta(days=1)}")]
    if day < ask.today:
        links.append(Line(text=f"{day + timedelta(days=1)}", link=f"/digest?date={day + timedelta(days=1)}"))
    return View(
        title=f"Digest of {day}",
        headline=found.headline,
        tone=_TONES.get(found.state, ""),
        as_of=ask.now,
        zone=ask.zone.key,
        links=tuple(links),
        lines=tuple(
            Line(
                text=line.text,
                command=line.command,
                link=_link(line.command),
                tone={Urgency.bad: "bad", Urgency.look: "look"}.get(line.urgency, ""),
            )
            for line in found.lines
        ),
    )


def _link(command: str) -> str:
    """Return the page that shows what a command shows; empty where none does."""
    if found := _INCIDENT.fullmatch(command):
        return f"/incidents/{found[1]}"
    if found := _ANOMALY.fullmatch(command):
        return f"/anomalies/{found[1]}"
    pages = {"smarttext alerts list": "/incidents", "smarttext anomalies list": "/anomalies"}
    return next((page for begin, page in pages.items() if command.startswith(begin)), "")


PAGE = Page("digest", "/digest", view, menu="Digest", topics=("rollup",))
