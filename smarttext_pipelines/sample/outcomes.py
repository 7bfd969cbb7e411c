"""What becomes of each text: how the sending was recorded, what the carrier did, and how late that is reported."""

from dataclasses import dataclass

import numpy as np

from smarttext_pipelines.sample import event_columns, planted_incidents
from smarttext_pipelines.sample.conversations import Contacts
from smarttext_pipelines.sample.event_columns import Bools, Floats, Ints
from smarttext_pipelines.sample.profiles import businesses_of
from smarttext_pipelines.sample.spec import HOUR_US, SampleSpec

HANDED_OVER, REFUSED, LIMITED, SKIPPED = range(4)
"""What sending came to: a sid, an error without a sid, the placeholder sid, nothing."""
_KIND_WEIGHTS = (0.981, 0.009, 0.008, 0.002)

_RECORDED = {
    "queued": 0.885, "Queued": 0.03, "QUEUED": 0.01, "accepted": 0.03, "sending": 0.015, "sent": 0.015,
    "scheduled": 0.005, "mock_sent": 0.004, "ok": 0.003, "unknown (timeout)": 0.003,
}  # fmt: skip
_REFUSED_STATUSES = ("failed", "rate_limited", "skipped")
_REACHED = {"delivered": 0.925, "Delivered": 0.01, "read": 0.01, "sent": 0.053, "canceled": 0.002}
_FAILED = {"undelivered": 0.76, "Undelivered": 0.02, "failed": 0.2, "partially_delivered": 0.02}
STATUSES = (*_RECORDED, *_REFUSED_STATUSES, *_REACHED, *_FAILED)
SENT = STATUSES.index("sent")
RECEIVED = "received"

_ERRORS = {
    "30003": ("Unreachable destination handset", 0.34),
    "30005": ("Unknown destination handset", 0.2),
    "30006": ("Landline or unreachable carrier", 0.16),
    "30007": ("Message filtered", 0.07),
    "30008": ("Unknown error", 0.17),
    "21610": ("Attempt to send to unsubscribed recipient", 0.06),
    "21211": ("Invalid 'To' Phone Number", 0.0),
    "30034": ("Message from an unregistered number", 0.0),
}
CODES = (None, "", *_ERRORS)
MESSAGES = (None, None, *(text for text, _ in _ERRORS.values()))
NO_CODE, EMPTY_CODE = 0, 1

_FAILING_SHARE, _REPORTED_SHARE = 0.028, 0.87
_LATE_US = ((0.94, 0, 0), (0.045, HOUR_US // 6, 12 * HOUR_US), (0.0142, 12 * HOUR_US, 72 * HOUR_US),
            (0.0008, 125 * HOUR_US, 150 * HOUR_US))  # fmt: skip
"""Shares of the reports and their delay beyond the usual seconds; the last ones come after the settle window."""


@dataclass(frozen=True)
class Outcomes:
    """One element per text; statuses and codes are indexes into STATUSES and CODES."""

    kind: Ints
    recorded_status: Ints
    recorded_code: Ints
    reported: Bools
    final_status: Ints
    final_code: Ints
    delay: Ints


def draw_outcomes(spec: SampleSpec, rng: np.random.Generator, texts: Contacts) -> Outcomes:
    """Return what becomes of the texts; an incident changes outcomes and nothing else of the day."""
    rows = len(texts)
    kind = event_columns.draw_index(rng, rows, _KIND_WEIGHTS)
    recorded = event_columns.draw_index(rng, rows, list(_RECORDED.values()))
    usual = event_columns.draw_index(rng, rows, [weight for _, weight in _ERRORS.values()])
    failing = rng.random(rows) < _FAILING_SHARE * businesses_of(spec).failure_factor[texts.business]
    failing, code = _strike(spec, rng.random(rows), texts, failing, len(CODES) - len(_ERRORS) + usual)
    reached = event_columns.draw_index(rng, rows, list(_REACHED.values()))
    failed = event_columns.draw_index(rng, rows, list(_FAILED.values()))
    refusal = np.where(rng.random(rows) < 0.55, CODES.index("21610"), CODES.index("21211"))
    blank = np.where(rng.random(rows) < 0.1, EMPTY_CODE, NO_CODE)
    first_refused = len(_RECORDED)
    first_reached = first_refused + len(_REFUSED_STATUSES)
    return Outcomes(
        kind=kind,
        recorded_status=np.where(kind == HANDED_OVER, recorded, first_refused + kind - REFUSED),
        recorded_code=np.where(kind == REFUSED, refusal, blank),
        reported=(kind == HANDED_OVER) & (rng.random(rows) < _REPORTED_SHARE),
        final_status=first_reached + np.where(failing, len(_REACHED) + failed, reached),
        final_code=np.where(failing, code, blank),
        delay=_draw_delay(rng, rows),
    )


def _strike(spec: SampleSpec, u: Floats, texts: Contacts, failing: Bools, code: Ints) -> tuple[Bools, Ints]:
    """Return who fails, and why, after the incidents."""
    waves = (
        (planted_incidents.filtering(spec), planted_incidents.FILTERED_SHARE, "30007"),
        ((planted_incidents.registration(spec),), planted_incidents.UNREGISTERED_SHARE, "30034"),
    )
    for wave, share, reason in waves:
        struck = planted_incidents.covered(wave, texts.business, texts.at) & (u < share)
        failing, code = failing | struck, np.where(struck, CODES.index(reason), code)
    return failing, code


def _draw_delay(rng: np.random.Generator, rows: int) -> Ints:
    shares, shortest, longest = (np.array(part) for part in zip(*_LATE_US, strict=True))
    late = event_columns.draw_index(rng, rows, shares.tolist())
    extra: Ints = (shortest[late] + (longest - shortest)[late] * rng.random(rows)).astype(np.int64)
    return event_columns.long_tailed(rng, rows, 5, 1.2, 300) + extra
