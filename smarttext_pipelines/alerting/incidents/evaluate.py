"""One evaluation: measure, decide, write incidents and enqueue what is told of them, in one transaction.

Whoever evaluates at the same time waits for nothing: one of them does it. What was committed is not told twice, because
a notice has its number within the incident.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.alerting.channels.channel import Channel
from smarttext_pipelines.alerting.incidents.incident_store import Stored, read_open, write
from smarttext_pipelines.alerting.incidents.lifecycle import Incident, Severity, State, Verdict
from smarttext_pipelines.alerting.incidents.transitions import Around, Plan, Silence, Told, hold_back, plan
from smarttext_pipelines.alerting.measuring.measure import Measurement, measure
from smarttext_pipelines.alerting.measuring.now import Place, read_sql
from smarttext_pipelines.alerting.metrics.metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.notify.compose import Setting, compose
from smarttext_pipelines.alerting.notify.message import Message
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.notify.targets import Target, register, targets_of
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key, minutes_of
from smarttext_pipelines.core.days import day_of
from smarttext_pipelines.core.statuses import FINAL_STATUSES
from smarttext_pipelines.database.connect import connected

SHARED_FATE = "shared fate: Twilio is what is broken"
_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('smarttext:alerts', 0))")
_IS_FIRST = text("SELECT NOT EXISTS (SELECT FROM monitoring.rule_states)")
_SILENCES = text(
    "SELECT id, rule, scope FROM monitoring.silences WHERE starts_at <= :now AND ends_at > :now ORDER BY id"
)
_BUSINESSES = text(
    """
    SELECT id, 'sender:' || left(md5(twilio_phone), 12) AS sender FROM monitoring.businesses
    WHERE id = ANY (CAST(:ids AS uuid[]))
    """
)
_NAMES = text("SELECT 'business:' || id, name FROM monitoring.businesses WHERE 'business:' || id = ANY (:scopes)")
_WHO_WAS_TOLD = text(
    """
    SELECT DISTINCT incident_id, channel, recipient FROM monitoring.notifications
    WHERE incident_id = ANY (:ids) AND kind <> 'resolved'
        AND (status IN ('pending', 'sending', 'unknown', 'sent') OR may_have_arrived)
    """
)
_TEXTS_THIS_HOUR = text(
    """
    SELECT recipient, count(*) FROM monitoring.notifications
    WHERE channel = 'twilio_sms' AND status <> 'suppressed' AND created_at > clock_timestamp() - interval '1 hour'
    GROUP BY recipient
    """
)
_STATES = text(
    """
    INSERT INTO monitoring.rule_states (rule, verdict, note, breaches, evaluated_at)
    SELECT rule, verdict, note, breaches, :now FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS s (rule text, verdict text, note text, breaches integer)
    ON CONFLICT (rule) DO UPDATE
    SET verdict = EXCLUDED.verdict, note = EXCLUDED.note, breaches = EXCLUDED.breaches,
        evaluated_at = EXCLUDED.evaluated_at
    """
)
_FORGET_STATES = text("DELETE FROM monitoring.rule_states WHERE rule <> ALL (:rules)")


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation did.

    Attributes:
        is_skipped: Whether somebody else was evaluating.
        open: Incidents that are firing or recovering.
        notices: Notices by kind that were enqueued.
        verdicts: By rule.
    """

    is_skipped: bool = False
    open: int = 0
    notices: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


def evaluate(
    engine: Engine,
    rules: Mapping[str, Rule],
    channels: Sequence[Channel],
    place: Place,
    *,
    now: datetime,
    ui_url: str,
    texts_per_hour: int = 10,
) -> Evaluated:
    """Evaluate all rules once.

    Args:
        engine: Event database.
        rules: By name.
        channels: Channels of this process.
        place: Zone and the like.
        now: Time of the evaluation.
        ui_url: Where the UI is, for links.
        texts_per_hour: Most texts a recipient gets in an hour, but for the end of something.

    Raises:
        DatabaseError: Nothing was written.
    """
    with connected(engine) as connection, connection.begin():
        if not connection.execute(_LOCK).scalar():
            return Evaluated(is_skipped=True)
        stored = read_open(connection)
        found = measure(connection, rules, place, now=now, open_keys=stored.keys())
        done = plan(rules, found, stored, _around(connection, found, stored, now))
        targets = register(connection, channels)
        texts = {recipient: count for recipient, count in connection.execute(_TEXTS_THIS_HOUR)}
        _hold_back_what_reaches_nobody(done, stored, _Sieve(rules, targets, dict(texts), texts_per_hour))
        written = {s.key: s for s in write(connection, done.changed, done.gone, now)}
        told = [replace(t, stored=_numbered(t.stored, written)) for t in done.told]
        told += _baseline(connection, done, now)
        setting = _setting(connection, told, place, now, ui_url, rules)
        items = _addressed(connection, told, setting, _Sieve(rules, targets, texts, texts_per_hour))
        enqueue(connection, items)
        _write_states(connection, done, now)
    return _summary(done, written, stored, items)


