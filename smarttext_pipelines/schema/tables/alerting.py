"""Alerting: incidents, the outbox of their notifications, silences, signals. They contain no telephone number."""

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, Integer, Numeric, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata


def _number(comment: str) -> "Column[int]":
    return Column("id", BigInteger, Identity(always=True), primary_key=True, comment=comment)


def _required(name: str, type_: object, comment: str, default: str | None = None) -> "Column[object]":
    return column(name, type_, comment, nullable=False, server_default=text(default) if default else None)


incidents = Table(
    "incidents",
    metadata,
    _number("Number of the incident; people write INC- before it."),
    _required("rule", Text, "Rule of the file of rules, or a rule of the pipeline itself."),
    _required("scope", Text, "platform, business:<id>, sender:<digest>, or what of the pipeline it concerns."),
    column("business_id", Uuid, "Business of the scope."),
    _required("state", Text, "pending, firing, recovering or resolved."),
    _required("severity", Text, "info, warning or critical, as of the last breach."),
    _required("since", Instant, "When the trouble began: the first of what was counted, else the first breach."),
    _required("breaches", Integer, "Evaluations in breach until it fired.", "0"),
    column("fired_at", Instant, "When it fired."),
    column("clear_since", Instant, "Since when it has been clear."),
    column("resolved_at", Instant, "When it ended."),
    column("reason", Text, "Why it ended: recovered, window rolled, rule removed, business removed."),
    column("value", Numeric, "Value at the last evaluation, in the unit of the rule's metric."),
    column("part", Numeric, "k of k of n at the last evaluation."),
    column("whole", Numeric, "n of k of n at the last evaluation."),
    column("peak", Numeric, "Worst value of the episode."),
    column("told", Text, "Worst severity that was notified; NULL while nobody was notified."),
    column("acknowledged", Text, "Severity at which it was acknowledged."),
    column("acknowledged_by", Text, "Who acknowledged it."),
    column(
        "held_by", Text, "What suppresses the next notice: a silence, an incident that inhibits, a group, the baseline."
    ),
    column("muted_by", Text, "Baseline or group incident that covers this one, until it becomes worse."),
    column("muted_severity", Text, "Severity up to which that one covers it."),
    _required("sequence", Integer, "Number of the last notice.", "0"),
    _required("evaluated_at", Instant, "When its state was last computed."),
    column("counted_at", Instant, "When the last of what was counted began."),
    column("window_minutes", Integer, "Length of the window of the value; -1 where it is of the last texts."),
    column("window_start", Instant, "First instant of that window."),
    column("window_end", Instant, "When the value was measured."),
    column("apart", Uuid, "Business that was left out, because it has an incident of its own."),
    column("detail", Text, "What the pipeline reported; numbers and secrets are masked."),
    Index("incidents_open_key", "rule", "scope", unique=True, postgresql_where=text("state <> 'resolved'")),
    Index("incidents_fired_at_idx", "fired_at"),
    schema=MONITORING,
    comment="One row per episode of a rule and a scope; at most one of them is open.",
)

notifications = Table(
    "notifications",
    metadata,
    _number("Order of the notification."),
    _required(
        "tag",
        Text,
        "Short mark in the message by which it is found at the provider.",
        "substr(replace(gen_random_uuid()::text, '-', ''), 1, 10)",
    ),
    _required("incident_id", BigInteger, "Incident that it is about; 0 for a test, below 0 for the digest of a day."),
    _required("sequence", Integer, "Number of the notice within the incident."),
    _required("kind", Text, "firing, worse, repeat, resolved, baseline, digest or test."),
    _required("severity", Text, "info, warning or critical."),
    _required("channel", Text, "Channel, by its name in docs/alerting.md."),
    _required("recipient", Text, "Reference to the recipient; the number or URL is resolved when it is sent."),
    _required("message", JSONB, "The message, before a channel renders it."),
    _required("status", Text, "pending, sending, sent, unknown, dead or suppressed.", "'pending'"),
    _required("attempts", Integer, "How often sending was begun.", "0"),
    _required("may_have_arrived", Boolean, "Whether an attempt ended without an answer.", "false"),
    column("claimed_by", Text, "Worker that holds the lease."),
    column("lease_until", Instant, "End of the lease."),
    _required("due_at", Instant, "When it may be claimed next.", "clock_timestamp()"),
    _required("deadline_at", Instant, "After that it is given up."),
    column("provider_id", Text, "The provider's id of the message."),
    column("note", Text, "Last error, or what suppressed it; numbers and secrets are masked."),
    _required("created_at", Instant, "When it was enqueued.", "clock_timestamp()"),
    column("first_attempt_at", Instant, "When sending first began."),
    column("finished_at", Instant, "When it was sent, found, given up or suppressed."),
    Index("notifications_key", "incident_id", "sequence", "channel", "recipient", unique=True),
    Index("notifications_open_idx", "due_at", postgresql_where=text("status IN ('pending', 'sending', 'unknown')")),
    Index("notifications_created_at_idx", "created_at"),
    schema=MONITORING,
    comment="Outbox: the notifications of incidents, their recipients, and what became of them.",
)

silences = Table(
    "silences",
    metadata,
    _number("Number of the silence."),
    column("rule", Text, "Rule it concerns; NULL for all."),
    column("scope", Text, "Scope it concerns; NULL for all."),
    _required("author", Text, "Who silenced."),
    _required("reason", Text, "Why."),
    _required("starts_at", Instant, "From when.", "now()"),
    _required("ends_at", Instant, "Until when; what still fires then is notified at once."),
    schema=MONITORING,
    comment="Notices that somebody suppresses for a while; evaluation continues.",
)

signals = Table(
    "alert_signals",
    metadata,
    column("signal", Text, "Metric of the rules that read it, such as pipeline_failures.", primary_key=True),
    column("scope", Text, "What it concerns, such as job:rollup_job.", primary_key=True),
    _required("value", Numeric, "Present value; 0 when all is well."),
    column("detail", Text, "Reason in one line; numbers and secrets are masked."),
    column("subject", JSONB, "What was run, so that it can be seen when that very thing is well."),
    _required("told_at", Instant, "When it was last reported.", "clock_timestamp()"),
    schema=MONITORING,
    comment="What other parts of the pipeline report to the rules: one row per signal and scope, the last value.",
)

rule_states = Table(
    "rule_states",
    metadata,
    column("rule", Text, "Rule.", primary_key=True),
    _required("verdict", Text, "ok, breach, no_traffic, stale, not_applicable or error; the worst over its scopes."),
    column("note", Text, "Why there is no answer."),
    _required("breaches", Integer, "Scopes in breach.", "0"),
    _required("evaluated_at", Instant, "When."),
    schema=MONITORING,
    comment="What the last evaluation said of each rule.",
)

targets = Table(
    "alert_targets",
    metadata,
    column("channel", Text, "Channel.", primary_key=True),
    column("recipient", Text, "Reference to the recipient.", primary_key=True),
    _required("seen_at", Instant, "When a process that has the channel configured last said so."),
    schema=MONITORING,
    comment="Channels and recipients that some process can serve, so that one without credentials enqueues for them.",
)
