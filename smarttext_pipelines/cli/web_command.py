"""``smarttext web``: serve the dashboard. ``smarttext sampler``: count today for it."""

import logging
import threading
from datetime import UTC, datetime
from itertools import count
from typing import Annotated

import typer

from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.launch.databases import databases
from smarttext_pipelines.launch.launch_locks import require_free_port
from smarttext_pipelines.launch.service_manager import Watchdog, notify, serve
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.settings import load_settings

DEFAULT_PORT = 8000


def web(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = DEFAULT_PORT,
) -> None:
    """Serve the dashboard until it is interrupted; on another address it needs SMARTTEXT_WEB_AUTH."""
    from smarttext_pipelines.telemetry.collector import DatabaseCollector
    from smarttext_pipelines.telemetry.otlp import pushing
    from smarttext_pipelines.web.app import build_app
    from smarttext_pipelines.web.sign_in import access_of

    settings = load_settings()
    access = access_of(settings, host)
    require_free_port(host, port)
    with databases(settings) as ready:
        engine = open_engine(ready.database_url.get_secret_value())  # type: ignore[union-attr]
        require_installation(engine, ready.zone)
        # Access logs would hold what is in the addresses; headers of a proxy are read by `web.sign_in` alone.
        with pushing(DatabaseCollector(engine, ready), ready.otlp_endpoint):
            serve(
                build_app(engine, ready, access), host=host, port=port, log_level="warning", access_log=False,
                proxy_headers=False, server_header=False, ws_max_size=4096, timeout_graceful_shutdown=2,
            )  # fmt: skip


def sampler() -> None:
    """Count today whenever events come in, for the dashboard, until it is interrupted."""
    from smarttext_pipelines.web.sampler import Sampler, run_sampler

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    with databases(load_settings()) as ready:
        engine = open_engine(ready.database_url.get_secret_value())  # type: ignore[union-attr]
        require_installation(engine, ready.zone)
        watchdog, never, looks = Watchdog(), threading.Event(), count()

        def wait(seconds: float) -> bool:
            if next(looks) == 0:
                notify("READY=1")
            return watchdog.wait(seconds, never.wait)

        run_sampler(Sampler(engine, ready), lambda: datetime.now(UTC), wait)
