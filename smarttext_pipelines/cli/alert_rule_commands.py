"""``smarttext alerts metrics | validate | backtest``: what rules can watch, and files of rules."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine

from smarttext_pipelines.cli.options import parse_days, parse_length, today
from smarttext_pipelines.cli.printing import say, table_console
from smarttext_pipelines.core.days import day_end, day_start
from smarttext_pipelines.core.display import shown_name
from smarttext_pipelines.core.wording import counted
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import load_settings

RulesOption = Annotated[Path | None, typer.Option("--rules", metavar="FILE", help="File of rules; default as set.")]


def metrics() -> None:
    """List what rules can watch."""
    from smarttext_pipelines.alerting.metrics import ALERT_METRICS

    table = Table("metric", "unit", "scopes", "windows", "counts")
    for metric in ALERT_METRICS.values():
        days = timedelta(days=1)
        longest = "days" if metric.longest > days else "6h"
        windows = "the reporting day" if metric.shortest == days else f"5m to {longest}"
        table.add_row(metric.name, metric.unit, ", ".join(metric.scopes), windows, metric.counts)
    table_console().print(table)


def validate(
    file: Annotated[Path | None, typer.Argument(help="File of rules; default is SMARTTEXT_ALERT_RULES.")] = None,
) -> None:
    """Explain every mistake in a file of rules, with its line."""
    from smarttext_pipelines.alerting.rules.rules_file import RulesError, load_rules

    path = file or load_settings().alert_rules
    try:
        rules = load_rules(path, source="" if file else "SMARTTEXT_ALERT_RULES")
    except RulesError as error:
        for mistake in error.mistakes:
            say(f"{path}: {mistake}", stderr=True)
        raise typer.Exit(2) from None
    say(f"{path or 'alert_rules.yaml (shipped)'}: {counted(len(rules), 'rule')}, no mistake")


def backtest(
    *,
    first: Annotated[str, typer.Option("--from", metavar="YYYY-MM-DD", help="First day.")],
    last: Annotated[str, typer.Option("--to", metavar="YYYY-MM-DD", help="Last day.")],
    rules: RulesOption = None,
    every: Annotated[str, typer.Option("--every", metavar="15m", help="Time between evaluations.")] = "15m",
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
        with Console(highlight=False).status(f"replaying {days}") as status:
            done = replay(
                engine, known, place, start=start, end=end, step=step, targets=targets,
                progress=lambda at: status.update(f"replaying {at:%Y-%m-%d %H:%M}"),
            )  # fmt: skip
        names = _names(engine)
    heads = ("rule", "began", "worse", "repeated", "over", "suppressed", "to whom", "about")
    title = f"{days}: {counted(done.total, 'notice')} in {counted(done.evaluations, 'evaluation')}"
    table = Table(*heads, title=title)
    for name in known:
        counts = [done.notices[name, kind] for kind in ("firing", "worse", "repeat", "resolved")]
        if any(counts) or done.held[name]:
            whom = ", ".join(f"{channel} {n}" for channel, n in done.recipients.get(name, Counter()).most_common())
            about = ", ".join(
                f"{shown_name(names.get(s, s))} {n}" for s, n in done.scopes.get(name, Counter()).most_common(5)
            )
            table.add_row(name, *map(str, counts), str(done.held[name]), whom, about)
    if table.row_count:
        table_console().print(table)
    else:
        say(title)


def _names(engine: Engine) -> dict[str, str]:
    with connected(engine) as connection:
        return {
            f"business:{id_}": shown_name(name)
            for id_, name in connection.exec_driver_sql("SELECT id, name FROM monitoring.businesses")
        }
