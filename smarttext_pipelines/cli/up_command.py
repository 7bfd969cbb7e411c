"""``smarttext up``: the databases, the sample, the UI and the daemon on this machine, until Ctrl-C.

Only the order of the steps is here; the steps are in ``launch``.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from pathlib import Path

    from smarttext_pipelines.launch.dagster_services import WebAddress
    from smarttext_pipelines.launch.processes import Children
    from smarttext_pipelines.settings import Settings

DEFAULT_PORT = 3000
DEFAULT_WEB_PORT = 8000
CHECK_TO_SHOW = ("sms_outcomes", "undated_rows")
"""Asset and check that fail on the sample; ``up`` links to them."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_DASHBOARD_HOST = "127.0.0.1"
_LOOK_SECONDS = 0.5
_LOOKS_PER_DATABASE_LOOK = 10
_console = Console(highlight=False, soft_wrap=True)


def up(
    *,
    host: Annotated[str, typer.Option("--host", help="Address the UI listens on; it asks nobody for a password.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the UI.")] = DEFAULT_PORT,
    web_port: Annotated[
        int | None,
        typer.Option(
            "--web-port",
            min=0,
            max=65535,
            help=f"Port of the dashboard; 0 starts none. Without it {DEFAULT_WEB_PORT}, or the next that is free.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow/--no-follow", help="Let sample events come in as time goes by.")
    ] = True,
) -> None:
    """Start everything on this machine and stop it on Ctrl-C. Exit code 1: a process of it ended."""
    from smarttext_pipelines.launch.dagster_services import WebAddress
    from smarttext_pipelines.launch.processes import ChildEndedError
    from smarttext_pipelines.settings import load_settings

    settings = load_settings()
    settings = settings.model_copy(update={"data_dir": settings.data_dir.resolve()})
    with suppress(KeyboardInterrupt), _stopped_by_signals():
        try:
            _run(settings, WebAddress(host, port), web_port, follow=follow)
        except ChildEndedError as error:
            Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"error: {error}")
            raise typer.Exit(1) from None
    _console.print("stopped")


def _run(settings: "Settings", address: "WebAddress", web_port: int | None, *, follow: bool) -> None:
    from smarttext_pipelines.alerting.evaluation_service import follow_log
    from smarttext_pipelines.cli.printing import say
    from smarttext_pipelines.launch.dashboard_services import start_dashboard
    from smarttext_pipelines.launch.databases import databases, prepare_dagster_home
    from smarttext_pipelines.launch.launch_locks import only_launcher, require_free_port
    from smarttext_pipelines.launch.pipeline_lock import pipeline_lock
    from smarttext_pipelines.launch.processes import Children
    from smarttext_pipelines.launch.service_manager import Watchdog, notify
    from smarttext_pipelines.launch.steps import require_embedded_server, step

    with ExitStack() as stack:
        lock = stack.enter_context(only_launcher(settings.data_dir))
        require_free_port(address.host, address.port)
        dashboard = _dashboard_address(settings, web_port, address.port)
        is_ours = settings.database_url is None
        with step(_console, "Databases opened"):
            # Before Dagster's storage is made, unless the event database is made with it.
            pipeline = None if is_ours else stack.enter_context(pipeline_lock(settings, "smarttext up"))
            ready = stack.enter_context(databases(settings, dagster=True, create=True))
            pipeline = pipeline or stack.enter_context(pipeline_lock(ready, "smarttext up"))
        environment = _environment(ready, prepare_dagster_home(ready), address)
        if dashboard and not ready.web_url:
            environment["SMARTTEXT_WEB_URL"] = dashboard.url
        locks = [lock, pipeline.descriptor]
        children = stack.enter_context(Children(environment, settings.data_dir / "logs", locks))
        stack.callback(notify, "STOPPING=1")
        new_alerts = follow_log(settings)
        _prepare_events(ready, children, is_ours=is_ours)
        if dashboard:
            start_dashboard(children, dashboard)
        _serve(ready, children, address, follow=follow and is_ours)
        _print_links(address, dashboard)
        notify("READY=1")
        watchdog = Watchdog()
        for look in count(1):
            children.check()
            watchdog.alive()
            if alerts := new_alerts():
                say(alerts)
            if look % _LOOKS_PER_DATABASE_LOOK == 0:
                require_embedded_server(settings, ready)
                pipeline.check()
            time.sleep(_LOOK_SECONDS)


