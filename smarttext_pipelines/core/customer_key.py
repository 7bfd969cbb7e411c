"""How customers are told apart without their numbers: HMAC-SHA-256 under a secret, of which 128 bits are kept.

The secret enters a statement as the two blocks that HMAC makes of it, in a parameter table, and never in its text.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from uuid import UUID

from smarttext_pipelines.core.statuses import SEPARATORS, WHATSAPP_PREFIX, WITHHELD_CALLERS

_BLOCK = 64
CHANNEL_PREFIX = "^[a-z]{2,12}:"
"""What stands before a number of another channel, such as ``sms:`` or ``rcs:``."""


@dataclass(frozen=True)
class CustomerKey:
    """The two padded blocks of a secret, as hexadecimal digits."""

    inner: str = field(repr=False)
    outer: str = field(repr=False)

    @classmethod
    def of_secret(cls, secret: str) -> "CustomerKey":
        """Return the blocks of a secret."""
        raw = secret.encode()
        padded = (hashlib.sha256(raw).digest() if len(raw) > _BLOCK else raw).ljust(_BLOCK, b"\0")
        return cls(*(bytes(byte ^ pad for byte in padded).hex() for pad in (0x36, 0x5C)))

    def of_number(self, number: str) -> UUID | None:
        """Return the key of the customer with a number, or None for no number and a withheld one."""
        bare = bare_number(number)
        if bare is None:
            return None
        inner = hashlib.sha256(bytes.fromhex(self.inner) + bare.encode()).digest()
        return UUID(hashlib.sha256(bytes.fromhex(self.outer) + inner).hexdigest()[:32])


def bare_number(number: str) -> str | None:
    """Return a number without prefix and separators, as it is compared; None for none and for a withheld one."""
    bare = number.removeprefix(WHATSAPP_PREFIX).translate(dict.fromkeys(map(ord, SEPARATORS)))
    bare = re.sub(CHANNEL_PREFIX, "", bare)
    return None if not bare or bare.lower() in WITHHELD_CALLERS else bare


def fingerprint(key: CustomerKey) -> str:
    """Return eight digits by which two installations see whether they have the same secret."""
    return hmac.new(bytes.fromhex(key.inner), b"fingerprint", hashlib.sha256).hexdigest()[:8]
