"""``smarttext alerts metrics | validate | backtest``: what rules can watch, and files of rules."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from sqlalchemy import Engine

from smarttext_pipelines.cli.incident_options import parse_length
from smarttext_pipelines.cli.options import JsonOption, parse_days, today
from smarttext_pipelines.cli.printing import print_json, print_rows, say, telling
from smarttext_pipelines.core.days import day_end, day_start
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import load_settings

if TYPE_CHECKING:
    from smarttext_pipelines.alerting.incidents.backtest import Backtest

RulesOption = Annotated[Path | None, typer.Option("--rules", metavar="FILE", help="File of rules; default as set.")]


def metrics(*, as_json: JsonOption = False) -> None:
    """List what rules can watch."""
    from smarttext_pipelines.alerting.metrics import ALERT_METRICS

    days = timedelta(days=1)
    rows = [
        {
            "metric": metric.name,
            "unit": metric.unit,
            "scopes": ", ".join(metric.scopes),
            "windows": "the reporting day"
            if metric.shortest == days
            else f"5m to {'days' if metric.longest > days else '6h'}",
            "counts": metric.counts,
        }
        for metric in ALERT_METRICS.values()
    ]
    if as_json:
        print_json([{**row, "scopes": list(metric.scopes)}
                    for row, metric in zip(rows, ALERT_METRICS.values(), strict=True)])  # fmt: skip
    else:
        print_rows(rows)


def validate(
    file: Annotated[Path | None, typer.Argument(help="File of rules; default is SMARTTEXT_ALERT_RULES.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Explain every mistake in a file of rules, with its line."""
    from smarttext_pipelines.alerting.rules.rules_file import RulesError, load_rules

    path = file or load_settings().alert_rules
    name = str(path or "alert_rules.yaml (shipped)")
    try:
        rules = load_rules(path, source="" if file else "SMARTTEXT_ALERT_RULES")
    except RulesError as error:
        if as_json:
            print_json({"file": name, "rules": None, "mistakes": list(error.mistakes)})
        for mistake in () if as_json else error.mistakes:
            say(f"{path}: {mistake}", stderr=True)
        raise typer.Exit(2) from None
    if as_json:
        print_json({"file": name, "rules": list(rules), "mistakes": []})
    else:
        say(f"{name}: {counted(len(rules), 'rule')}, no mistake")


def backtest(
    *,
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day.")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day.")],
    rules: RulesOption = None,
    every: Annotated[str, typer.Option("--every", metavar="15m", help="Time between evaluations.")] = "15m",
    as_json: JsonOption = False,
) -> None:
    """Replay rules over history and say how many notices each would have sent, and to whom; changes nothing."""
    from smarttext_pipelines.alerting.evaluation_service import configured_channels
    from smarttext_pipelines.alerting.incidents.backtest import backtest as replay
    from smarttext_pipelines.alerting.measuring.now import Place
    from smarttext_pipelines.alerting.rules.rules_file import load_rules

    step = parse_length("--every", every, "15m or 1h")
    with event_database(load_settings()) as (settings, engine):
        days = parse_days(settings, None, first, last, default=today(settings), partitions_only=False)
        known = load_rules(rules or settings.alert_rules, source="" if rules else "SMARTTEXT_ALERT_RULES")
        place = Place.of(settings)
        targets = [(c.name, r) for c in configured_channels(settings) for r in c.recipients]
        start, end = day_start(days.first, settings.zone), min(day_end(days.last, settings.zone), datetime.now(UTC))
        progress = Console(highlight=False, stderr=True)
        with telling(f"replaying {days}"), progress.status(f"replaying {days}") as status:
            done = replay(
                engine, known, place, start=start, end=end, step=step, targets=targets,
                progress=lambda at: status.update(f"replaying {at:%Y-%m-%d %H:%M}"),
            )  # fmt: skip
        names = _names(engine)
    if as_json:
        print_json(_as_json(done))
        return
    title = f"{days}: {counted(done.total, 'notice')} in {counted(done.evaluations, 'evaluation')}"
    rows = [_row(done, name, names) for name in known if name in done.rules]
    if rows:
        print_rows(rows, title=title, right=(*_KINDS.values(), "suppressed"))
    else:
        say(title)


_KINDS = {"firing": "began", "worse": "worse", "repeat": "repeated", "resolved": "over"}
"""Kinds of notices, and what a column of them is called."""

_NAMED = 5


def _row(done: "Backtest", rule: str, names: Mapping[str, str]) -> dict[str, str]:
    scopes = done.scopes.get(rule, Counter())
    more = len(scopes) - _NAMED
    about = [f"{shown_name(names.get(scope, scope))} {count}" for scope, count in scopes.most_common(_NAMED)]
    return {
        "rule": rule,
        **{name: f"{done.notices[rule, kind]:,}" for kind, name in _KINDS.items()},
        "suppressed": f"{done.held[rule]:,}",
        "to whom": ", ".join(f"{channel} {n}" for channel, n in done.recipients.get(rule, Counter()).most_common()),
        "about": ", ".join([*about, *([f"and {more} more"] if more > 0 else [])]),
    }


def _as_json(done: "Backtest") -> dict[str, object]:
    return {
        "evaluations": done.evaluations,
        "notices": done.total,
        "rules": [
            {
                "rule": rule,
                **{name: done.notices[rule, kind] for kind, name in _KINDS.items()},
                "suppressed": done.held[rule],
                "to_whom": done.recipients.get(rule, {}),
                "scopes": done.scopes.get(rule, {}),
            }
            for rule in sorted(done.rules)
        ],
    }


def _names(engine: Engine) -> dict[str, str]:
    with connected(engine) as connection:
        return {
            f"business:{id_}": shown_name(name)
            for id_, name in connection.exec_driver_sql("SELECT id, name FROM monitoring.businesses")
        }
