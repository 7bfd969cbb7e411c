"""The key of a customer: HMAC-SHA-256 of the number in E.164 under a secret, so that no number is stored twice.

Engines compute it where the rows are, as SHA-256 of the outer block and of SHA-256 of the inner block and the number.
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

INTERNATIONAL: Final = r"^(\+|00|011)?[1-9][0-9]{6,14}$"
"""A number with its country; a leading zero that is no international prefix leaves it unknown."""

PREFIXES: Final = r"^(\+|00|011)"

KEY_PATTERN: Final = "^[0-9a-f]{64}$"
_WITHOUT_SEPARATORS = str.maketrans("", "", SEPARATORS)


def e164(number: str | None) -> str | None:
    """Return a number with plus and country, whatever its spelling; None where it is withheld or has no country."""
    bare = (number or "").removeprefix(WHATSAPP_PREFIX).translate(_WITHOUT_SEPARATORS)
    if bare.lower() in WITHHELD_CALLERS:
        return None
    if re.match(NATIONAL, bare):
        return f"+1{bare}"
    return "+" + re.sub(PREFIXES, "", bare) if re.match(INTERNATIONAL, bare) else None


def customer_key(number: str | None, secret: bytes) -> str | None:
    """Return the key of a number as 64 hexadecimal digits; None for a number that is nobody's."""
    found = e164(number)
    return hmac.new(secret, found.encode(), hashlib.sha256).hexdigest() if found else None


def padded_blocks(secret: bytes) -> tuple[str, str]:
    """Return the inner and the outer block of HMAC-SHA-256 under a secret, as hexadecimal digits; both are secret."""
    short = hashlib.sha256(secret).digest() if len(secret) > BLOCK_BYTES else secret
    block = short.ljust(BLOCK_BYTES, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in block).hex() for pad in (0x36, 0x5C))
    return inner, outer
