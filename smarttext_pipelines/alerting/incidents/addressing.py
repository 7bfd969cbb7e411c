"""Who gets a notice: the targets of its rule, and what keeps it from one of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.notices import Plan, Told, hold_back
from smarttext_pipelines.alerting.notify.baseline import baseline_message
from smarttext_pipelines.alerting.notify.compose import Setting, compose
from smarttext_pipelines.alerting.notify.outbox import Enqueued
from smarttext_pipelines.alerting.notify.targets import Target, targets_of
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key

SHARED_FATE = "shared fate: Twilio is what is broken"
_WHO_WAS_TOLD = text(
    """
    SELECT DISTINCT incident_id, channel, recipient FROM monitoring.notifications
    WHERE incident_id = ANY (:ids) AND kind <> 'resolved'
        AND (status IN ('pending', 'sending', 'unknown', 'sent') OR may_have_arrived)
    """
)


@dataclass
class Sieve:
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


def hold_back_what_reaches_nobody(done: Plan, stored: Mapping[Key, Stored], sieve: Sieve) -> None:
    """Take back every notice that nobody would get now."""
    for told in list(done.told):
        if told.held is None and told.notice != "resolved":
            notes = [note for _, note in sieve.notes(told)]
            if notes and all(notes):
                hold_back(done, told, str(notes[0]), stored)


def addressed(connection: Connection, told: Sequence[Told], setting: Setting, sieve: Sieve) -> list[Enqueued]:
    """Return a notification for every notice and everybody whom it concerns."""
    ends = [t.stored.id for t in told if t.notice == "resolved"]
    heard: dict[int, list[Target]] = {}
    for row in connection.execute(_WHO_WAS_TOLD, {"ids": ends}) if ends else ():
        heard.setdefault(row.incident_id, []).append((row.channel, row.recipient))
    items = []
    for each in told:
        name, number = each.stored.key[0], each.stored.id or 0
        message = (
            baseline_message(each, sieve.rules, setting)
            if name == "baseline"
            else compose(each, sieve.rules.get(name), setting)
        )
        for target, note in sieve.notes(each, heard.get(number, [])):
            items.append(Enqueued(number, each.stored.sequence, *target, message, note))
    return items
