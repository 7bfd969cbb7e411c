"""How the outbox refers to people: the same for the same number or address, and neither of them."""

import hashlib


def reference(number: str, kind: str = "phone") -> str:
    """Return the reference to a telephone number or, with ``mail``, to an address."""
    return f"{kind}-{hashlib.sha256(number.encode()).hexdigest()[:12]}"
