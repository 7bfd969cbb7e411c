"""One scrubber: takes out of any text what must not leave the process, found by its form, not by a field's name.

Telephone numbers, e-mail addresses, Twilio's sids and tokens, Slack's tokens and webhooks, OpenAI's keys, JSON web
tokens, and passwords in URLs. Rather too much than too little: a bare number of ten or eleven digits counts as one.
"""

import re

_FORMS: tuple[tuple[str, str], ...] = (
    ("[slack webhook]", r"https?://hooks\.slack\.com/\S+"),
    # user:password@ of a database URL, key@ of a Sentry DSN; the host stays, it tells where.
    (r"\1[secret]@", r"\b([a-z][a-z0-9+.-]*://)[^\s/@\"']+@"),
    ("[token]", r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"),
    ("[token]", r"\bx(?:ox[a-z]|app)-[\w-]{8,}"),
    ("[key]", r"\bsk-[\w-]{16,}"),
    ("[sid]", r"\b[A-Z]{2}[0-9a-fA-F]{32}\b"),
    ("[token]", r"\b[0-9a-fA-F]{32}\b"),
    ("[e-mail]", r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    ("[phone]", r"\+\d(?:[ ().-]{0,2}\d){6,14}"),
    ("[phone]", r"(?<![\w.+-])(?<!\d:)(?:1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?![\w-])"),
    ("[phone]", r"(?<![\w.+-])(?<!\d:)1?\d{10}(?![\w-]|[.:]\d)"),
)
_PATTERNS = tuple((replacement, re.compile(pattern)) for replacement, pattern in _FORMS)


def scrub(text: str) -> str:
    """Return the text with everything personal or secret replaced by its kind in brackets."""
    for replacement, pattern in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def mask_phone(number: str | None) -> str:
    """Return a telephone number of which only the last two digits can be read."""
    digits = re.sub(r"\D", "", number or "")
    return f"•••{digits[-2:]}" if len(digits) >= 4 else "•••"
