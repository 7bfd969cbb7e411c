"""Who learns when a part of the system fails, and within what time: from Dagster's definitions, checked by tests."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from smarttext_pipelines.alerting.channels import CHANNELS
from smarttext_pipelines.definitions import build_definitions
from smarttext_pipelines.schema.tables import SOURCE_TABLES
from smarttext_pipelines.settings import Settings

T = "smarttext_pipelines_tests"
_HEALTH = "health.test_health_assets"


@dataclass(frozen=True)
class Way:
    """One way in which somebody learns of a failure.

    Attributes:
        who: Notice, Sentry, doctor, or the switch outside.
        how: What says it.
        within: How long that takes at most.
        proof: The test that makes it fail for real: module and function.
    """

    who: str
    how: str
    within: str
    proof: tuple[str, str]

    def is_proved(self) -> bool:
        """Tell whether the test exists."""
        return inspect.isfunction(getattr(import_module(f"{T}.{self.proof[0]}"), self.proof[1], None))


_RUN_NOTICE = Way(
    "notice", "rule `pipeline_failures`", "3 min",
    ("alerting.test_alert_sensors", "test_a_failed_run_is_an_incident_until_its_job_succeeds"),
)  # fmt: skip
_RUN_SENTRY = Way(
    "Sentry", "`run_failure_alert_sensor`", "1 min",
    (_HEALTH, "test_a_failed_run_is_told_to_sentry_once_with_job_run_and_partition"),
)  # fmt: skip
_LATE = Way(
    "doctor", "line `heartbeats`", "twice its interval",
    ("health.test_doctor", "test_heartbeats_go_forward_only_and_what_is_late_is_named"),
)  # fmt: skip
_TICK_SENTRY = Way(
    "Sentry", "`heartbeat_sensor`, each failed tick", "2 min",
    (_HEALTH, "test_failed_ticks_are_told_to_sentry_once_each_even_when_the_event_database_is_away"),
)  # fmt: skip
_LATE_NOTICE = Way(
    "notice", "rule `pipeline_failures`", "twice its interval, and 3 min",
    (_HEALTH, "test_a_late_sensor_is_an_incident_until_it_ticks_again"),
)  # fmt: skip
_SWITCH = Way(
    "switch", "it is told no more", "5 min",
    (_HEALTH, "test_with_the_daemon_killed_the_switch_is_told_no_more_and_doctor_names_it_until_it_runs_again"),
)  # fmt: skip
_CHECK_NOTICE = Way(
    "notice", "rule `failed_checks`", "3 min; WARN waits for the morning",
    ("alerting.test_alert_sensors", "test_a_failed_check_is_an_incident_until_it_passes"),
)  # fmt: skip
_CHECK_DOCTOR = Way(
    "doctor", "line `checks`", "3 min", ("health.test_doctor", "test_a_check_that_fails_is_a_line_until_it_passes")
)
_AWAY = Way(
    "doctor", "its line", "at once",
    ("health.test_doctor", "test_a_channel_that_refuses_is_named_at_once_and_a_failure_after_three_minutes"),
)  # fmt: skip
_AWAY_SWITCH = Way(
    "switch", "it is told no more", "5 min",
    (_HEALTH, "test_what_is_away_is_named_and_the_switch_is_told_no_more_until_it_is_back"),
)  # fmt: skip
_SILENT = Way(
    "doctor", "line of the source", "1 to 24 h, by its usual traffic",
    ("health.test_doctor", "test_silence_is_an_incident_only_where_there_is_usually_traffic"),
)  # fmt: skip
_CHANGED = Way(
    "doctor", "line `source tables`", "at once", ("health.test_doctor", "test_a_table_that_was_changed_is_found")
)
_RULES = Way(
    "notice", "rule `rules_in_error`", "2 evaluations",
    ("alerting.test_rules_in_error", "test_rules_in_error_are_an_incident_of_the_pipeline_after_two_evaluations"),
)  # fmt: skip

RUN = (_RUN_NOTICE, _RUN_SENTRY, _LATE)
TICK = (_TICK_SENTRY, _LATE_NOTICE, _LATE, _SWITCH)
CHECK = (_CHECK_NOTICE, _CHECK_DOCTOR)
AWAY = (_AWAY, _AWAY_SWITCH)
WATCHER = {
    # What evaluates and what watches cannot report that it stands still itself.
    "alert_evaluation_sensor": (_TICK_SENTRY, _LATE, _SWITCH),
    "heartbeat_sensor": (_LATE, _SWITCH),
}
SOURCE = (_SILENT, _CHANGED, _AWAY_SWITCH, _RULES)
SOURCES = {
    # Its rules read what was rolled up.
    "api_usage": (_SILENT, _CHANGED, _AWAY_SWITCH),
    # Without it nothing is evaluated.
    "businesses": (_CHANGED, _TICK_SENTRY, _AWAY_SWITCH),
}
PROVIDERS = ("Twilio", "the event database", "the disk")


def who_learns(settings: Settings) -> dict[str, Mapping[str, tuple[Way, ...]]]:
    """Return for each kind of part its parts, and the ways in which somebody learns of their failure."""
    definitions = build_definitions(settings)
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    return {
        "job": dict.fromkeys(sorted(each for each in repository.job_names if not each.startswith("__")), RUN),
        "schedule": dict.fromkeys(sorted(each.name for each in repository.schedule_defs), TICK),
        "sensor": {each: WATCHER.get(each, TICK) for each in sorted(each.name for each in repository.sensor_defs)},
        "asset": dict.fromkeys(sorted(each.to_user_string() for each in graph.materializable_asset_keys), RUN),
        "check": dict.fromkeys(sorted(key.to_user_string() for key in graph.asset_check_keys), CHECK),
        "channel": dict.fromkeys(sorted(CHANNELS), AWAY),
        "provider": dict.fromkeys(PROVIDERS, AWAY),
        "source": {name: SOURCES.get(name, SOURCE) for name in sorted(table.name for table in SOURCE_TABLES)},
    }


def failures_page(settings: Settings) -> str:
    """Return the page that says who learns of what."""
    lines = [
        "# Who learns of a failure",
        "",
        "Generated by `make docs` from Dagster's definitions: a new job, sensor, asset, check, channel or source is",
        "here by itself, and a test asks that at least two ways lead to somebody. Each way has a test that makes the",
        "part fail.",
    ]
    for kind, parts in who_learns(settings).items():
        article = "An" if kind[0] in "aeiou" else "A"
        lines += ["", f"## {article} {kind} fails"]
        for ways in dict.fromkeys(parts.values()):
            names = ", ".join(f"`{name}`" for name, own in parts.items() if own == ways)
            lines += ["", names, "", "| who | how | within |", "| --- | --- | --- |"]
            lines += [f"| {way.who} | {way.how} | {way.within} |" for way in ways]
    return "\n".join(lines) + "\n"
