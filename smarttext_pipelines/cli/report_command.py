"""``smarttext report``: what a business is told of a month."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from smarttext_pipelines.cli.options import (
    BusinessOption,
    JsonOption,
    end_not_computed,
    find_business,
    first_of_month,
    today,
)
from smarttext_pipelines.cli.printing import say
from smarttext_pipelines.cli.reconcile_command import MonthOption
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.database.connect import connected
from smarttext_pipelines.launch.databases import event_database
from smarttext_pipelines.reports.report_form import ReportForm
from smarttext_pipelines.settings import load_settings


def report(
    *,
    business: BusinessOption = None,
    month: MonthOption = None,
    form: Annotated[ReportForm, typer.Option("--format", help="Form of the report.")] = ReportForm.text,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there; only you can read the file.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell a business its month: missed calls, what became of them, what failed, what it cost, what is not known.

    Nothing is sent, and no number of a customer is in it. Exit code 3: a day was not rolled up.
    """
    from smarttext_pipelines.reports.missed_hours import missed_hours
    from smarttext_pipelines.reports.month_facts import month_of, read_month_facts
    from smarttext_pipelines.reports.month_forms import in_report_form
    from smarttext_pipelines.reports.month_view import report_of
    from smarttext_pipelines.reports.report_files import write_file

    if business is None:
        msg = "say whose report: --business B"
        raise InputError(msg)
    form = ReportForm.json if as_json else form
    settings = load_settings()
    last_month = today(settings).replace(day=1) - timedelta(days=1)
    first = first_of_month(month) if month else last_month.replace(day=1)
    asked = month_of(settings, first, datetime.now(UTC))
    with event_database(settings) as (_, engine), connected(engine) as connection:
        chosen = find_business(connection, business)
        facts = read_month_facts(connection, chosen, asked, missed_hours(connection, asked, chosen))
    written = in_report_form(report_of(facts), form)
    if out is not None:
        write_file(out, written)
        say(f"wrote {out}", stderr=True)
    elif form is ReportForm.text:
        say(written.rstrip("\n"))
    else:
        typer.echo(written, nl=False)
    end_not_computed(set(asked.days) - set(facts.totals))
