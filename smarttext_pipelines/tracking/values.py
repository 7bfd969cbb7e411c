"""What an event may hold. A function returns the value as it is written, or raises ValueError that says what to do."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

TEXT_LIMIT = 65_536
"""Most characters of one text."""

PAYLOAD_LIMIT = 262_144
"""Most characters of a payload as JSON."""

LARGEST_TOKENS = 2**31 - 1
"""``api_usage.tokens_used`` is an integer of four bytes."""

LARGEST_COST = Decimal(10) ** 12

# A number, a short code, a name of a sender, or an address of a channel such as whatsapp:+15550100 or sip:user@host.
_ADDRESS = re.compile(
    r"(?:[a-z]{2,12}:)?(?:\+?[0-9(][0-9 ().-]{1,20}|[A-Za-z0-9][A-Za-z0-9 &_-]{0,10})|[a-z]{2,12}:\S{1,200}"
)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def text(name: str, value: object, *, required: bool = False) -> str | None:
    """Return a text that PostgreSQL can hold; None stays None unless it is required."""
    if value is None and not required:
        return None
    if not isinstance(value, str):
        msg = f"{name} must be a text, not {type(value).__name__}"
        raise ValueError(msg)
    if len(value) > TEXT_LIMIT:
        msg = f"{name} has {len(value):,} characters; at most {TEXT_LIMIT:,} are kept, shorten it"
        raise ValueError(msg)
    if "\x00" in value:
        msg = f"{name} holds a NUL character, which PostgreSQL cannot store; remove it"
        raise ValueError(msg)
    if not value.isascii() and not _is_unicode(value):
        msg = f"{name} holds half a surrogate pair, which is no character; decode it as UTF-8"
        raise ValueError(msg)
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def address(name: str, value: object, *, required: bool = False) -> str | None:
    """Return where a text or call comes from or goes to; its form is checked, not whether it exists."""
    found = text(name, value, required=required)
    if found is None or (not found and not required) or _ADDRESS.fullmatch(found):
        return found
    msg = f"{name} is no telephone number, short code or sender name; write numbers as +15550100"
    raise ValueError(msg)


def uuid(name: str, value: object) -> str | None:
    """Return the canonical form of a UUID."""
    if value is None:
        return None
    try:
        return str(UUID(str(value)))
    except ValueError:
        msg = f"{name} is no UUID"
        raise ValueError(msg) from None


def count(name: str, value: object, *, most: int = LARGEST_TOKENS) -> int | None:
    """Return a number from 0 to ``most``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        msg = f"{name} must be a whole number from 0 to {most}"
        raise ValueError(msg)
    return value


def usd(name: str, value: object) -> Decimal | None:
    """Return an amount in USD."""
    if value is None:
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < LARGEST_COST:
        msg = f"{name} must be an amount in USD from 0 to {LARGEST_COST - 1}"
        raise ValueError(msg)
    return amount


def instant(name: str, value: datetime | None) -> str:
    """Return an aware time in UTC as ISO 8601; now when none is given."""
    at = value or datetime.now(UTC)
    if not isinstance(at, datetime) or at.utcoffset() is None:
        msg = f"{name} must be a datetime with a time zone, such as datetime.now(UTC)"
        raise ValueError(msg)
    return at.astimezone(UTC).isoformat()


def payload(name: str, value: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return what JSON can hold."""
    if value is None:
        return {}
    try:
        written = json.dumps(value, allow_nan=False, ensure_ascii=False)
        written.encode()
    except (TypeError, ValueError, RecursionError):
        msg = f"{name} cannot be written as JSON; pass texts, finite numbers, lists and mappings"
        raise ValueError(msg) from None
    if not isinstance(value, Mapping) or len(written) > PAYLOAD_LIMIT or _NUL.search(written):
        msg = f"{name} must be a mapping of at most {PAYLOAD_LIMIT:,} characters as JSON, without NUL characters"
        raise ValueError(msg)
    return value
