"""One evaluation: measure, decide, write incidents and enqueue their notifications, in one transaction.

Whoever evaluates at the same time waits for nothing: one of them does it. What was committed is not told twice, because
a notice has its number within the incident.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, text

from smarttext_pipelines.alerting.channels.channel import Channel
from smarttext_pipelines.alerting.incidents.addressing import Sieve, addressed, hold_back_what_reaches_nobody
from smarttext_pipelines.alerting.incidents.incident_store import Stored, read_open, write
from smarttext_pipelines.alerting.incidents.lifecycle import Incident, Severity, State, Verdict
from smarttext_pipelines.alerting.incidents.notices import Around, Plan, Silence, Told
from smarttext_pipelines.alerting.incidents.transitions import plan
from smarttext_pipelines.alerting.measuring.measure import Measurement, Row, measure
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.metrics.alert_metric import LONGEST_SHORT_WINDOW
from smarttext_pipelines.alerting.notify.compose import Setting
from smarttext_pipelines.alerting.notify.outbox import Enqueued, enqueue
from smarttext_pipelines.alerting.notify.targets import register
from smarttext_pipelines.alerting.rules.rule import DAYTIME, Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key, minutes_of
from smarttext_pipelines.alerting.rules.span import with_scopes
from smarttext_pipelines.core.days import day_of
from smarttext_pipelines.core.failure_classes import OUTSIDE_THE_RATE
from smarttext_pipelines.core.statuses import FINAL_STATUSES
from smarttext_pipelines.database.connect import connected

_LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('smarttext:alerts', 0))")
_IS_FIRST = text("SELECT NOT EXISTS (SELECT FROM monitoring.rule_states)")
_SILENCES = text(
    "SELECT id, rule, scope FROM monitoring.silences WHERE starts_at <= :now AND ends_at > :now ORDER BY id"
)
_BUSINESSES = text(
    with_scopes(
        """
    SELECT id, sender_scope(twilio_phone) AS sender FROM monitoring.businesses
    WHERE id = ANY (CAST(:ids AS uuid[]))
    """
    )
)
_NAMES = text(
    with_scopes(
        """
    SELECT business_scope(id), name FROM monitoring.businesses WHERE business_scope(id) = ANY (:scopes)
    UNION ALL
    SELECT DISTINCT sender_scope(twilio_phone), twilio_phone FROM monitoring.businesses
    WHERE sender_scope(twilio_phone) = ANY (:scopes)
    UNION ALL
    SELECT sender_scope(number), number FROM unnest(CAST(:shared AS text[])) AS s (number)
    """
    )
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
        rule_errors: Why rules could not be evaluated, where that has become an incident now.
    """

    is_skipped: bool = False
    open: int = 0
    notices: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    rule_errors: Sequence[str] = ()


def evaluate(
    engine: Engine,
    rules: Mapping[str, Rule],
    channels: Sequence[Channel],
    place: Place,
    *,
    now: datetime,
    link: str,
    texts_per_hour: int = 10,
) -> Evaluated:
    """Evaluate all rules once.

    Args:
        engine: Event database.
        rules: By name.
        channels: Channels of this process.
        place: Zone and the like.
        now: Time of the evaluation.
        link: Where people open an incident; ``{incident}`` is its number.
        texts_per_hour: Most texts a recipient gets in an hour, but for the end of something.

    Raises:
        DatabaseError: Nothing was written.
    """
    with connected(engine) as connection, connection.begin():
        if not connection.execute(_LOCK).scalar():
            return Evaluated(is_skipped=True)
        stored = read_open(connection)
        found = measure(connection, rules, place, now=now, open_keys=stored.keys())
        is_night = now.astimezone(place.zone).hour not in DAYTIME
        around = replace(_around(connection, found, stored, now), is_night=is_night)
        done = plan(rules, found, stored, around)
        targets = register(connection, channels)
        texts = {recipient: count for recipient, count in connection.execute(_TEXTS_THIS_HOUR)}
        hold_back_what_reaches_nobody(done, stored, Sieve(rules, targets, dict(texts), texts_per_hour))
        written = {s.key: s for s in write(connection, done.changed, done.gone, now)}
        told = [replace(t, stored=_numbered(t.stored, written)) for t in done.told]
        told += _baseline(connection, done, written, now)
        setting = _setting(connection, told, place, now, link, rules)
        items = addressed(connection, told, setting, Sieve(rules, targets, texts, texts_per_hour))
        enqueue(connection, items)
        _write_states(connection, done, now)
    return replace(_summary(done, written, stored, items), rule_errors=_new_errors(found, written, rules, now))


