"""The key of a customer: HMAC-SHA-256 of the number in E.164 under a secret, so that no number is stored twice.

Engines compute it where the rows are, as SHA-256 of the outer block and of SHA-256 of the inner block and the number.
How a number is spelled is decided here alone: ``e164`` in Python, ``e164_in_sql`` in hand-written statements, and
``metrics.numbers.e164`` in metrics read the same patterns.
"""

import hashlib
import hmac
import re
from typing import Final

from smarttext_pipelines.core.statuses import SEPARATORS, WHATSAPP_PREFIX, WITHHELD_CALLERS

BLOCK_BYTES: Final = 64
"""Size of a block of SHA-256."""

NATIONAL: Final = "^[2-9][0-9]{9}$"
"""A number of North America without its country."""

INTERNATIONAL: Final = r"^(\+|00|011)?([1-9][0-9]{6,14})$"
"""A number with its country, whose digits are ``DIGITS``; a leading zero that is no international prefix leaves it
unknown."""

DIGITS: Final = r"\2"

CANONICAL: Final = r"^\+[1-9][0-9]*$"
"""A number that is spelled in E.164 already, if it is as long as ``CANONICAL_LENGTHS`` say: ``INTERNATIONAL`` without
alternatives, which take ten times as long to look for."""

CANONICAL_LENGTHS: Final = (8, 16)
"""Characters of the shortest and of the longest number of ``INTERNATIONAL``, with the plus."""

KEY_PATTERN: Final = "^[0-9a-f]{64}$"
_WITHOUT_SEPARATORS = str.maketrans("", "", SEPARATORS)


def e164(number: str | None) -> str | None:
    """Return a number with plus and country, whatever its spelling; None where it is withheld or has no country."""
    bare = (number or "").translate(_WITHOUT_SEPARATORS).removeprefix(WHATSAPP_PREFIX)
    if re.match(NATIONAL, bare):
        return f"+1{bare}"
    found = re.sub(INTERNATIONAL, "+" + DIGITS, bare) if re.match(INTERNATIONAL, bare) else None
    return None if found in WITHHELD_CALLERS else found


def separators_in_sql() -> str:
    """Return what does not distinguish numbers as an SQL literal in which every character is visible."""
    return "E'" + "".join(sign if sign in " -.()/" else f"\\u{ord(sign):04x}" for sign in SEPARATORS) + "'"


def e164_in_sql(number: str) -> str:
    """Return the expression by which PostgreSQL reads a column, or a variable, as ``e164`` does."""
    bare = f"regexp_replace(translate({number}, {separators_in_sql()}, ''), '^{WHATSAPP_PREFIX}', '')"
    found = f"regexp_replace(regexp_replace({bare}, '{NATIONAL}', '+1\\&'), '{INTERNATIONAL}', '+{DIGITS}')"
    for withheld in WITHHELD_CALLERS:
        found = f"nullif({found}, '{withheld}')" if withheld.startswith("+") else found
    return rf"substring({found} FROM '^\+[1-9][0-9]{{6,14}}$')"


def customer_key(number: str | None, secret: bytes) -> str | None:
    """Return the key of a number as 64 hexadecimal digits; None for a number that is nobody's."""
    found = e164(number)
    return hmac.new(secret, found.encode(), hashlib.sha256).hexdigest() if found else None


def fingerprint(secret: bytes) -> str:
    """Return what tells two secrets apart, 16 hexadecimal digits; no number has it as its key."""
    return hmac.new(secret, b"fingerprint of the secret", hashlib.sha256).hexdigest()[:16]


def padded_blocks(secret: bytes) -> tuple[str, str]:
    """Return the inner and the outer block of HMAC-SHA-256 under a secret, as hexadecimal digits; both are secret."""
    short = hashlib.sha256(secret).digest() if len(secret) > BLOCK_BYTES else secret
    block = short.ljust(BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block).hex() for pad in (0x36, 0x5C))
    return inner, outer