def _dashboard_address(settings: "Settings", web_port: int | None, ui_port: int) -> "WebAddress | None":
    """Return where the dashboard listens: a port that somebody relies on is that port, else the next free one does."""
    from smarttext_pipelines.launch.dagster_services import WebAddress
    from smarttext_pipelines.launch.launch_locks import next_free_port, require_free_port

    if web_port == 0:
        return None
    if web_port or settings.web_url:
        # What leads to the address of SMARTTEXT_WEB_URL would lead elsewhere.
        named = WebAddress(_DASHBOARD_HOST, web_port or DEFAULT_WEB_PORT)
        require_free_port(named.host, named.port, "--web-port")
        return named
    found = WebAddress(_DASHBOARD_HOST, next_free_port(_DASHBOARD_HOST, DEFAULT_WEB_PORT, ui_port))
    if found.port != DEFAULT_WEB_PORT:
        _console.print(f"Port {DEFAULT_WEB_PORT} is taken; the dashboard will be on {found.url}")
    return found


def _environment(ready: "Settings", home: "Path", address: "WebAddress") -> dict[str, str]:
    from smarttext_pipelines.launch.databases import child_environment

    ui_url = ready.ui_url if "ui_url" in ready.model_fields_set else address.url
    dagster_url = ready.dagster_database_url
    return {
        **child_environment(ready, home),
        "SMARTTEXT_DAGSTER_DATABASE_URL": dagster_url.get_secret_value() if dagster_url else "",
        "SMARTTEXT_UI_URL": ui_url,
    }


def _prepare_events(ready: "Settings", children: "Children", *, is_ours: bool) -> None:
    from smarttext_pipelines.core.days import day_of
    from smarttext_pipelines.launch.steps import first_sample_day, prepare_embedded, require_ready

    url = ready.database_url.get_secret_value() if ready.database_url else ""
    if is_ours:
        prepare_embedded(_console, children, ready, url, day_of(datetime.now(UTC), ready.zone))
        if "start_date" not in ready.model_fields_set and (first := first_sample_day(ready, url)):
            # Partitions before it would only be grey.
            children.environment["SMARTTEXT_START_DATE"] = str(first)
    else:
        require_ready(_console, ready, url)


def _serve(ready: "Settings", children: "Children", address: "WebAddress", *, follow: bool) -> None:
    from smarttext_pipelines.launch import dagster_services
    from smarttext_pipelines.launch.steps import follow_sample, step

    code_server = dagster_services.socket_path(ready.data_dir)
    workspace = dagster_services.write_workspace(ready.data_dir / "workspace.yaml", code_server)
    with step(_console, "Code server started"):
        dagster_services.start_code_server(children, code_server, dagster_services.DEFINITIONS)
    with step(_console, "UI and daemon started"):
        dagster_services.start_web_server(children, workspace, address)
        dagster_services.start_daemon(children, workspace, code_server)
        dagster_services.wait_for_web_server(children, address)
    if follow and follow_sample(children, ready):
        _console.print("[green]✓[/green] Sample events keep coming in; --no-follow leaves them out")
        _console.print(
            "  In three minutes texts of one business fail: the alert appears here, and its end five minutes later"
        )


def _print_links(address: "WebAddress", dashboard: "WebAddress | None") -> None:
    asset, check = CHECK_TO_SHOW
    links = {
        "lineage": "/assets/daily_stats?view=lineage&lineageScope=upstream&lineageDepth=2",
        "daily_stats": "/assets/daily_stats",
        "failing check": f"/assets/{asset}?view=checks&checkDetail={check}",
        "backfill": "/assets/daily_stats?view=partitions",
        "alerts": "/assets/notifications?view=lineage&lineageScope=upstream&lineageDepth=3",
    }
    _console.print()
    if dashboard:
        _console.print(f"{'dashboard':<14} {dashboard.url}")
    for name, path in links.items():
        _console.print(f"{name:<14} {address.url}{path}")
    _console.print("\nCtrl-C stops everything")


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Turn the signals that mean stop into one KeyboardInterrupt; what follows it is not interrupted again."""

    def stop(_number: int, _frame: object) -> None:
        for number in _STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    # A script that starts us in the background had SIGINT ignored; we still want to hear it.
    before = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
