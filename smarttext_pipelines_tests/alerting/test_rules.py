"""Rules, failure classes and runbooks: what is shipped is complete, and what is wrong is explained."""

import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smarttext_pipelines import alerting
from smarttext_pipelines.alerting.incidents.lifecycle import Severity, Verdict
from smarttext_pipelines.alerting.metrics import ALERT_METRICS
from smarttext_pipelines.alerting.rules.judge import Measured, evidence, judge
from smarttext_pipelines.alerting.rules.rule import LAST_WINDOW, Limits, Thresholds
from smarttext_pipelines.alerting.rules.rules_file import RulesError, load_rules, parse_rules
from smarttext_pipelines.core.errors import InputError
from smarttext_pipelines.core.failure_classes import class_by_code, class_of, failure_classes
from smarttext_pipelines_tests.docs import DOCS

SHIPPED = load_rules(None)


def test_every_class_has_a_next_step_and_somebody_who_acts() -> None:
    for each in failure_classes().values():
        assert each.next_step, each.name
        assert each.who in ("nobody", "you", "operator"), each.name
        assert each.reason, each.name


def test_a_code_has_one_class_and_any_other_is_unmapped() -> None:
    codes = [code for each in failure_classes().values() for code in each.codes]
    assert len(codes) == len(set(codes)) == len(class_by_code())
    assert class_of("30007").name == "filtered"
    assert class_of("99999").name == class_of(None).name == class_of("").name == "unmapped"


def test_the_classes_are_those_of_the_contract() -> None:
    listed = {each.name: set(each.codes) for each in failure_classes().values()}
    assert listed["account"] == {"20003", "30002", "21606", "21608", "21408"}
    assert listed["registration"] == {"30034", "30032", "30879"}
    assert set(listed) == {
        "unreachable", "invalid_number", "opted_out", "filtered", "registration", "throughput", "account", "provider",
        "unmapped",
    }  # fmt: skip


def test_every_metric_has_a_shipped_rule() -> None:
    assert {rule.metric for rule in SHIPPED.values()} == set(ALERT_METRICS)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_rule_has_a_runbook(name: str) -> None:
    page = (DOCS.parent / SHIPPED[name].runbook_page).read_text()
    assert f"Rule `{name}`." in page
    for heading in ("When it fires", "What to do", "When it ends"):
        assert f"## {heading}" in page


def test_every_runbook_belongs_to_a_rule() -> None:
    assert {page.stem for page in (Path(alerting.__file__).parent / "runbooks").glob("*.md")} == set(SHIPPED)


def test_a_shipped_rule_is_at_most_six_lines() -> None:
    from smarttext_pipelines.alerting.rules.rules_file import SHIPPED as FILE

    blocks = re.split(r"^  (?=\w)", FILE.read_text().split("rules:\n")[1], flags=re.MULTILINE)
    assert max(len(block.rstrip().splitlines()) - 1 for block in blocks if block) <= 6


MISTAKES = [
    ("rules:\n  a:\n    metric: sms_failure_rate\n    treshold: 5", 4, "did you mean 'threshold'"),
    ("rules:\n  a:\n    metric: sms_failure_rate", 2, "lacks 'threshold'"),
    ("rules:\n  a:\n    metric: nothing\n    threshold: 5", 2, "no metric 'nothing'"),
    ("rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    window: soon", 5, "no duration"),
    ("rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    window: 7h", 2, "5m to 6h, or whole days"),
    ("rules:\n  a:\n    metric: openai_budget\n    scope: sender\n    threshold: 5", 2, "not for sender"),
    ("rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    threshold: 6", 5, "stands twice"),
    (
        "rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    plans:\n      pro:\n        x: 1",
        7,
        "plans.pro.x",
    ),
    ("rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    clear_threshold: 9", 2, "above threshold"),
    ("rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    severity: bad", 5, "severity"),
    ("rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    channels: [fax]", 5, "channels"),
    (
        "rules:\n  a:\n    metric: openai_budget\n    threshold: 5\n    window: 1h",
        2,
        "openai_budget is measured over one day",
    ),
    (
        "rules:\n  a:\n    metric: unpriced_share\n    scope: platform\n    threshold: 5\n    window: 7d",
        2,
        "over one day",
    ),
    (
        "rules:\n  a:\n    metric: event_silence\n    threshold: 5\n    window: 1d",
        2,
        "event_silence is measured over at most 6h",
    ),
    ("rules:\n  a:\n    metric: sms_in_flight_share\n    threshold: 5\n    window: 7d", 2, "over at most 6h"),
    ("rules:\n  a: [\n", 3, "no YAML"),
    ("rule:\n  a: 1", 1, "unknown key 'rule'"),
    ("", 1, "'rules' must hold"),
    ("rules: {}", 1, "nothing would be watched"),
    (
        "rules:\n  a:\n    metric: sms_failure_rate\n    threshold: 5\n    window: 99999999999999d",
        5,
        "longer than 366d",
    ),
]


