"""What is answered instead of what was asked for: a page for people, under ``/api/v1`` JSON of one line."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from jinja2 import Environment
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.settings import Settings
from smarttext_pipelines.web.openapi import API
from smarttext_pipelines.web.pages import PAGES
from smarttext_pipelines.web.sign_in import Access, Person
from smarttext_pipelines.web.view import AddressError, View


class Refusing:
    """Says no: to nobody in particular in a line, to a person on a page, to a program in JSON."""

    def __init__(self, settings: Settings, access: Access, templates: Environment) -> None:
        """Begin with nothing refused."""
        self._settings, self._access, self._templates = settings, access, templates

    def person(self, connection: HTTPConnection) -> Person | Response:
        """Return who asks, or the answer to nobody."""
        if not self._access.is_known_host(connection):
            return self.refuse(connection, "unknown host", "This address is not one of the dashboard.", 421)
        person = self._access.find(connection)
        if person is not None:
            return person
        if self._access.way == "token":
            if is_of_api(connection):
                return api_error("sign in first", 401)
            return RedirectResponse(f"/sign-in?next={quote(address_of(connection), safe='')}", 303)
        return self.refuse(connection, "nobody", "The proxy names nobody.", 403)

    def refuse(self, connection: HTTPConnection, why: str, said: str, status: int = 403) -> Response:
        """Count what is refused, and say so in one line."""
        self._access.refused[why] += 1
        return api_error(said, status) if is_of_api(connection) else PlainTextResponse(said, status)

    def message(self, connection: HTTPConnection, person: Person, title: str, said: str, status: int) -> Response:
        """Say on a page of its own what a person cannot have."""
        if is_of_api(connection):
            return api_error(said, status)
        view = View(title=title, headline=said, as_of=datetime.now(UTC), zone=self._settings.zone.key)
        context = {"view": view, "is_live": False, "path": "", **self.frame(person)}
        return HTMLResponse(self._templates.get_template("message.html").render(context), status)

    def wrong_address(self, connection: HTTPConnection, person: Person, error: InputError) -> Response:
        """Say that there is nothing at an address; a program is also told whether there could be."""
        is_malformed = is_of_api(connection) and isinstance(error, AddressError)
        return self.message(connection, person, "Nothing to show", str(error), 400 if is_malformed else 404)

    def frame(self, person: Person) -> dict[str, Any]:
        """Return what surrounds every page of a person."""
        return {
            "menu": [page for page in PAGES if page.menu],
            "can_leave": self._access.way == "token",
            "person": person,
            "csrf": self._access.form_token(person),
        }

    async def not_found(self, request: Request, error: Exception) -> Response:
        """Say that there is no such page, or that it takes nothing from a program."""
        person = self.person(request)
        if isinstance(person, Response):
            return person
        if is_of_api(request) and getattr(error, "status_code", 404) == 405:
            return api_error("only GET is answered here", 405)
        return self.message(request, person, "No such page", f"There is no page {request.url.path[:100]}.", 404)

    async def broken(self, request: Request, error: Exception) -> Response:
        """Say that something is wrong with us, without saying what to strangers."""
        said = f"Something went wrong ({type(error).__name__}); see the log of the server."
        return api_error(said, 500) if is_of_api(request) else PlainTextResponse(said, 500)


def is_of_api(connection: HTTPConnection) -> bool:
    """Tell whether a program asks."""
    path = connection.url.path
    return path == API or path.startswith(f"{API}/")


def api_error(said: str, status: int) -> Response:
    """Return what every error of the API looks like."""
    return JSONResponse({"error": " ".join(said.split())}, status)


def address_of(connection: HTTPConnection) -> str:
    """Return an address as it was asked for, without the host."""
    return connection.url.path + (f"?{connection.url.query}" if connection.url.query else "")
