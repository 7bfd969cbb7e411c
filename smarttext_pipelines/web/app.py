"""The dashboard as a Starlette application: addresses, headers, errors; what a page shows is in ``pages``."""

from typing import Any

from sqlalchemy import Engine
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.acting import ACTIONS
from smarttext_pipelines.web.dashboard import Dashboard, by_address
from smarttext_pipelines.web.live_pages import Live
from smarttext_pipelines.web.openapi import API
from smarttext_pipelines.web.sign_in import Access

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def build_app(engine: Engine, settings: Settings, access: Access) -> Starlette:
    """Return the application.

    Args:
        engine: Of the event database.
        settings: Zone and the like; ``database_url`` is set.
        access: Who may see and act.
    """
    dashboard = Dashboard(engine, settings, access)
    refusing = dashboard.refusing
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    live = Live(url.replace("+psycopg", ""), dashboard.render_open)
    routes: list[Any] = [Mount("/static", StaticFiles(packages=[("smarttext_pipelines.web", "static")]))]
    routes += [Route(f"{API}/openapi.json", dashboard.openapi)]
    routes += [Route(f"{API}{page.route}", dashboard.data(page)) for page in by_address()]
    routes += [Route(page.route, dashboard.html(page)) for page in by_address()]
    routes += [Route(action, dashboard.acting(action), methods=["POST"]) for action in ACTIONS]
    routes += [
        Route("/healthz", dashboard.healthz),
        Route("/metrics", dashboard.metrics),
        Route("/sign-in", dashboard.sign_in, methods=["GET", "POST"]),
        Route("/sign-out", dashboard.sign_out, methods=["POST"]),
        WebSocketRoute("/live", dashboard.socket(live)),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Headers), Middleware(GZipMiddleware, minimum_size=500)],
        lifespan=lambda _app: live.running(),
        exception_handlers={404: refusing.not_found, 405: refusing.not_found, 500: refusing.broken},
    )
    app.state.access, app.state.live, app.state.reader = access, live, dashboard.reader
    return app


class Headers:
    """Middleware that adds the headers of every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, with the headers."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.decode() not in _HEADERS]
                message["headers"] = kept + [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)