@pytest.mark.parametrize(("text", "line", "words"), MISTAKES)
def test_a_mistake_is_explained_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(RulesError) as raised:
        parse_rules(text)
    assert any(m.line == line and words in m.message for m in raised.value.mistakes), raised.value.mistakes


@pytest.mark.parametrize("metric", ALERT_METRICS)
def test_a_rule_that_names_no_window_has_one_that_is_measured(metric: str) -> None:
    scope = ALERT_METRICS[metric].scopes[0]
    (rule,) = parse_rules(f"rules:\n  a: {{metric: {metric}, scope: {scope}, threshold: 5}}").values()
    is_today = metric in ("openai_budget", "openai_spend", "openai_heavy_customer", "unpriced_share", "anomalies")
    assert rule.window == (timedelta(days=1) if is_today else timedelta(hours=1))


def test_more_than_three_short_windows_are_refused() -> None:
    rules = "".join(
        f"  r{n}:\n    metric: sms_failure_rate\n    threshold: 5\n    window: {n}0m\n" for n in (1, 2, 3, 4)
    )
    with pytest.raises(RulesError, match="at most 3 different windows"):
        parse_rules("rules:\n" + rules)


@given(st.text(alphabet="abr:ules \n-{}[]&*'\"|%@0123"))
def test_any_text_is_rules_or_a_mistake(text: str) -> None:
    with suppress(InputError):
        parse_rules(text)


def _measured(part: int, whole: int, *, is_enough: bool = True) -> Measured:
    value = 100 * part / whole if whole else 0
    return Measured(part, whole, value, is_enough, Thresholds(10, 25, 8))


def test_a_rate_fires_only_when_its_lower_bound_exceeds_the_threshold() -> None:
    rule = SHIPPED["sms_failure_rate"]
    assert judge(rule, _measured(23, 61)).severity is Severity.critical
    assert judge(rule, _measured(4, 25)).verdict is Verdict.near, "16 %, but at least 6.4 % only"
    assert judge(rule, _measured(12, 61)).severity is Severity.warning
    assert judge(rule, _measured(4, 61)).verdict is Verdict.ok
    assert judge(rule, _measured(10, 10, is_enough=False)).verdict is Verdict.no_traffic


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_breach_is_never_clear_and_a_higher_rate_is_never_better(failed: int, successful: int) -> None:
    rule = SHIPPED["sms_failure_rate"]
    whole = failed + successful
    if whole == 0:
        return
    measured = _measured(failed, whole)
    assert evidence(rule.alert_metric, measured) <= measured.value + 0.01
    if judge(rule, measured).verdict is Verdict.breach:
        assert judge(rule, _measured(min(failed + 1, whole), whole)).verdict is Verdict.breach


def test_a_rule_keeps_its_windows_and_widens_when_it_is_a_rate() -> None:
    day = timedelta(days=1)
    assert SHIPPED["sms_failure_rate"].windows == (timedelta(hours=1), LAST_WINDOW)
    assert SHIPPED["owner_alerts_undelivered"].windows == (timedelta(hours=6), day, 7 * day)
    assert SHIPPED["sms_in_flight"].windows == (timedelta(hours=6),), "the facts of days know no age"
    assert SHIPPED["registration_errors"].windows == (timedelta(hours=6),)
    assert SHIPPED["registration_errors"].policy.breaches_to_fire == 1
    assert SHIPPED["sms_failure_rate"].policy.breaches_to_fire == 2


def test_the_limits_of_a_business_come_before_those_of_its_plan_and_those_before_the_rules() -> None:
    one, two = UUID(int=1), UUID(int=2)
    rule = SHIPPED["sms_failure_rate"].model_copy(
        update={
            "plans": {"pro": Limits(threshold=5, critical_threshold=40)},
            "businesses": {one: Limits(threshold=2, clear_threshold=1), two: Limits(critical_threshold=60)},
        }
    )
    own = Thresholds(rule.threshold, rule.critical_threshold, rule.clear_below)
    assert rule.thresholds_for(None, None) == own
    assert rule.thresholds_for(UUID(int=9), "basic") == own
    assert rule.thresholds_for(UUID(int=9), "pro") == (5, 40, 4)
    assert rule.thresholds_for(one, "pro") == (2, 40, 1)
    assert rule.thresholds_for(two, "pro") == (5, 60, 4)
    assert rule.lowest_threshold == 2
