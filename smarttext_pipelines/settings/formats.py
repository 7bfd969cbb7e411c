"""The form of values that people type: telephone numbers, mail addresses, URLs; whether they exist is not checked.

Each function returns the value as it is used, or raises ValueError with the form to write. A value may be a secret, so
no message quotes it.
"""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher
from ipaddress import ip_network
from urllib.parse import SplitResult, urlsplit

_E164 = re.compile(r"(?:whatsapp:)?\+[1-9][0-9]{6,14}")
_SHORT_CODE = re.compile(r"[0-9]{3,8}")
_EMAIL = re.compile(r"[^\s@<>,;]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_SENTRY_KEY, _SENTRY_PATH = re.compile(r"[0-9a-zA-Z]+"), re.compile(r"(?:/[^/]+)*/[0-9]+")
_TOKEN, _PERSON = re.compile(r"[!-~]{16,}"), re.compile(r"[^\s,]{1,80}")
_CLOSE = 0.8
_LONG_ENDING = 6


def phone(value: str) -> str:
    """Return a telephone number in E.164, spaces and separators taken out; a WhatsApp address keeps its prefix."""
    number = re.sub(r"[\s().-]", "", value)
    if _E164.fullmatch(number):
        return number
    msg = "not a telephone number; write it in digits, with + and the country code first"
    raise ValueError(msg)


def sender(value: str) -> str:
    """Return what Twilio sends from: a telephone number or a short code."""
    return value if _SHORT_CODE.fullmatch(value) else phone(value)


def email(value: str) -> str:
    """Return a mail address."""
    if _EMAIL.fullmatch(value):
        return value
    msg = "not a mail address; write a name, @ and a domain"
    raise ValueError(msg)


def http_url(value: str) -> str:
    """Return a URL that can be asked over HTTP."""
    if _split(value, ("http", "https")):
        return value
    msg = "not a URL; write it as https://host/path"
    raise ValueError(msg)


def spark_url(value: str) -> str:
    """Return the URL of a Spark Connect server; a token is a setting of its own, which is never shown."""
    place, _, given = value.partition("/;")
    if re.search(r"(^|;)token=", given, re.IGNORECASE) or "@" in value:
        msg = "it holds a token or a user; write sc://HOST:PORT here and the token in SMARTTEXT_SPARK_TOKEN"
        raise ValueError(msg)
    parts = _split(place.removesuffix("/"), ("sc",))
    is_plain = parts and not (parts.path or parts.query or parts.fragment) and ";" not in place
    if is_plain and re.fullmatch(r"([A-Za-z0-9_.-]+=[^;=\s]+(;(?=.)|$))*", given):
        return value
    msg = "not the URL of a Spark Connect server; write it as sc://HOST:15002, parameters as /;use_ssl=true"
    raise ValueError(msg)


def smtp_url(value: str) -> str:
    """Return the URL of a mail server."""
    if _split(value, ("smtp", "smtps")):
        return value
    msg = "not the URL of a mail server; write it as smtp://USER:PASSWORD@HOST:587, an @ in the password as %40"
    raise ValueError(msg)


def sentry_dsn(value: str) -> str:
    """Return a Sentry DSN: a key, a host and the number of a project."""
    parts = _split(value, ("http", "https"))
    if parts and _SENTRY_KEY.fullmatch(parts.username or "") and _SENTRY_PATH.fullmatch(parts.path):
        return value
    msg = "not a DSN; copy it from the project's settings in Sentry, as https://KEY@HOST/NUMBER"
    raise ValueError(msg)


def network(value: str) -> str:
    """Return the address of a machine or of a network."""
    try:
        return str(ip_network(value, strict=False))
    except ValueError:
        msg = "not an address; write 10.0.0.5 or 10.0.0.0/24"
        raise ValueError(msg) from None


def person(value: str) -> str:
    """Return the name under which a proxy signs somebody in."""
    if _PERSON.fullmatch(value):
        return value
    msg = "not a name of one word, such as a mail address"
    raise ValueError(msg)


def token(value: str) -> str:
    """Return a token that nobody guesses."""
    if _TOKEN.fullmatch(value):
        return value
    msg = "not a token; make one of at least 16 characters without spaces, with `openssl rand -hex 16`"
    raise ValueError(msg)


def api_key(value: str) -> str:
    """Return a key that fits into a header."""
    if _TOKEN.fullmatch(value):
        return value
    msg = "not an API key; copy it anew, whole and without spaces"
    raise ValueError(msg)


def given_token(value: str) -> str:
    """Return a token that another system gave, of any length."""
    if re.fullmatch(r"[!-~]+", value):
        return value
    msg = "not a token; copy it whole, without spaces"
    raise ValueError(msg)


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a misspelt one resembles: nearly the same letters, or the end of a longer name."""
    written = name.replace("DB", "DATABASE")
    scored = [
        (
            1.0
            if len(written) >= _LONG_ENDING and other.endswith(f"_{written}")
            else SequenceMatcher(None, written, other).ratio(),
            other,
        )
        for other in known
    ]
    score, best = max(scored, default=(0.0, ""))
    return best if score >= _CLOSE else None


def _split(value: str, schemes: tuple[str, ...]) -> SplitResult | None:
    """Return the parts of a URL with a host, or None; a port that is no number makes it none."""
    try:
        parts = urlsplit(value)
        usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    return parts if usable and not re.search(r"\s", value) and "@" not in parts.path else None
