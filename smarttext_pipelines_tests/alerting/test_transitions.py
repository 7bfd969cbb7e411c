"""Evaluations of many incidents at once: whatever happens, an episode that was told is told to be over, once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smarttext_pipelines.alerting.incidents.grouping import MAX_SEPARATE
from smarttext_pipelines.alerting.incidents.incident_store import Stored
from smarttext_pipelines.alerting.incidents.lifecycle import Severity, acknowledge
from smarttext_pipelines.alerting.incidents.notices import GROUP_SCOPE, Around, Silence, Told, hold_back
from smarttext_pipelines.alerting.incidents.transitions import plan
from smarttext_pipelines.alerting.measuring.measure import Measurement, Row
from smarttext_pipelines.alerting.rules.judge import Measured
from smarttext_pipelines.alerting.rules.rule import Thresholds
from smarttext_pipelines.alerting.rules.rules_file import parse_rules

BUSINESSES = [UUID(int=n) for n in range(1, MAX_SEPARATE + 4)]
RULES = parse_rules(
    """
    rules:
      alone: {metric: sms_failure_rate, threshold: 10, critical_threshold: 50, for: 1, keep_firing_for: 1m}
      everywhere: {metric: sms_failure_rate, scope: platform, threshold: 10, keep_firing_for: 1m}
      filtered: {metric: sms_filtered_rate, threshold: 10, for: 2, keep_firing_for: 0m, repeat_interval: 10m}
    """
)


class Evaluations(RuleBasedStateMachine):
    """A store in memory, and what every incident has told so far."""

    @initialize(is_first=st.booleans())
    def begin(self, is_first: bool) -> None:
        self.now = datetime(2026, 3, 2, 9, tzinfo=UTC)
        self.stored: dict[tuple[str, str], Stored] = {}
        self.notices: dict[int, list[str]] = defaultdict(list)
        self.ended: list[int] = []
        self.rates: dict[str, float | None] = {}
        self.silences: list[Silence] = []
        self.rules = dict(RULES)
        self.businesses = set(BUSINESSES)
        self.numbers, self.is_first = 0, is_first

    @rule(
        which=st.sets(st.sampled_from([*range(len(BUSINESSES)), "platform"]), min_size=1),
        rate=st.sampled_from([None, 0.0, 9.0, 30.0, 90.0]),
    )
    def rates_change(self, which: set[object], rate: float | None) -> None:
        for each in which:
            self.rates["platform" if each == "platform" else f"business:{BUSINESSES[int(str(each))]}"] = rate

    @rule(rule=st.sampled_from([None, *RULES]), scope=st.sampled_from([None, GROUP_SCOPE]), on=st.booleans())
    def somebody_silences(self, rule: str | None, scope: str | None, on: bool) -> None:
        self.silences = [Silence(1, rule, scope)] if on else []

    @rule(name=st.sampled_from(list(RULES)))
    def a_rule_goes_or_comes(self, name: str) -> None:
        if self.rules.pop(name, None) is None:
            self.rules[name] = RULES[name]

    @rule(which=st.sampled_from(BUSINESSES))
    def a_business_goes(self, which: UUID) -> None:
        self.businesses.discard(which)
        self.rates.pop(f"business:{which}", None)

    @rule()
    def somebody_acknowledges_everything(self) -> None:
        self.stored = {k: replace(s, incident=acknowledge(s.incident)) for k, s in self.stored.items()}

    @rule(minutes=st.integers(-30, 120), errors=st.booleans(), capped=st.booleans())
    def evaluate(self, minutes: int, errors: bool, capped: bool) -> None:
        self.now += timedelta(minutes=minutes)
        found = Measurement(
            rows=self._rows(), has_outcomes=True, errors={"sms_filtered_rate": "away"} if errors else {}
        )
        around = Around(self.now, self.silences, businesses=self.businesses, is_first=self.is_first)
        made = plan(self.rules, found, self.stored, around)
        self.is_first = False
        for told in list(made.told) if capped else ():
            if told.held is None and told.notice != "resolved":
                hold_back(made, told, "cap", self.stored)
        for gone in made.gone:
            assert self.notices[self.stored.pop(gone.key).id or 0] == []
        keys = [changed.key for changed in made.changed]
        assert len(keys) == len(set(keys)), "written once"
        for changed in made.changed:
            if changed.id is None:
                assert changed.key not in self.stored, "never two open for one rule and scope"
                self.numbers += 1
            self.stored[changed.key] = changed if changed.id else replace(changed, id=self.numbers)
        for told in made.told:
            if told.held is None:
                number = self.stored[told.stored.key].id or 0
                assert number not in self.ended
                self.notices[number].append(told.notice)
                self.stored[told.stored.key] = replace(self.stored[told.stored.key], last_sent_at=self.now)
        for key, each in list(self.stored.items()):
            if not each.incident.is_open:
                self.ended.append(each.id or 0)
                del self.stored[key]

    def _rows(self) -> dict[tuple[str, str], Row]:
        rows = {}
        for scope, rate in self.rates.items():
            kind = scope.split(":")[0]
            business = UUID(scope.split(":")[1]) if kind == "business" else None
            for name, each in self.rules.items():
                if each.scope == kind and rate is not None and (rate >= 10 or (name, scope) in self.stored):
                    measured = Measured(rate * 100, 10_000, rate, True, Thresholds(10, each.critical_threshold, 8))
                    rows[name, scope] = Row(name, scope, kind, business, None, 60, measured)
        return rows

    @invariant()
    def what_began_ends_once(self) -> None:
        for number in getattr(self, "ended", []):
            told = self.notices[number]
            assert told.count("resolved") == (1 if told else 0)
            assert not told or (told[-1] == "resolved" and told[0] == "firing" and told.count("firing") == 1), told

    @invariant()
    def members_of_a_group_are_told_by_it(self) -> None:
        for key, each in getattr(self, "stored", {}).items():
            if each.muted_by == GROUP_SCOPE and each.incident.is_open and not self.notices[each.id or 0]:
                assert (key[0], GROUP_SCOPE) in self.stored or key[0] not in self.rules


TestEvaluations = Evaluations.TestCase


class Store:
    """Evaluations of the rule ``alone`` whose notices are all sent at once."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 9, tzinfo=UTC)
        self.open: dict[tuple[str, str], Stored] = {}

    def tick(self, rate: float, *, hours: int = 0, silences: Sequence[Silence] = ()) -> list[Told]:
        """Return what is told when every business has that rate."""
        self.now += timedelta(hours=hours, minutes=1)
        measured = Measured(rate * 100, 10_000, rate, True, Thresholds(10, 50, 8))
        found = Measurement(has_outcomes=True)
        for each in BUSINESSES:
            scope = f"business:{each}"
            found.rows["alone", scope] = Row("alone", scope, "business", each, None, 60, measured)
        made = plan(RULES, found, self.open, Around(self.now, silences))
        sent = {told.stored.key for told in made.told if told.held is None}
        for changed in made.changed:
            last = self.now if changed.key in sent else getattr(self.open.get(changed.key), "last_sent_at", None)
            self.open[changed.key] = replace(changed, id=1, last_sent_at=last)
        return [told for told in made.told if told.held is None]

    @property
    def group(self) -> Stored:
        """The one group."""
        return self.open["alone", GROUP_SCOPE]


