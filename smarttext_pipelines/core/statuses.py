"""Message statuses: their rank, their class, and the values that look like keys and are none.

Source: Twilio's message status values, ordered as in the data contract, so that the status of a message is the
greatest among its rows and does not depend on the order of arrival.
"""

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

PLACEHOLDER_SIDS: Final = ("RATE_LIMITED",)
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
"""What Twilio gives, in any case, for a caller who withholds the number: the words, or their letters on a keypad."""

OWNER_REQUEST_SUFFIX: Final = "-owner"
RESET_ENDPOINT: Final = "daily_reset"
PIPELINE_ALERT_PREFIX: Final = "pipeline."

TEXT_LIMIT: Final = 100
"""Longest dimension text kept in a fact, in characters: longer keys would not fit into a btree entry."""
