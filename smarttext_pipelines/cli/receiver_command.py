"""``smarttext receiver``: serve Twilio's status callbacks."""

from typing import Annotated

import typer
from rich.console import Console

from smarttext_pipelines.cli.doctor_command import with_embedded
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.database.connect import open_engine
from smarttext_pipelines.launch.databases import databases
from smarttext_pipelines.launch.launch_locks import require_free_port
from smarttext_pipelines.launch.service_manager import serve
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.settings import load_settings


def receiver(
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = 8080,
) -> None:
    """Receive Twilio's status callbacks at SMARTTEXT_RECEIVER_URL until it is interrupted; GET /healthz and /readyz."""
    settings = load_settings()
    if not (settings.twilio_auth_token and settings.receiver_url):
        msg = "set TWILIO_AUTH_TOKEN and SMARTTEXT_RECEIVER_URL, the public URL that Twilio calls"
        raise SettingsError(msg)
    require_free_port(host, port)
    from smarttext_pipelines import tracking
    from smarttext_pipelines.health.doctor import examine, readiness
    from smarttext_pipelines.tracking.track import track_delivery_report
    from smarttext_pipelines.twilio.callbacks import Receiver
    from smarttext_pipelines.twilio.callbacks.form import StatusReport

    def track(report: StatusReport) -> None:
        track_delivery_report(
            to=report.to_number,
            status=report.status,
            message_sid=report.sid,
            error_code=report.error_code,
        )

    with databases(settings) as ready:
        url = ready.database_url.get_secret_value()  # type: ignore[union-attr]
        require_installation(open_engine(url), ready.zone)
        tracking.configure(database_url=url)
        app = Receiver(
            auth_token=settings.twilio_auth_token.get_secret_value(),
            public_url=settings.receiver_url,
            track=track,
            # Other companies' services are not asked: anyone can ask here.
            looks={
                "/healthz": lambda: examine(with_embedded(ready), services=False),
                "/readyz": lambda: readiness(ready),
            },
        )
        # Access logs would hold what is in the URLs.
        serve(app, host=host, port=port, log_level="warning", access_log=False)
        tracking.flush(10)
    Console().print(", ".join(f"{count} {outcome}" for outcome, count in sorted(app.counts.items())) or "no request")
