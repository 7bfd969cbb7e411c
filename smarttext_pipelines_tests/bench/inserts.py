"""How long inserts of another session take while something goes on: a process of its own, as an application is one."""

import subprocess
import sys
import time
from collections.abc import Callable
from select import select

import psycopg

from smarttext_pipelines_tests.conftest import Database

_INSERT = "INSERT INTO public.sms_events (from_number, to_number, status) VALUES ('a', 'b', 'c')"
_PAUSE = 0.002


def longest_insert_ms(database: Database, action: Callable[[], object]) -> float:
    """Return the longest of the inserts that follow each other while something goes on."""
    command = [sys.executable, "-m", "smarttext_pipelines_tests.bench.inserts"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as inserting:
        assert inserting.stdin
        assert inserting.stdout
        print(database.plain_url, file=inserting.stdin, flush=True)
        inserting.stdout.readline()
        action()
        told, _ = inserting.communicate()
    return float(told)


def _insert_until_told(url: str) -> float:
    longest = 0.0
    with psycopg.connect(url, autocommit=True) as connection:
        print("begun", flush=True)  # noqa: T201
        while not select([sys.stdin], [], [], _PAUSE)[0]:
            begun = time.perf_counter()
            connection.execute(_INSERT)
            longest = max(longest, time.perf_counter() - begun)
    return longest * 1000


if __name__ == "__main__":
    print(_insert_until_told(sys.stdin.readline().strip()))  # noqa: T201
