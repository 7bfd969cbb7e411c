"""Who may see the dashboard, and who may act there.

On this machine alone everybody is the user who started it. On any other address a way to sign in is needed: a reverse
proxy that names the person in a header, or a token that is exchanged for a signed cookie. A viewer reads, an operator
also acknowledges, silences and grants.
"""

import getpass
import hashlib
import hmac
import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote, urlsplit

from starlette.requests import HTTPConnection

from smarttext_pipelines.core.display import visible
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings import Settings

COOKIE = "smarttext_session"
SESSION = timedelta(hours=12)
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
_LONGEST_NAME = 80


@dataclass(frozen=True)
class Person:
    """Who asks: a name for the record, and whether this person may act."""

    name: str
    may_act: bool


@dataclass(frozen=True)
class Access:
    """One way to sign in, and what was refused.

    Attributes:
        way: local, proxy or token.
        hosts: Names under which it may be reached; a page of another name cannot ask it.
        find: The person of a request; None for nobody.
        key: Signs cookies and the tokens of forms.
        sign_in: The role of a token that somebody entered; None for a wrong one.
        refused: How often what was refused, since the start.
    """

    way: str
    hosts: frozenset[str]
    find: Callable[[HTTPConnection], Person | None]
    key: bytes
    sign_in: Callable[[str], str | None] = lambda _token: None
    refused: Counter[str] = field(default_factory=Counter)

    def form_token(self, person: Person) -> str:
        """Return what a form of this person has to bring back."""
        return _signature(self.key, f"form:{person.name}")

    def is_form_token(self, person: Person, token: str) -> bool:
        """Tell whether a form was made for this person by this server."""
        return hmac.compare_digest(self.form_token(person).encode(), token.encode())

    def is_known_host(self, connection: HTTPConnection) -> bool:
        """Tell whether it was reached under one of its own names, so that no other site's name leads here."""
        return _host_of(f"//{connection.headers.get('host', '')}") in self.hosts

    def is_same_origin(self, connection: HTTPConnection) -> bool:
        """Tell whether a page of our own asks: what acts and the socket need that."""
        origin = connection.headers.get("origin", "")
        return urlsplit(origin).netloc == connection.headers.get("host") and _host_of(origin) in self.hosts

    def cookie(self, name: str, role: str, now: datetime) -> str:
        """Return the signed session of somebody who signed in."""
        ends = int((now + SESSION).timestamp())
        # A name may be a mail address; a dot separates the parts.
        said = f"{quote(name, safe='').replace('.', '%2E')}.{role}.{ends}"
        return f"{said}.{_signature(self.key, said)}"


def access_of(settings: Settings, host: str) -> Access:
    """Return the way to sign in that the settings choose.

    Args:
        settings: ``web_auth`` and what it needs.
        host: Address that is listened on.

    Raises:
        SettingsError: The address can be reached from elsewhere and there is no way to sign in, or it lacks a setting.
    """
    hosts = frozenset({*_LOCAL_HOSTS, host, *([_host_of(settings.web_url)] if settings.web_url else [])})
    if settings.web_auth == "proxy":
        return _by_proxy(settings, hosts)
    if settings.web_auth == "token":
        return _by_token(settings, hosts)
    if not _is_loopback(host):
        msg = f"{host} can be reached from elsewhere: set SMARTTEXT_WEB_AUTH=proxy or token, or listen on 127.0.0.1"
        raise SettingsError(msg)
    person = Person(_user(), may_act=True)
    return Access("local", frozenset({*_LOCAL_HOSTS, host}), lambda _connection: person, secrets.token_bytes(32))


def _by_proxy(settings: Settings, hosts: frozenset[str]) -> Access:
    if not settings.web_proxies:
        msg = "SMARTTEXT_WEB_AUTH=proxy needs SMARTTEXT_WEB_PROXIES, the addresses of the proxy"
        raise SettingsError(msg)
    proxies = [ipaddress.ip_network(address, strict=False) for address in settings.web_proxies]

    def find(connection: HTTPConnection) -> Person | None:
        client = connection.client.host if connection.client else ""
        name = connection.headers.get(settings.web_proxy_header, "").strip()
        if not name or len(name) > _LONGEST_NAME or not _is_within(client, proxies):
            return None
        return Person(visible(name), may_act=name in settings.web_operators)

    return Access("proxy", hosts, find, secrets.token_bytes(32))


def _by_token(settings: Settings, hosts: frozenset[str]) -> Access:
    tokens: Mapping[str, str] = {
        role: token.get_secret_value()
        for role, token in (("viewer", settings.web_viewer_token), ("operator", settings.web_operator_token))
        if token
    }
    if not tokens:
        msg = "SMARTTEXT_WEB_AUTH=token needs SMARTTEXT_WEB_VIEWER_TOKEN or SMARTTEXT_WEB_OPERATOR_TOKEN"
        raise SettingsError(msg)
    # A token that is changed ends every session.
    known = "\0".join(["smarttext web", *(f"{role} {token}" for role, token in sorted(tokens.items()))])
    key = hashlib.sha256(known.encode()).digest()

    def find(connection: HTTPConnection) -> Person | None:
        name, _, rest = connection.cookies.get(COOKIE, "").partition(".")
        role, _, rest = rest.partition(".")
        ends, _, signature = rest.partition(".")
        is_ours = hmac.compare_digest(_signature(key, f"{name}.{role}.{ends}").encode(), signature.encode())
        if not is_ours or not ends.isdigit() or int(ends) < datetime.now(UTC).timestamp():
            return None
        return Person(visible(unquote(name)), may_act=role == "operator")

    def sign_in(given: str) -> str | None:
        found = [role for role, token in tokens.items() if hmac.compare_digest(token.encode(), given.encode())]
        return found[-1] if found else None

    return Access("token", hosts, find, key, sign_in)


def _signature(key: bytes, said: str) -> str:
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_within(client: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in networks)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "this machine"
