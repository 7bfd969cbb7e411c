"""Messages of every kind as people get them: the page ``docs/messages.md``, which a test compares."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.lifecycle import Incident, Severity, State
from smarttext_pipelines.alerting.incidents.notices import Told
from smarttext_pipelines.alerting.measuring.measure import Row
from smarttext_pipelines.alerting.notify.compose import Setting, compose
from smarttext_pipelines.alerting.notify.markup import PLAIN
from smarttext_pipelines.alerting.notify.message import Message, full_text, sms_text
from smarttext_pipelines.alerting.rules.judge import Measured
from smarttext_pipelines.alerting.rules.rules_file import load_rules

NOW = datetime(2026, 3, 16, 15, 50, tzinfo=UTC)
"""A Monday, 11:50 in New York."""

RULES = load_rules(None)
SCOPE = "business:0b0e7a52-6f0e-4d5c-9a55-0c35b1f7a001"
SHARING = UUID("0b0e7a52-6f0e-4d5c-9a55-0c35b1f7a002")
"""A business with the number of ``SCOPE``."""

TAG = "3f9a1c07be"
DETAILS = {
    "attempted": Decimal(66),
    "final": Decimal(61),
    "codes": [["30007", 19], ["30003", 3], ["30500", 1]],
    "customers": 21,
    "unreached": 9,
    "counted_elsewhere": Decimal(1),
    "among_elsewhere": Decimal(1204),
    "least": Decimal("1.2"),
    "most": Decimal("4.0"),
    "days": 7,
    "failed_otherwise": None,
    "owners": [],
}


def _told(
    rule: str, part: float, whole: float, value: float, *, scope: str = SCOPE, severity: str = "critical",
    kind: str = "firing", label: str | None = None, minutes: int = 120, id_: int = 214,
) -> Told:  # fmt: skip
    known = RULES[rule]
    incident = Incident(
        State.firing,
        Severity[severity],
        since=NOW - timedelta(minutes=6),
        fired_at=NOW - timedelta(minutes=4),
        peak=value,
    )
    business = UUID(scope.split(":")[1]) if scope.startswith("business:") else None
    measured = Measured(
        part,
        whole,
        value,
        True,
        known.thresholds_for(business, None),
        first_at=NOW - timedelta(minutes=min(minutes, 71)) if known.alert_metric.counts_messages else None,
    )
    row = Row(rule, scope, known.scope, business, label, minutes, measured)
    return Told(Stored(id_, (rule, scope), business, incident, 1, (value, part, whole)), kind, row)  # type: ignore[arg-type]


def samples() -> dict[str, Message]:
    """Return a message of every kind, by what it is."""
    rate = _told("sms_failure_rate", 23, 61, 37.7)
    over = replace(
        rate.stored.incident,
        state=State.resolved,
        resolved_at=NOW + timedelta(minutes=31),
        reason="recovered",
        peak=41.2,
    )
    setting = Setting(
        ZoneInfo("America/New_York"),
        "http://127.0.0.1:3000/assets/alert_incidents",
        NOW,
        {SCOPE: "Hartley Plumbing", f"business:{SHARING}": "Rossi Dental", "sender:5ceb70ab0c49": "+15550100007"},
        {
            rate.stored.key: DETAILS,
            ("registration_errors", "sender:5ceb70ab0c49"): {
                **DETAILS,
                "codes": [["30034", 4]],
                "among_elsewhere": None,
                "days": None,
                "owners": [[SCOPE.split(":")[1], 3], [str(SHARING), 1]],
                "failures": [
                    [SCOPE.split(":")[1], "30034", 3],
                    [SCOPE.split(":")[1], "30007", 20],
                    [str(SHARING), "30034", 1],
                ],
                "failed_otherwise": 20,
                "customers": 4,
                "unreached": 4,
            },
        },
    )
    told = {
        "A business whose texts fail": rate,
        "It becomes worse": replace(rate, notice="worse"),
        "It goes on": replace(rate, notice="repeat"),
        "It is over": replace(
            rate, notice="resolved", row=None, stored=replace(rate.stored, incident=over, value=(0, 2, 64))
        ),
        "Many businesses at once": Told(
            replace(rate.stored, key=("sms_failure_rate", "group"), value=(7, 7, 7)), "firing", members=[rate] * 7
        ),
        "A number that is not registered": replace(
            _told("registration_errors", 4, 4, 4, scope="sender:5ceb70ab0c49", minutes=360),
            inhibited=[UUID(SCOPE.split(":")[1]), SHARING],
        ),
        "A budget": _told("openai_budget", 104_000, 100_000, 104, label="tokens"),
        "Spend": _told(
            "openai_spend", 12.4, 12.4, 6.2, severity="warning", label="2.00 USD a day on the 7 days before"
        ),
        "Silence": _told(
            "event_silence",
            0,
            18,
            100,
            severity="warning",
            minutes=180,
            label="in the same hours of each of 4 weeks before",
        ),
        "A failed run": _told(
            "pipeline_failures",
            1,
            1,
            1,
            scope="run:rollup_job@2026-03-15",
            label="the database is away: connection refused (run 1f0c9a3e)",
        ),
        "A failed check": _told(
            "failed_checks",
            1,
            1,
            1,
            severity="info",
            scope="check:sms_outcomes.error_codes_mapped@2026-03-15",
            label="10 of 31 failed texts on 2026-03-15 have a code of no class: 99999. Look the code up.",
        ),
        "A channel that is dead": _told(
            "notifications_dead", 2, 2, 2, scope="channel:twilio_sms", label="401, code 20003"
        ),
    }
    return {what: compose(each, RULES.get(each.stored.key[0]), setting) for what, each in told.items()}


def page() -> str:
    """Return the page."""
    lines = [
        "# Messages",
        "",
        "What alerts look like, in the log and in mail, and as a text message; in Slack an address is a link. "
        "Generated by `make docs`.",
    ]
    for what, message in samples().items():
        texts = [full_text(message, PLAIN), sms_text(message, TAG)]
        lines += ["", f"## {what}", "", *(line for text in texts for line in ("```", text, "```"))]
    return "\n".join(lines) + "\n"