def _summary(
    done: Plan, written: Mapping[Key, Stored], stored: Mapping[Key, Stored], items: Sequence[Enqueued]
) -> Evaluated:
    gone = {each.key for each in done.gone}
    now_open = {**{k: s for k, s in stored.items() if k not in gone}, **written}
    kinds: dict[str, int] = {}
    for kind in {(item.incident, item.sequence, item.message.kind) for item in items if item.note is None}:
        kinds[kind[2]] = kinds.get(kind[2], 0) + 1
    verdicts = {name: verdict for name, (verdict, _, _) in done.verdicts.items()}
    return Evaluated(open=sum(s.incident.is_firing for s in now_open.values()), notices=kinds, verdicts=verdicts)


def _numbered(stored: Stored, written: Mapping[Key, Stored]) -> Stored:
    return replace(stored, id=written[stored.key].id) if stored.key in written else stored


def _around(connection: Connection, found: Measurement, stored: Mapping[Key, Stored], now: datetime) -> Around:
    ids = {row.business_id for row in found.rows.values()} | {s.business_id for s in stored.values()}
    known = connection.execute(_BUSINESSES, {"ids": [str(each) for each in ids if each]}).all()
    silences = [Silence(row.id, row.rule, row.scope) for row in connection.execute(_SILENCES, {"now": now})]
    return Around(
        now=now,
        silences=silences,
        senders={row.id: row.sender for row in known if row.sender},
        businesses={row.id for row in known},
        is_first=bool(connection.execute(_IS_FIRST).scalar()),
    )


def _baseline(connection: Connection, done: Plan, now: datetime) -> list[Told]:
    """Return one notice for everything that was there when alerting began."""
    if not done.baseline:
        return []
    counts: dict[str, int] = {}
    for told in done.baseline:
        counts[told.stored.key[0]] = counts.get(told.stored.key[0], 0) + 1
    severity = max(told.stored.incident.severity for told in done.baseline)
    ended = Incident(State.resolved, Severity.info, since=now, fired_at=now, resolved_at=now, reason="baseline")
    total = float(sum(counts.values()))
    kept = Stored(None, ("baseline", "platform"), None, ended, sequence=1, value=(total, total, total))
    (written,) = write(connection, [kept], [], now)
    shown = replace(written, incident=replace(ended, severity=severity))
    return [Told(shown, "firing", members=done.baseline)]


def _setting(
    connection: Connection, told: Sequence[Told], place: Place, now: datetime, ui_url: str, rules: Mapping[str, Rule]
) -> Setting:
    """Read names and details of what is told; nothing when nothing is."""
    everybody = [*told, *(member for each in told for member in each.members)]
    names: dict[str, str] = {}
    if scopes := sorted({t.stored.key[1] for t in everybody if t.stored.key[1].startswith("business:")}):
        names = {scope: name for scope, name in connection.execute(_NAMES, {"scopes": scopes})}
    wanted = [
        {
            "rule": t.row.rule,
            "scope": t.row.scope,
            "kind": t.row.kind,
            "business_id": t.row.business_id,
            "minutes": t.row.minutes,
        }
        for t in told
        if t.row and t.held is None and t.notice != "resolved" and rules[t.row.rule].alert_metric.counts_messages
    ]
    return Setting(place.zone, ui_url, now, names, _details(connection, wanted, place, now) if wanted else {})


def _details(
    connection: Connection, wanted: Sequence[Mapping[str, Any]], place: Place, now: datetime
) -> dict[Key, Mapping[str, Any]]:
    values = {
        "told": json.dumps(wanted, default=str),
        "now": now,
        "today": day_of(now, place.zone),
        "final": list(FINAL_STATUSES),
        "longest_short": minutes_of(LONGEST_SHORT_WINDOW),
    }
    return {
        (row["rule"], row["scope"]): dict(row) for row in connection.execute(read_sql("details"), values).mappings()
    }


