"""Redacts whatever must not leave the process from any text, recognised by its form, not by a field's name.

Telephone numbers (``core/phones.py``), e-mail addresses, Twilio's sids and tokens, Slack's tokens and webhooks,
OpenAI's keys, JSON web tokens, passwords in URLs. A message text has no form of its own: it is recognised by its
surroundings in the places where texts leak: PostgreSQL's DETAIL, quoted values, statement parameters, quoted bodies.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from smarttext_pipelines.core.phones import without_numbers

_QUOTED = r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?)"""
# A repr or JSON writes a line end as an escaped letter.
_EDGE = r"(?:(?<![a-zA-Z0-9])|(?<=\\[nrt]))"
_EXAMPLE = r"(?!(?:USER:PASSWORD|KEY)@HOST\b)"

_FORMS: tuple[tuple[str, str, str], ...] = (
    # What PostgreSQL and SQLAlchemy quote of rows, up to what Python or SQLAlchemy appends: a text may span lines.
    (
        "detail: context:",
        r"\1: [row]",
        r"(?s)(?<![A-Z])(DETAIL|CONTEXT):.*?"
        r"(?=\n\n(?:The above|During handling)|\n\[(?:SQL|parameters): |\n\(Background on |\Z)",
    ),
    (
        "[parameters:",
        "[parameters: hidden]",
        r"(?s)\[parameters: (?!hidden\]).*?(?=\n\(Background on |\n\n(?:The above|During)|\Z)",
    ),
    (
        "invalid malformed range: value",
        r"\1[value]",
        r'(?s)(\b(?:invalid input \w+ for [\w ]+: |malformed \w+ literal: |out of range: |value ))"[^"]*"?',
    ),
    (
        "body content prompt",
        r"\1[text]",
        rf"""(?si)({_EDGE}(?:body|message_content|message_body|content|prompt)["']?\s*[:=]\s*){_QUOTED}""",
    ),
    ("body=", r"\1[text]", r"(Body=)(?!\[text\])[^&\s\"']+"),
    ("hooks.slack.com", "[slack webhook]", r"(?:https?://)?hooks\.slack\.com/\S+"),
    ("/services/", "[slack webhook]", r"/services/T\w+/B\w+/\w+"),
    # USER:PASSWORD@ of a database URL, KEY@ of a Sentry DSN; the host stays. Our own examples stay too.
    ("://", r"\1[secret]@", rf"((?:postgres|mysql|redis|amqp|mongodb)[a-z0-9+.-]{{0,20}}://){_EXAMPLE}[^\s\"'<>]+@"),
    ("://", r"\1[secret]@", rf"([a-z][a-z0-9+.-]{{0,20}}://){_EXAMPLE}[^\s/@\"']+@"),
    (
        "password passwd secret authtoken auth_token apikey api_key",
        r"\1[secret]",
        rf"""(?i)({_EDGE}(?:password|passwd|pgpassword|secret|auth_?token|api_?key)["']?\s*[:=]\s*)"""
        rf"""(?:{_QUOTED}|[^\s,;&)\]}}"']+)""",
    ),
    ("bearer basic", r"\1 [token]", rf"(?i){_EDGE}(bearer|basic)\s+(?=[^\s]*[\d=])[\w+/=.~-]{{12,}}"),
    ("eyj", "[token]", r"eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"),
    ("xox xapp", "[token]", rf"{_EDGE}x(?:ox[a-z]|app)[-.][\w.-]{{8,}}"),
    ("sk-", "[key]", rf"{_EDGE}sk-[\w-]{{16,}}"),
    ("", "[sid]", r"[A-Z]{2}(?:[0-9a-f]{32}(?![0-9a-f])|[0-9A-F]{32}(?![0-9A-F]))"),
    ("", "[token]", r"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])"),
    ("@ %40", "[e-mail]", r"(?<![\w.+-])[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"),
)
"""Words one of which the lower-case text must contain before it is searched, the replacement, and the pattern."""

_PATTERNS = tuple((tuple(words.split()), new, re.compile(form)) for words, new, form in _FORMS)
_WORDS = tuple(dict.fromkeys(word for words, _, _ in _PATTERNS for word in words))
_HEXADECIMAL = re.compile(r"[0-9a-f]{32}")
_MAX_PASSES = 4
SHORTEST_SECRET = 6
"""A shorter known secret is not searched for: it would match ordinary words."""


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text with everything personal or secret replaced by its kind in brackets.

    Args:
        text: Any text.
        secrets: Values that are secret here, in any form.
    """
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "[secret]")
    # What was redacted may have hidden the beginning of its neighbour.
    for _ in range(_MAX_PASSES):
        before, lower = text, text.lower()
        # Most texts hold nothing, and one question costs less than each pattern.
        if any(word in lower for word in _WORDS) or _HEXADECIMAL.search(lower):
            for words, replacement, pattern in _PATTERNS:
                if not words or any(word in lower for word in words):
                    text = pattern.sub(replacement, text)
        text = without_numbers(text)
        if text == before:
            break
    return text


def scrub_tree(value: Any, clean: Callable[[str], str] = scrub, *, keep: frozenset[str] = frozenset()) -> Any:
    """Return a copy of nested mappings and sequences whose every text, keys too, is redacted.

    Args:
        value: Anything JSON can hold; of anything else its ``repr`` is used. Numbers stay numbers.
        clean: Redacts a text.
        keep: Keys whose values are left alone, such as ids that look like tokens.
    """
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool | float | int):
        return value
    if isinstance(value, Mapping):
        return {
            clean(str(key)): inner if key in keep else scrub_tree(inner, clean, keep=keep)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub_tree(inner, clean, keep=keep) for inner in value]
    return clean(value.decode(errors="replace") if isinstance(value, bytes) else repr(value))
