"""Sentry, against a server that takes its envelopes: initialised once, told once, and told nothing personal."""

import os
import subprocess
import sys
from pathlib import Path

from smarttext_pipelines_tests.fakes.sentry import FakeSentry, sentry
from smarttext_pipelines_tests.planted import found_in, plant

PLANTED = plant(1000)
_WATCH = """
import logging, sys, threading
import sentry_sdk
from smarttext_pipelines.sentry.capture import capture_failure, init_sentry, watch_process
from smarttext_pipelines.settings import load_settings
watch_process(load_settings(), "cli")
"""


def run(program: str, fake: FakeSentry, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.environ.get("PYTHONPATH", "")
    root = str(Path(__file__).parents[2])
    known = {**os.environ, "PYTHONPATH": f"{root}:{path}", "SENTRY_DSN": fake.dsn, **environment}
    return subprocess.run([sys.executable, "-c", program], env=known, capture_output=True, text=True, check=False)


def test_none_of_a_thousand_secrets_reaches_sentry_by_any_way() -> None:
    program = (
        _WATCH
        + """
from smarttext_pipelines_tests.planted import plant
def fail(told):
    local = [told, {told: told}]
    raise ValueError(f"cannot send: {told}")
planted = plant(1000)
for n in range(0, 1000, 10):
    for each in planted[n : n + 10]:
        sentry_sdk.add_breadcrumb(message=each.shown, data={"url": each.shown, each.shown: 1})
        logging.getLogger("library").warning("told %s", each.shown)
    told = [each.shown for each in planted[n : n + 10]]
    try:
        fail("; ".join(told))
    except ValueError as error:
        sentry_sdk.capture_exception(error)
    with sentry_sdk.new_scope() as scope:
        scope.set_user({"phone": told[0]})
        scope.set_extra(told[1], told)
        scope.set_tag("to", told[2][:150])
        scope.set_context("request body", {"data": told})
        sentry_sdk.capture_message("; ".join(told))
    capture_failure("run", str(n), told[3], tags={"job": told[4]}, detail="; ".join(told))
    sentry_sdk.flush(5)
"""
    )
    with sentry() as fake:
        done = run(program, fake)
        assert done.returncode == 0, done.stderr[-2000:]
        told = "\n".join(fake.envelopes)
        assert len(fake.events) == 300
        assert found_in(told, PLANTED) == []
        assert found_in(done.stderr, PLANTED) == []
        raised = [x for e in fake.events for x in e.get("exception", {}).get("values", ())]
        frames = [frame for each in raised for frame in each["stacktrace"]["frames"]]
        assert frames
        assert not any("vars" in frame for frame in frames)
        assert not any("request" in e or "user" in e for e in fake.events)


def test_a_failure_is_told_once_though_it_is_also_logged_and_told_again_after_a_crash() -> None:
    program = (
        _WATCH
        + """
watch_process(load_settings(), "cli")
init_sentry(load_settings(), "cli")
for _ in range(2):
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger("dagster").exception("step failed")
    capture_failure("run", "run-1", "rollup_job failed", tags={"job": "rollup_job", "run_id": "run-1"})
"""
    )
    with sentry() as fake:
        for _ in range(2):
            assert run(program, fake).returncode == 0
        (event,) = fake.events
    assert event["message"] == "rollup_job failed"
    assert event["fingerprint"] == ["smarttext", "run", "rollup_job"]
    assert event["tags"] == {"component": "cli", "kind": "run", "job": "rollup_job", "run_id": "run-1"}
    assert event["environment"] == "production"
    assert event["release"].startswith("smarttext_pipelines@")


def test_what_is_told_from_a_foreign_thread_says_which_process_it_was() -> None:
    program = (
        _WATCH
        + """
import _thread
done = _thread.allocate_lock()
done.acquire()
def tell():
    capture_failure("sensor", "1", "failed", tags={"sensor": "a"})
    done.release()
_thread.start_new_thread(tell, ())
done.acquire()
"""
    )
    with sentry() as fake:
        assert run(program, fake).returncode == 0
        assert [event["tags"]["component"] for event in fake.events] == ["cli"]


def test_a_fault_of_a_process_and_of_its_threads_is_told_once() -> None:
    program = (
        _WATCH
        + """
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise KeyError("not found")
"""
    )
    with sentry() as fake:
        assert run(program, fake, SENTRY_ENVIRONMENT="staging").returncode == 1
        kinds = sorted(event["exception"]["values"][-1]["type"] for event in fake.sent)
        assert kinds == ["KeyError", "ZeroDivisionError"]
        assert {event["environment"] for event in fake.events} == {"staging"}


_TRACK = """
import sys
from smarttext_pipelines.tracking.problems import Problems
assert "sentry_sdk" not in sys.modules
{before}
problems = Problems()
problems.note("sms", "failed", "30007", "b1")
problems.note("sms", "failed", "30007", "b1")
problems.send_all()
print(*sorted({{"dagster", "pandas", "ibis", "sentry_sdk"}} & {{name.split(".")[0] for name in sys.modules}}))
"""


def test_tracking_initialises_sentry_with_its_first_failed_message_and_loads_nothing_heavy() -> None:
    with sentry() as fake:
        done = run(_TRACK.format(before=""), fake)
        assert done.stdout.split() == ["sentry_sdk"], done.stderr
        (event,) = fake.events
    assert event["message"] == "sms failed 30007"
    assert event["extra"]["count"] == 2
    assert event["tags"]["component"] == "tracking"


def test_without_a_dsn_tracking_never_loads_sentry() -> None:
    with sentry() as fake:
        done = run(_TRACK.format(before=""), fake, SENTRY_DSN="")
        assert done.stdout.split() == []
        assert fake.envelopes == []


def test_the_applications_own_sentry_is_used_and_not_replaced() -> None:
    before = "import sentry_sdk; sentry_sdk.init(dsn=sys.argv[0] or None, environment='theirs')"
    with sentry() as fake, sentry() as theirs:
        program = _TRACK.format(before=before.replace("sys.argv[0] or None", repr(theirs.dsn)))
        assert run(program, fake).returncode == 0
        assert [event["environment"] for event in theirs.events] == ["theirs"]
        assert fake.envelopes == []
