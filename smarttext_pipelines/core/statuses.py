"""Message statuses: their rank and class, and values that look like keys, codes or callers but are not.

Source: Twilio's message status values, ordered as in the data contract, so that the status of a message is the
greatest among its rows and does not depend on the order of arrival.
"""

import re
from typing import Final, Literal

StatusClass = Literal["in_flight", "successful", "failed", "suppressed", "unknown"]

UNKNOWN: Final = "unknown"

RANK: Final[dict[str, int]] = {
    UNKNOWN: 0,
    "scheduled": 1,
    "accepted": 2,
    "queued": 3,
    "sending": 4,
    "rate_limited": 5,
    "skipped": 5,
    "sent": 6,
    "canceled": 7,
    "failed": 8,
    "undelivered": 9,
    "partially_delivered": 10,
    "delivered": 11,
    "read": 12,
}
"""Rank of a status in lower case; any other text ranks as ``unknown``. Equal ranks: the greater name wins."""

STATUS_CLASS: Final[dict[str, StatusClass]] = {
    "scheduled": "in_flight",
    "accepted": "in_flight",
    "queued": "in_flight",
    "sending": "in_flight",
    "sent": "successful",
    "delivered": "successful",
    "read": "successful",
    "failed": "failed",
    "undelivered": "failed",
    "partially_delivered": "failed",
    "rate_limited": "suppressed",
    "skipped": "suppressed",
    "canceled": "suppressed",
    UNKNOWN: "unknown",
}

FINAL_STATUSES: Final = ("delivered", "read", "undelivered", "failed", "partially_delivered")
"""Outcomes that no later report changes; their share is the coverage."""

DELIVERED_STATUSES: Final = ("delivered", "read")
INBOUND_STATUSES: Final = ("received", "receiving")

WORDS_FOR_NONE: Final = ("undefined", "null", "None", "NaN")
"""Texts that programs write for a missing value; as a sid or a request id they identify nothing."""

PLACEHOLDER_SIDS: Final = ("RATE_LIMITED", *WORDS_FOR_NONE)
"""Values written where a message sid belongs, shared by many messages."""

REPORT_REQUEST_ID: Final = "twilio-report"
"""``request_id`` of rows that only report on a message and never attempt one."""

WITHHELD_CALLERS: Final = (
    "anonymous",
    "restricted",
    "unavailable",
    "unknown",
    "+266696687",
    "+7378742833",
    "+2562533",
    "+86282452253",
)
"""What Twilio sends, in any case, for a caller who withholds the number: words, or their letters on a keypad."""

OWNER_REQUEST_SUFFIX: Final = "-owner"

PLACEHOLDER_REQUESTS: Final = (*WORDS_FOR_NONE, *(word + OWNER_REQUEST_SUFFIX for word in ("", *WORDS_FOR_NONE)))
"""Values written where a request id belongs, shared by many messages."""

MAX_ROWS_OF_A_KEY: Final = 200
"""Rows that one message or call can have on a day. Two writers, a report for each status and Twilio's webhook retries
make ten or twenty; ten times as many are several messages under one key."""

MAX_NUMBERS_OF_A_KEY: Final = 3
"""Recipients (callers) that rows of one message (call) can name on a day: one, in a few spellings at most."""

CODE_PATTERN: Final = "(^|[^0-9])([0-9]{4,6})([^0-9]|$)"
"""The first run of four to six digits, its second group, is the error code; Twilio's have five."""

WORDS_FOR_NO_CODE: Final = ("unknown", "undefined", "null", "none", "nil", "nan", "n/a", "na", "-", "0")
"""Error codes, in lower case and without spaces, that say there is none."""

SEPARATORS: Final = (
    " \t\n\r\v\f-.()/"
    "\u00a0\u00ad\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200e\u200f"
    "\u2010\u2011\u2012\u2013\u2014\u2015\u202a\u202c\u202f\u2060\u2212\u3000\ufeff"
)
"""Spaces, hyphens, invisible marks and the like, which do not distinguish telephone numbers."""

WHATSAPP_PREFIX: Final = "whatsapp:"
RESET_ENDPOINT: Final = "daily_reset"
PIPELINE_ALERT_PREFIX: Final = "pipeline."

TEXT_LIMIT: Final = 100
"""Longest dimension text kept in a fact, in characters: longer keys would not fit into a btree entry."""


def counted_code(text: str | None) -> tuple[int, str]:
    """Return the error code that a text counts as, and how much it says: 2 a number, 1 a word, 0 nothing."""
    if found := re.search(CODE_PATTERN, text or ""):
        return 2, found[2]
    word = text or ""
    return (0, "") if word.lower().replace(" ", "") in ("", *WORDS_FOR_NO_CODE) else (1, word)
