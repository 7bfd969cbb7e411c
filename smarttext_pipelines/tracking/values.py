"""Key values. A function returns the value as it is written, or raises ValueError that says what to do."""

import operator
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from uuid import UUID

TEXT_LIMIT = 65_536
"""Characters of one text at most."""

LARGEST_TOKENS = 2**31 - 1
"""``api_usage.tokens_used`` is an integer of four bytes."""

LARGEST_COST = Decimal(10) ** 12

_FINEST_COST, _WIDE = Decimal(1).scaleb(-18), Context(prec=60)


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


def uuid(name: str, value: object) -> str | None:
    """Return the canonical form of a UUID."""
    if value is None:
        return None
    try:
        return str(UUID(str(value)))
    except ValueError:
        msg = f"{name} is no UUID"
        raise ValueError(msg) from None


def count(name: str, value: object, *, maximum: int = LARGEST_TOKENS) -> int | None:
    """Return a number from 0 to ``maximum``."""
    if value is None:
        return None
    try:
        number = int(value) if isinstance(value, float) and value.is_integer() else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if isinstance(value, bool) or not 0 <= number <= maximum:
        msg = f"{name} must be a whole number from 0 to {maximum}"
        raise ValueError(msg)
    return number


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
    # Beyond these digits PostgreSQL, too, has no number.
    return amount if amount.as_tuple().exponent >= -18 else amount.quantize(_FINEST_COST, context=_WIDE)  # type: ignore[operator]


def instant(name: str, value: datetime | None) -> str:
    """Return an aware time in UTC as ISO 8601; now when none is given."""
    at = datetime.now(UTC) if value is None else value
    if not isinstance(at, datetime) or at.utcoffset() is None:
        msg = f"{name} must be a datetime with a time zone, such as datetime.now(UTC)"
        raise ValueError(msg)
    try:
        return at.astimezone(UTC).isoformat()
    except OverflowError:
        msg = f"{name} is in no year from 1 to 9999"
        raise ValueError(msg) from None
