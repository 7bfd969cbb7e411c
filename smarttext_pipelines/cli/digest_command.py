"""``smarttext digest``: the morning digest of a day, printed."""

from datetime import timedelta

import typer

from smarttext_pipelines.cli.options import DateOption, end_not_computed, parse_days, today
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.rolled_up_days import computed_days
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import load_settings


def digest(*, day: DateOption = None) -> None:
    """Print the digest of a day; default is yesterday. Nothing is sent. Exit code 3: it was not rolled up."""
    from smarttext_pipelines.digest.enqueue import read_digest

    settings = load_settings()
    days = parse_days(settings, day, None, None, default=today(settings) - timedelta(days=1), partitions_only=False)
    with event_database(settings) as (_, engine), connected(engine) as connection:
        typer.echo("\n".join(read_digest(connection, settings, days.first)))
        missing = {*days} - computed_days(connection, days)
    end_not_computed(missing)