def _new_errors(
    found: Measurement, written: Mapping[Key, Stored], rules: Mapping[str, Rule], now: datetime
) -> list[str]:
    """Return why rules are in error, of incidents of that which fire since now: whatever holds their notices back."""
    new = [key for key, s in written.items() if s.incident.fired_at == now and key in found.rows]
    return [found.rows[key].label or "" for key in new if rules[key[0]].metric == "rule_errors"]


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


def _baseline(connection: Connection, done: Plan, numbers: Mapping[Key, Stored], now: datetime) -> list[Told]:
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
    members = [replace(each, stored=_numbered(each.stored, numbers)) for each in done.baseline]
    return [Told(shown, "firing", members=members)]


def _setting(
    connection: Connection, told: Sequence[Told], place: Place, now: datetime, link: str, rules: Mapping[str, Rule]
) -> Setting:
    """Read names and details of what is told; nothing when nothing is."""
    everybody = [*told, *(member for each in told for member in each.members)]
    wanted = [_wanted(t.row, rules) for t in told if t.row and _has_details(t, rules)]
    details = _details(connection, wanted, place, now) if wanted else {}
    scopes = {t.stored.key[1] for t in everybody if t.stored.key[1].startswith(("business:", "sender:"))}
    scopes |= _named_in_lines(told, details)
    names: dict[str, str] = {}
    if scopes:
        values = {"scopes": sorted(scopes), "shared": list(place.shared_senders)}
        names = {scope: name for scope, name in connection.execute(_NAMES, values)}
    return Setting(place.zone, link, now, names, details)


def _named_in_lines(told: Sequence[Told], details: Mapping[Key, Mapping[str, Any]]) -> set[str]:
    owners = {f"business:{owner}" for row in details.values() for owner, _ in row["owners"] or ()}
    return owners | {f"business:{business}" for each in told for business in each.inhibited}


def _has_details(told: Told, rules: Mapping[str, Rule]) -> bool:
    is_sent = told.held is None and told.notice != "resolved"
    return is_sent and told.row is not None and rules[told.row.rule].alert_metric.counts_messages


def _wanted(row: Row, rules: Mapping[str, Rule]) -> dict[str, Any]:
    names = ("rule", "scope", "kind", "business_id", "minutes", "start_at", "apart")
    return {name: getattr(row, name) for name in names} | {"signal": rules[row.rule].metric}


def _details(
    connection: Connection, wanted: Sequence[Mapping[str, Any]], place: Place, now: datetime
) -> dict[Key, Mapping[str, Any]]:
    from smarttext_pipelines.alerting.measuring.recent_texts import details_statement
    from smarttext_pipelines.alerting.metrics import texts

    values = {
        "told": json.dumps(wanted, default=str),
        "today": day_of(now, place.zone),
        "final": list(FINAL_STATUSES),
        "longest_short": minutes_of(LONGEST_SHORT_WINDOW),
        "outside": list(OUTSIDE_THE_RATE),
        "complete_since": now - LONGEST_SHORT_WINDOW,
    }
    rows = connection.execute(details_statement(texts.METRICS), values).mappings()
    return {(row["rule"], row["scope"]): dict(row) for row in rows}


def _write_states(connection: Connection, done: Plan, now: datetime) -> None:
    rows = [
        {"rule": name, "verdict": verdict.value, "breaches": breaches, "note": note}
        for name, (verdict, breaches, note) in done.verdicts.items()
    ]
    connection.execute(_STATES, {"rows": json.dumps(rows), "now": now})
    connection.execute(_FORGET_STATES, {"rules": list(done.verdicts)})
