"""A child that is forked while its parent opens a connection can open its own."""

import os
import subprocess
import sys

CODE = """
import os, sys, threading, time
import psycopg
held, entered = threading.Lock(), threading.Event()

def connect(**_names):
    # As libpq does: a lock of the process is held while a connection begins.
    with held:
        entered.set()
        time.sleep(float(sys.argv[1]))

psycopg.connect = connect
from smarttext_pipelines.tracking.inserts import connect as open_connection

def begin():
    open_connection("postgresql://x@127.0.0.1:9/x")

thread = threading.Thread(target=begin, daemon=True)
thread.start()
entered.wait()
began = time.monotonic()
pid = os.fork()
if not pid:
    os._exit(0 if held.acquire(timeout=5) else 3)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status), time.monotonic() - began)
"""


def _fork(seconds: float) -> tuple[int, float]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, str(seconds)], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    code, took = done.stdout.split()
    return int(code), float(took)


def test_a_fork_waits_until_a_connection_that_is_being_opened_holds_no_lock() -> None:
    assert _fork(0.4)[0] == 0


def test_a_fork_does_not_wait_for_a_network_that_does_not_answer() -> None:
    _, took = _fork(20)
    assert took < 10