@dataclass
class _Sieve:
    """Who is left out of a notice, and why.

    Attributes:
        rules: By name.
        targets: Everybody who can be told.
        texts: Texts of this hour by recipient; those that are let through are added, but for the end of something.
        texts_per_hour: Most texts a recipient gets in an hour.
    """

    rules: Mapping[str, Rule]
    targets: Sequence[Target]
    texts: dict[str, int]
    texts_per_hour: int

    def notes(self, told: Told, heard: Sequence[Target] = ()) -> list[tuple[Target, str | None]]:
        """Return whom a notice concerns, each with what holds it back; its end concerns those who heard of it."""
        rule = self.rules.get(told.stored.key[0])
        is_end = told.notice == "resolved"
        chosen = heard if is_end else targets_of(rule, told.stored.incident.severity, self.targets)
        notes = [(t, told.held or (None if is_end else self._note(told, rule, t, chosen))) for t in chosen]
        for (channel, recipient), note in notes:
            if channel == "twilio_sms" and note is None and not is_end:
                self.texts[recipient] = self.texts.get(recipient, 0) + 1
        return notes

    def _note(self, told: Told, rule: Rule | None, target: Target, chosen: Iterable[Target]) -> str | None:
        channel, recipient = target
        others = [other for other, _ in chosen if other != channel]
        if told.stored.key[1] == f"channel:{channel}" and others:
            return "this channel is what is broken"
        if channel != "twilio_sms":
            return None
        if rule and rule.alert_metric.breaks_twilio and others:
            return SHARED_FATE
        is_full = self.texts.get(recipient, 0) >= self.texts_per_hour
        return f"cap of {self.texts_per_hour} texts an hour" if is_full else None


def _hold_back_what_reaches_nobody(done: Plan, stored: Mapping[Key, Stored], sieve: _Sieve) -> None:
    for told in list(done.told):
        if told.held is None and told.notice != "resolved":
            notes = [note for _, note in sieve.notes(told)]
            if notes and all(notes):
                hold_back(done, told, str(notes[0]), stored)


def _addressed(connection: Connection, told: Sequence[Told], setting: Setting, sieve: _Sieve) -> list[Enqueued]:
    """Return a notification for every notice and everybody whom it concerns."""
    ends = [t.stored.id for t in told if t.notice == "resolved"]
    heard: dict[int, list[Target]] = {}
    for row in connection.execute(_WHO_WAS_TOLD, {"ids": ends}) if ends else ():
        heard.setdefault(row.incident_id, []).append((row.channel, row.recipient))
    items = []
    for each in told:
        name, number = each.stored.key[0], each.stored.id or 0
        message = (
            _baseline_message(each, setting) if name == "baseline" else compose(each, sieve.rules.get(name), setting)
        )
        for target, note in sieve.notes(each, heard.get(number, [])):
            items.append(Enqueued(number, each.stored.sequence, *target, message, note))
    return items


def _baseline_message(told: Told, setting: Setting) -> Message:
    counts: dict[str, int] = {}
    for member in told.members:
        counts[member.stored.key[0]] = counts.get(member.stored.key[0], 0) + 1
    shown = " · ".join(f"{count} × {rule}" for rule, count in sorted(counts.items()))
    return Message(
        kind="baseline",
        incident=told.stored.id or 0,
        rule="baseline",
        severity=told.stored.incident.severity.name,
        subject="Alerting begins",
        headline=f"{len(told.members)} conditions hold already",
        lines=[f"{shown}.", "They are kept as incidents and told one by one only if they become worse."],
        next_step="(you): look through them once with `smarttext alerts list`",
        lasted="0 min",
        runbook="docs/alerting.md",
        link=f"{setting.ui_url.rstrip('/')}/assets/alert_incidents",
        command="smarttext alerts list",
    )


def _write_states(connection: Connection, done: Plan, now: datetime) -> None:
    rows = [
        {"rule": name, "verdict": verdict.value, "breaches": breaches, "note": note}
        for name, (verdict, breaches, note) in done.verdicts.items()
    ]
    connection.execute(_STATES, {"rows": json.dumps(rows), "now": now})
    connection.execute(_FORGET_STATES, {"rules": list(done.verdicts)})
