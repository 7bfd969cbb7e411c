"""Backtest: rules over the events of past days; how many notices each would have sent, and to whom. Writes nothing.

Events are read as they were at each time. Daily facts are read as they are now, so a window of whole days knows more
than it did then. Silences and acknowledgements are left out; inhibition and groups count.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine, text

from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.notices import Around, Told
from smarttext_pipelines.alerting.incidents.transitions import plan
from smarttext_pipelines.alerting.measuring.measure import measure
from smarttext_pipelines.alerting.measuring.now import Place
from smarttext_pipelines.alerting.notify.targets import Target, targets_of
from smarttext_pipelines.alerting.rules.rule import Rule
from smarttext_pipelines.alerting.rules.rule_tables import Key
from smarttext_pipelines.alerting.rules.span import with_scopes
from smarttext_pipelines.database.connect import connected

_SENDERS = text(with_scopes("SELECT id, sender_scope(twilio_phone) AS sender FROM monitoring.businesses"))


@dataclass
class Backtest:
    """What would have happened.

    Attributes:
        notices: By rule and kind of notice.
        scopes: By rule, how often each scope would have been told.
        recipients: By rule, how often each channel would have been used.
        held: By rule, first notices that something would have suppressed.
        evaluations: How many there were.
    """

    notices: Counter[tuple[str, str]] = field(default_factory=Counter)
    scopes: dict[str, Counter[str]] = field(default_factory=dict)
    recipients: dict[str, Counter[str]] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    evaluations: int = 0

    @property
    def total(self) -> int:
        """Notices over all rules."""
        return self.notices.total()

    @property
    def rules(self) -> set[str]:
        """Rules that would have told something, or whose first notice something would have suppressed."""
        return {rule for (rule, _), count in self.notices.items() if count} | {r for r, n in self.held.items() if n}


def backtest(
    engine: Engine,
    rules: Mapping[str, Rule],
    place: Place,
    *,
    start: datetime,
    end: datetime,
    step: timedelta,
    targets: Sequence[Target] = (("log", "log"),),
    progress: Callable[[datetime], None] = lambda _at: None,
) -> Backtest:
    """Replay the rules from ``start`` to ``end``, one evaluation per ``step``."""
    done, stored, at = Backtest(), dict[Key, Stored](), start
    with connected(engine) as connection:
        with connection.begin():
            senders = {row.id: row.sender for row in connection.execute(_SENDERS) if row.sender}
        while at <= end:
            with connection.begin() as transaction:
                found = measure(connection, rules, place, now=at, open_keys=stored.keys())
                transaction.rollback()
            made = plan(rules, found, stored, Around(at, senders=senders))
            _count(done, made.told, rules, targets)
            told = {t.stored.key for t in made.told if t.held is None}
            for gone in made.gone:
                stored.pop(gone.key, None)
            for changed in made.changed:
                if not changed.incident.is_open:
                    stored.pop(changed.key, None)
                    continue
                before = stored.get(changed.key)
                sent = at if changed.key in told else before.last_sent_at if before else None
                stored[changed.key] = replace(changed, id=changed.id or -1, last_sent_at=sent)
            done.evaluations += 1
            progress(at)
            at += step
    return done


def _count(done: Backtest, told: Sequence[Told], rules: Mapping[str, Rule], targets: Sequence[Target]) -> None:
    for each in told:
        rule, scope = each.stored.key
        if each.held is not None:
            done.held[rule] += 1
            continue
        done.notices[rule, each.notice] += 1
        done.scopes.setdefault(rule, Counter())[scope] += 1
        channels = [channel for channel, _ in targets_of(rules.get(rule), each.stored.incident.severity, targets)]
        done.recipients.setdefault(rule, Counter()).update(channels)
