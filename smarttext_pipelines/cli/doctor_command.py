"""``smarttext doctor``: one screen that says what works, what does not, and what to do. Starts nothing."""

from typing import Annotated

import typer
from pydantic import SecretStr
from rich.table import Table
from rich.text import Text

from smarttext_pipelines.cli.options import JsonOption
from smarttext_pipelines.cli.printing import print_json, table_console
from smarttext_pipelines.database.embedded import running_server
from smarttext_pipelines.health.verdicts import State
from smarttext_pipelines.launch.databases import DAGSTER_DATABASE, EVENTS_DATABASE
from smarttext_pipelines.settings import Settings, load_settings

_SHOWN = {State.ok: "green", State.unknown: "dim", State.warn: "yellow", State.fail: "bold red"}


def doctor(
    *,
    as_json: JsonOption = False,
    services: Annotated[
        bool, typer.Option("--services/--no-services", help="Ask Slack and Twilio whether the credentials are valid.")
    ] = True,
    application: Annotated[
        bool,
        typer.Option("--application", help="Only what the application must do to be measured well; the last 7 days."),
    ] = False,
) -> None:
    """Say what works, what does not, and what to do; exit code 0, 1 (look at it) or 2 (does not work)."""
    from smarttext_pipelines.health.doctor import examine, examine_application

    settings = with_embedded(load_settings())
    report = examine_application(settings) if application else examine(settings, services=services, anew=True)
    if as_json:
        print_json(report.as_json())
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for width in (max(map(len, State)), None, None):
            table.add_column(overflow="fold", min_width=width)
        for line in report.lines:
            table.add_row(Text(line.state, style=_SHOWN[line.state]), Text(line.name), Text(line.said))
            if line.todo:
                table.add_row("", "", Text(f"→ {line.todo}", style="dim"))
        table_console().print(table)
    raise typer.Exit(report.exit_code)


def with_embedded(settings: Settings) -> Settings:
    """Return settings with the URLs of the embedded server, if it runs; it is not started."""
    wanted = {"database_url": EVENTS_DATABASE, "dagster_database_url": DAGSTER_DATABASE}
    missing = {field: name for field, name in wanted.items() if getattr(settings, field) is None}
    server = running_server(settings.data_dir) if missing else None
    if server is None:
        return settings
    return settings.model_copy(update={field: SecretStr(server.url(name)) for field, name in missing.items()})
