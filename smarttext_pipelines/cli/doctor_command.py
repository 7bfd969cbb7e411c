"""``smarttext doctor``: one screen that says what works, what does not, and what to do. Starts nothing."""

from collections.abc import Sequence
from typing import Annotated

import typer
from pydantic import SecretStr
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from smarttext_pipelines.cli.options import JsonOption
from smarttext_pipelines.cli.printing import print_json, table_console
from smarttext_pipelines.database.embedded import running_server
from smarttext_pipelines.health.verdicts import Line, State
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
        _print(report.lines)
    raise typer.Exit(report.exit_code)


def _print(lines: Sequence[Line]) -> None:
    """Print a table; where a word of it would break, a line each, which the terminal wraps."""
    console = table_console()
    state, name = max(map(len, State)), max(len(line.name) for line in lines)
    longest = max(cell_len(word) for line in lines for word in f"{line.said} → {line.todo or ''}".split())
    if state + name + longest + 2 > console.width:
        for line in lines:
            console.print(Text.assemble((line.state, _SHOWN[line.state]), f" {line.name}  {line.said}"), soft_wrap=True)
            if line.todo:
                console.print(Text(f"→ {line.todo}", style="dim"), soft_wrap=True)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    for width in (state, name, None):
        table.add_column(overflow="fold", min_width=width)
    for line in lines:
        table.add_row(Text(line.state, style=_SHOWN[line.state]), Text(line.name), Text(line.said))
        if line.todo:
            table.add_row("", "", Text(f"→ {line.todo}", style="dim"))
    console.print(table)


def with_embedded(settings: Settings) -> Settings:
    """Return settings with the URLs of the embedded server, if it runs; it is not started."""
    wanted = {"database_url": EVENTS_DATABASE, "dagster_database_url": DAGSTER_DATABASE}
    missing = {field: name for field, name in wanted.items() if getattr(settings, field) is None}
    server = running_server(settings.data_dir) if missing else None
    if server is None:
        return settings
    return settings.model_copy(update={field: SecretStr(server.url(name)) for field, name in missing.items()})