def _told(told: list[Told]) -> list[tuple[str, str, str]]:
    return [(t.stored.key[1], t.notice, t.stored.incident.severity.name) for t in told]


def test_a_group_that_becomes_critical_is_told_as_critical() -> None:
    store = Store()
    assert _told(store.tick(30)) == [(GROUP_SCOPE, "firing", "warning")]
    assert _told(store.tick(90)) == [(GROUP_SCOPE, "worse", "critical")]
    assert store.group.incident.told is Severity.critical


def test_a_silence_holds_the_repeat_of_a_group_too() -> None:
    store = Store()
    store.tick(30)
    assert store.tick(30, hours=5, silences=[Silence(1, "alone", None)]) == []
    assert _told(store.tick(30)) == [(GROUP_SCOPE, "repeat", "warning")]


def test_a_silence_that_ends_tells_again_of_a_group_that_had_been_told() -> None:
    store = Store()
    store.tick(30)
    assert store.tick(30, silences=[Silence(1, "alone", None)]) == []
    assert _told(store.tick(30)) == [(GROUP_SCOPE, "repeat", "warning")]


def test_a_group_that_was_acknowledged_is_repeated_when_it_has_become_worse() -> None:
    store = Store()
    store.tick(30)
    store.open["alone", GROUP_SCOPE] = replace(store.group, incident=acknowledge(store.group.incident))
    assert store.tick(30, hours=5) == []
    assert _told(store.tick(90)) == [(GROUP_SCOPE, "worse", "critical")]
    assert _told(store.tick(90, hours=5)) == [(GROUP_SCOPE, "repeat", "critical")]


def test_a_silence_of_groups_holds_their_members_until_it_ends() -> None:
    store, silence = Store(), Silence(1, None, GROUP_SCOPE)
    assert store.tick(30, silences=[silence]) == []
    assert store.tick(30, silences=[silence]) == []
    assert _told(store.tick(30)) == [(GROUP_SCOPE, "firing", "warning")]
