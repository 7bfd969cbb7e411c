"""The endpoints of the dashboard: who asks, what is answered, and what becomes of errors."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.websockets import WebSocket

from smarttext_pipelines.core.errors import DatabaseError, InputError, SmartTextError
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.telemetry.collector import DatabaseCollector, exposition
from smarttext_pipelines.web.acting import act
from smarttext_pipelines.web.live_pages import Live, Open, Rendered
from smarttext_pipelines.web.openapi import openapi_document
from smarttext_pipelines.web.pages import PAGES
from smarttext_pipelines.web.refusing import Refusing, address_of, api_error
from smarttext_pipelines.web.rendering import as_csv, environment
from smarttext_pipelines.web.sign_in import COOKIE, SESSION, Access, Person
from smarttext_pipelines.web.view import Page
from smarttext_pipelines.web.view_reader import Found, Reader

_MAX_FORM_BYTES = 10_000
Endpoint = Callable[[Request], Awaitable[Response]]


def by_address() -> list[Page]:
    """Return the pages in an order in which a fixed part of an address comes before one that varies."""
    return sorted(PAGES, key=lambda page: (page.route.count("{"), -len(page.route)))


class Dashboard:
    """The endpoints."""

    def __init__(self, engine: Engine, settings: Settings, access: Access) -> None:
        """Begin with nothing read."""
        self._engine, self._settings, self._access = engine, settings, access
        self.reader = Reader(engine, settings)
        self._collector = DatabaseCollector(engine, settings)
        self._templates = environment()
        self.refusing = Refusing(settings, access, self._templates)

    def html(self, page: Page) -> Endpoint:
        """Return the endpoint of a page."""

        async def endpoint(request: Request) -> Response:
            person = self.refusing.person(request)
            if isinstance(person, Response):
                return person
            return await self._answer(request, page, person, self._as_html)

        return endpoint

    def data(self, page: Page) -> Endpoint:
        """Return the endpoint of a page's view model as JSON, and of its tables as CSV."""

        async def endpoint(request: Request) -> Response:
            person = self.refusing.person(request)
            if isinstance(person, Response):
                return person
            return await self._answer(request, page, person, self._as_data)

        return endpoint

    async def openapi(self, request: Request) -> Response:
        """Describe the view models."""
        person = self.refusing.person(request)
        return person if isinstance(person, Response) else JSONResponse(openapi_document())

    def acting(self, route: str) -> Endpoint:
        """Return the endpoint of something that a person does."""

        async def endpoint(request: Request) -> Response:
            person = self.refusing.person(request)
            if isinstance(person, Response):
                return person
            form = await self._form(request)
            if not person.may_act:
                return self.refusing.refuse(request, "viewer who acts", "Only operators may do this.")
            if not self._access.is_same_origin(request):
                return self.refusing.refuse(request, "foreign origin", "This form is of another page.")
            if not self._access.is_form_token(person, form.get("csrf", "")):
                return self.refusing.refuse(request, "missing form token", "This form is too old: open the page again.")
            try:
                where = await asyncio.to_thread(act, route, self._engine, request.path_params, form, person.name)
            except SmartTextError as error:
                return self.refusing.message(request, person, "That was not done", str(error), 400)
            return RedirectResponse(where, 303)

        return endpoint

    async def healthz(self, _request: Request) -> Response:
        """Say that the server runs; anyone may ask."""
        return JSONResponse({"status": "ok"})

    async def metrics(self, request: Request) -> Response:
        """Answer a scrape of Prometheus; where people sign in by token, it brings the viewer's as a bearer token."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        is_known = self._access.is_known_host(request) and (self._access.find(request) or self._access.sign_in(bearer))
        if not is_known:
            return self.refusing.refuse(request, "scrape", "scrape with the viewer's token, or through the proxy", 401)
        found = await asyncio.to_thread(exposition, self._collector, request.headers.get("accept", ""))
        return Response(found[0], media_type=found[1])

    async def sign_in(self, request: Request) -> Response:
        """Exchange a token for a signed cookie."""
        if self._access.way != "token" or not self._access.is_known_host(request):
            return self.refusing.refuse(request, "no sign-in here", "There is nothing to sign in to.", 404)
        wrong, form = False, {}
        if request.method == "POST":
            form = await self._form(request)
            role = self._access.sign_in(form.get("token", ""))
            if role and self._access.is_same_origin(request) and form.get("name", "").strip():
                response = RedirectResponse(_local(form.get("next", "")), 303)
                is_secure = str(self._settings.web_url or "").startswith("https")
                cookie = self._access.cookie(form["name"].strip()[:80], role, datetime.now(UTC))
                response.set_cookie(
                    COOKIE, cookie, int(SESSION.total_seconds()), httponly=True, samesite="strict", secure=is_secure
                )
                return response
            self._access.refused["wrong token"] += 1
            wrong = True
        target = _local(form.get("next") or request.query_params.get("next", ""))
        page = self._templates.get_template("sign_in.html").render(wrong=wrong, next=target)
        return HTMLResponse(page, 401 if wrong else 200)

    async def sign_out(self, request: Request) -> Response:
        """Forget the cookie."""
        response = RedirectResponse("/sign-in", 303)
        if self._access.is_same_origin(request):
            response.delete_cookie(COOKIE)
        return response

    def socket(self, live: Live) -> Callable[[WebSocket], Awaitable[None]]:
        """Return the endpoint of the socket that keeps a page up to date."""

        async def endpoint(socket: WebSocket) -> None:
            person = self._access.find(socket)
            is_ours = self._access.is_known_host(socket) and self._access.is_same_origin(socket)
            opened = self._opened(socket.query_params.get("page", ""), person) if person and is_ours else None
            if opened is None:
                self._access.refused["socket"] += 1
                await socket.close(1008)
                return
            await live.serve(socket, opened)

        return endpoint

    def render_open(self, opened: Open) -> Rendered:
        """Render the main part of an open page; in a thread."""
        path, query = dict(opened.path), dict(opened.query)
        found = self.reader.read(opened.page, path, query, opened.address)
        context = self._context(opened.page, urlsplit(opened.address).path, query, opened.person, found)
        return Rendered(self._templates.get_template("main.html").render(context), found.away_since)

    async def _answer(self, request: Request, page: Page, person: Person, form: Callable[..., Response]) -> Response:
        query = dict(request.query_params)
        try:
            found = await asyncio.to_thread(self.reader.read, page, request.path_params, query, address_of(request))
            return await asyncio.to_thread(form, request, page, person, found)
        except InputError as error:
            return self.refusing.wrong_address(request, person, error)
        except DatabaseError as error:
            is_there = await asyncio.to_thread(self.reader.answers)
            title = "This cannot be read" if is_there else "The database cannot be reached"
            return self.refusing.message(request, person, title, str(error), 503)

    def _as_html(self, request: Request, page: Page, person: Person, found: Found) -> Response:
        path = request.url.path
        context = self._context(page, path, dict(request.query_params), person, found)
        context |= {"is_live": bool(page.topics), "path_and_query": address_of(request), **self.refusing.frame(person)}
        return HTMLResponse(self._templates.get_template("page.html").render(context), 503 if found.away_since else 200)

    def _as_data(self, request: Request, _page: Page, _person: Person, found: Found) -> Response:
        if found.away_since:
            # A page says how old it is; a program would take it for new.
            return api_error(f"the database cannot be reached since {found.away_since:%H:%M:%S} UTC", 503)
        if request.query_params.get("format") != "csv":
            return Response(found.view.model_dump_json(), media_type="application/json")
        name = request.query_params.get("table", "")
        table = next((each for each in found.view.tables if each.name == name), None)
        if table is None:
            msg = f"there is no table '{name[:40]}' here; there are {', '.join(t.name for t in found.view.tables)}"
            raise InputError(msg)
        headers = {"content-disposition": f'attachment; filename="{table.name}.csv"'}
        return Response(as_csv(table), media_type="text/csv; charset=utf-8", headers=headers)

    def _context(self, page: Page, path: str, query: Mapping[str, str], person: Person, found: Found) -> dict[str, Any]:
        return {
            "page": page,
            "view": found.view,
            "path": path,
            "query": query,
            "person": person,
            "csrf": self._access.form_token(person),
            "form_id": str(uuid4()),
            "stale_since": found.away_since,
        }

    def _opened(self, address: str, person: Person) -> Open | None:
        parts = urlsplit(address)
        scope = {"type": "http", "method": "GET", "path": parts.path, "root_path": ""}
        for page in by_address():
            match, found = Route(page.route, self.html(page)).matches(scope)
            if match is Match.FULL and page.topics:
                query = parse_qsl(parts.query)[:20]
                return Open(page, address[:2000], tuple(found["path_params"].items()), tuple(query), person)
        return None

    async def _form(self, request: Request) -> dict[str, str]:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > _MAX_FORM_BYTES:
                return {}
        return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _local(target: str) -> str:
    """Return an address of our own, whatever was asked for."""
    is_ours = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if is_ours and target.isprintable() else "/"
