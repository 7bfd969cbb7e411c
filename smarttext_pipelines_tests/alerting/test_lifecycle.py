"""Incidents: what is told of an episode, whatever happens to it."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from smarttext_pipelines.alerting.incidents.lifecycle import (
    Finding,
    Incident,
    Policy,
    Severity,
    State,
    Step,
    Verdict,
    acknowledge,
    advance,
    close,
)

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = Policy(breaches_to_fire=2, keep_firing_for=2 * MINUTE, repeat_interval=60 * MINUTE)
NO_ANSWER = (Verdict.no_traffic, Verdict.stale, Verdict.not_applicable, Verdict.error)


def _breach(severity: Severity = Severity.warning, value: float = 20.0) -> Finding:
    return Finding(Verdict.breach, severity, value)


OK = Finding(Verdict.ok)


def _after(*findings: Finding, policy: Policy = POLICY, held_by: str | None = None) -> Step:
    step, now = Step(None), START
    for found in findings:
        step = advance(step.incident, found, policy, now=now, held_by=held_by)
        now += MINUTE
    return step


def test_it_fires_after_as_many_breaches_as_the_rule_wants() -> None:
    assert _after(_breach()).notices == ()
    assert _after(_breach(), _breach()).notices == ("firing",)
    assert _after(_breach(), policy=Policy(breaches_to_fire=1)).notices == ("firing",)


def test_a_pending_one_that_clears_vanishes_silently() -> None:
    assert _after(_breach(), OK) == Step(None)
    assert _after(_breach(), Finding(Verdict.near)) == Step(None)


def test_no_answer_neither_fires_nor_resolves() -> None:
    for verdict in NO_ANSWER:
        assert _after(Finding(verdict)).incident is None
        firing = _after(_breach(), _breach(), *[Finding(verdict)] * 500).incident
        assert firing is not None
        assert firing.state is State.firing


def test_no_traffic_means_what_the_rule_says() -> None:
    nothing = Finding(Verdict.no_traffic)
    alerting = Policy(1, POLICY.keep_firing_for, on_no_data="alert")
    assert _after(nothing, policy=alerting).notices == ("firing",)
    fine = Policy(1, timedelta(0), on_no_data="ok")
    assert _after(_breach(), nothing, policy=fine).notices == ("resolved",)


def test_recovering_that_breaches_again_is_not_told_again() -> None:
    step = _after(_breach(), _breach(), OK, _breach())
    assert step.notices == ()
    assert step.incident is not None
    assert step.incident.state is State.firing


def test_between_the_thresholds_a_firing_one_goes_on_and_its_clear_time_starts_anew() -> None:
    near = Finding(Verdict.near)
    assert _after(_breach(), _breach(), near, near, near).incident.state is State.firing
    assert _after(_breach(), _breach(), OK, near, OK, OK).incident.state is State.recovering


def test_a_silence_delays_the_notice_until_its_end() -> None:
    step = _after(_breach(), _breach(), held_by="silence 1")
    assert (step.notices, step.held) == ((), "firing")
    again = advance(step.incident, _breach(), POLICY, now=START + 5 * MINUTE, held_by="silence 1")
    assert again.held is None
    assert advance(again.incident, _breach(), POLICY, now=START + 9 * MINUTE).notices == ("firing",)


def test_a_silence_that_ends_tells_again_what_had_been_told_before_it() -> None:
    step = _after(_breach(), _breach())
    for minute in (5, 6, 7):
        at = START + minute * MINUTE
        step = advance(step.incident, _breach(), POLICY, now=at, held_by="silence 1", last_sent_at=START + MINUTE)
        assert (step.notices, step.held) == ((), None)
    for held_by, told in (("night", ()), (None, ("repeat",)), (None, ())):
        step = advance(
            step.incident, _breach(), POLICY, now=START + 8 * MINUTE, held_by=held_by, last_sent_at=START + MINUTE
        )
        assert step.notices == told


def test_a_silence_that_ends_while_it_recovers_is_told_when_it_fires_again() -> None:
    told = _after(_breach(), _breach()).incident
    options = {"policy": POLICY, "now": START + 9 * MINUTE, "last_sent_at": START + MINUTE}
    silenced = advance(told, _breach(), held_by="silence 1", **options).incident
    recovering = advance(silenced, OK, **options)
    assert recovering.notices == ()
    assert advance(recovering.incident, _breach(), **options).notices == ("repeat",)


def test_what_nobody_was_told_is_not_told_to_be_over() -> None:
    step = _after(_breach(), _breach(), OK, OK, OK, held_by="silence 1")
    assert step.incident.state is State.resolved
    assert step.notices == ()


def test_the_end_is_told_also_under_a_silence_and_when_the_rule_is_removed() -> None:
    firing = _after(_breach(), _breach()).incident
    step = advance(firing, OK, Policy(keep_firing_for=timedelta(0)), now=START + 9 * MINUTE, held_by="silence 1")
    assert step.notices == ("resolved",)
    assert close(firing, now=START, reason="rule removed").notices == ("resolved",)


def test_acknowledged_is_repeated_only_when_it_becomes_worse() -> None:
    firing = acknowledge(_after(_breach(), _breach()).incident)
    later = START + timedelta(days=1)
    assert advance(firing, _breach(), POLICY, now=later, last_sent_at=START).notices == ()
    worse = advance(firing, _breach(Severity.critical), POLICY, now=later, last_sent_at=START)
    assert worse.notices == ("worse",)
    after = advance(
        worse.incident, _breach(Severity.critical), POLICY, now=later + timedelta(days=1), last_sent_at=later
    )
    assert after.notices == ("repeat",)


def test_what_was_acknowledged_at_its_worst_is_not_told_as_worse_when_a_silence_ends() -> None:
    firing = _after(_breach(), _breach()).incident
    held = advance(firing, _breach(Severity.critical), POLICY, now=START + 3 * MINUTE, held_by="silence 1")
    known = acknowledge(held.incident)
    assert advance(known, _breach(Severity.critical), POLICY, now=START + 4 * MINUTE).notices == ()


def test_a_repeat_waits_for_something_that_was_counted_since_the_last_notice() -> None:
    sent, counted = START + 30 * MINUTE, Finding(Verdict.breach, counted_at=START + 20 * MINUTE)
    firing = _after(_breach(), counted).incident
    later = sent + timedelta(hours=5)
    assert advance(firing, counted, POLICY, now=later, last_sent_at=sent).notices == ()
    news = replace(counted, counted_at=sent + MINUTE)
    assert advance(firing, news, POLICY, now=later, last_sent_at=sent).notices == ("repeat",)


def test_it_is_repeated_after_the_interval_since_the_last_success() -> None:
    firing = _after(_breach(), _breach()).incident
    sent = START + 30 * MINUTE
    assert advance(firing, _breach(), POLICY, now=sent + 59 * MINUTE, last_sent_at=sent).notices == ()
    assert advance(firing, _breach(), POLICY, now=sent + 60 * MINUTE, last_sent_at=sent).notices == ("repeat",)
    assert advance(firing, _breach(), POLICY, now=sent + 60 * MINUTE).notices == ()


class Episodes(RuleBasedStateMachine):
    """Every way an incident can go; ``notices`` is what one recipient hears of the present episode."""

    @initialize(
        breaches=st.integers(1, 3),
        keep=st.integers(0, 5),
        repeat=st.integers(1, 30),
        on_no_data=st.sampled_from(["keep", "ok", "alert"]),
    )
    def begin(self, breaches: int, keep: int, repeat: int, on_no_data: str) -> None:
        self.policy = Policy(breaches, keep * MINUTE, repeat * MINUTE, on_no_data)
        self.now = START
        self.incident: Incident | None = None
        self.held_by: str | None = None
        self.last_sent_at: datetime | None = None
        self.was_silenced = False
        self.notices: list[str] = []
        self.severities: list[Severity] = []

    def _take(self, step: Step) -> None:
        before = self.incident
        assert len(step.notices) <= 1
        for notice in step.notices:
            self.notices.append(notice)
            self.last_sent_at = self.now
        if step.incident is not None and "resolved" not in step.notices and step.notices:
            self.severities.append(step.incident.severity)
        if before is not None and before.is_firing:
            assert step.incident is not None, "a firing incident never vanishes"
        self.incident = step.incident
        if self.incident is None or not self.incident.is_open:
            self._check_episode()
            self.incident, self.notices, self.severities, self.last_sent_at = None, [], [], None

    def _check_episode(self) -> None:
        told = Counter(self.notices)
        assert told["resolved"] == (1 if self.notices else 0), self.notices
        if self.notices:
            assert self.notices[0] == "firing"
            assert self.notices[-1] == "resolved"
            assert told["firing"] == 1

    @rule(
        verdict=st.sampled_from(list(Verdict)),
        severity=st.sampled_from(list(Severity)),
        value=st.floats(0, 100) | st.none(),
        minutes=st.integers(-600, 600),
    )
    def evaluate(self, verdict: Verdict, severity: Severity, value: float | None, minutes: int) -> None:
        self.now += minutes * MINUTE
        before = self.incident
        step = advance(
            self.incident,
            Finding(verdict, severity, value),
            self.policy,
            now=self.now,
            held_by=self.held_by,
            last_sent_at=self.last_sent_at,
        )
        over = step.incident is not None and not step.incident.is_open
        if over:
            assert verdict is Verdict.ok or (verdict is Verdict.no_traffic and self.policy.on_no_data == "ok")
        if self.held_by:
            assert set(step.notices) <= {"resolved"}
        if before and before.acknowledged and before.told and severity <= before.acknowledged:
            assert set(step.notices) <= {"resolved"}
        self._check_silence(step)
        self._take(step)

    def _check_silence(self, step: Step) -> None:
        """Ask that what was silenced and still fires is told as soon as nothing holds it, told before or not."""
        now = step.incident
        if now is None or not now.is_open or step.notices:
            self.was_silenced = False
        elif now.state is State.firing:
            is_known = now.acknowledged is not None and now.severity <= now.acknowledged
            assert self.held_by or is_known or not self.was_silenced
            self.was_silenced = bool(self.held_by) and (self.was_silenced or "silence" in str(self.held_by))

    @rule()
    def breach_again(self) -> None:
        self.evaluate(Verdict.breach, Severity.warning, 50.0, 1)

    @rule()
    def is_fine(self) -> None:
        self.evaluate(Verdict.ok, Severity.warning, 0.0, 3)

    @rule(by=st.sampled_from([None, None, "silence 1", "INC-7 inhibits", "group"]))
    def hold(self, by: str | None) -> None:
        self.held_by = by

    @rule()
    def somebody_acknowledges(self) -> None:
        if self.incident is not None:
            self.incident = acknowledge(self.incident)

    @rule()
    def the_rule_is_removed(self) -> None:
        if self.incident is not None:
            self._take(close(self.incident, now=self.now, reason="rule removed"))

    @invariant()
    def what_was_told_is_remembered(self) -> None:
        if getattr(self, "incident", None) is not None:
            assert (self.incident.told is not None) == bool(self.notices)
            if self.notices:
                assert self.incident.told == max(self.severities)
            if self.incident.is_firing and not self.held_by and self.incident.state is State.firing and self.notices:
                assert "resolved" not in self.notices


TestEpisodes = Episodes.TestCase
