"""``smarttext rollup``: the assets that the UI shows, run here and recorded there."""

from datetime import timedelta
from typing import Annotated

import typer

from smarttext_pipelines.cli.budget_commands import reset_openai
from smarttext_pipelines.cli.options import DateOption, FromOption, ToOption, parse_days, today
from smarttext_pipelines.cli.printing import telling
from smarttext_pipelines.settings import load_settings


def rollup(
    *,
    day: DateOption = None,
    first: FromOption = None,
    last: ToOption = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Write what is there even where events have gone.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print the log of the run.")] = False,
) -> None:
    """Roll up a day or a range of days; default is yesterday."""
    settings = load_settings()
    days = parse_days(settings, day, first, last, default=today(settings) - timedelta(days=1))
    # Dagster takes seconds to import; a wrong date should not wait for it.
    from smarttext_pipelines.launch.run_rollup import run_rollup

    with telling(f"rolling up {days}"):
        run_rollup(settings, days, allow_empty=allow_empty, verbose=verbose)


def update_daily_stats(
    *,
    day: DateOption = None,
    reset: Annotated[bool, typer.Option("--reset-openai", help="Open the OpenAI day instead.")] = False,
) -> None:
    """Roll up a day; has the name of the old cron script; default is yesterday."""
    if reset:
        reset_openai()
    else:
        rollup(day=day)
