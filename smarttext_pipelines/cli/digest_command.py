"""``smarttext digest``: the morning digest of a day, printed."""

from datetime import timedelta
from typing import Annotated

import typer

from smarttext_pipelines.cli.options import DateOption, JsonOption, end_not_computed, parse_days, today
from smarttext_pipelines.cli.printing import say
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.database.rolled_up_days import computed_days
from smarttext_pipelines.digest.forms import Form
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.settings import load_settings


def digest(
    *,
    day: DateOption = None,
    week: Annotated[
        bool | None, typer.Option("--week/--no-week", help="Also the week that ends with the day; default on Sundays.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="Form of the digest.")] = Form.text,
    as_json: JsonOption = False,
) -> None:
    """Print the digest of a day; default is yesterday. Nothing is sent. Exit code 3: it was not rolled up."""
    from smarttext_pipelines.digest.enqueue import build_digest
    from smarttext_pipelines.digest.forms import in_form

    settings = load_settings()
    days = parse_days(settings, day, None, None, default=today(settings) - timedelta(days=1), partitions_only=False)
    with event_database(settings) as (_, engine), connected(engine) as connection:
        found = build_digest(connection, settings, days.first, week=week)
        missing = {*days} - computed_days(connection, days)
    written = in_form(found, Form.json if as_json else form)
    if as_json or form is not Form.text:
        typer.echo(written)
    else:
        say(written)
    end_not_computed(missing)
