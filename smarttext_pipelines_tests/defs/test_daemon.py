"""The real daemon: a schedule ticks, a run is launched, rows appear."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from pydantic import SecretStr

from smarttext_pipelines.launch.databases import child_environment, prepare_dagster_home
from smarttext_pipelines.settings import Settings, variable_of
from smarttext_pipelines_tests import strategies
from smarttext_pipelines_tests.conftest import Database, Server, fresh_database
from smarttext_pipelines_tests.events import cells, insert_events

LONGEST_WAIT = 200
ROOT = Path(__file__).parents[2]


@contextmanager
def daemon(settings: Settings, storage: str, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the daemon with these settings; those that are secrets or not defaults go into its environment."""
    settings = settings.model_copy(update={"dagster_database_url": SecretStr(storage)})
    environment = child_environment(settings, prepare_dagster_home(settings)) | _variables(settings)
    graph = Path(__file__).parent / "every_minute.py"
    command = [sys.executable, "-m", "dagster._daemon", "run", "-f", str(graph)]
    with (home / "daemon.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
            # The code server that the daemon started would live on.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _variables(settings: Settings) -> dict[str, str]:
    told = {
        name: getattr(settings, name) for name in settings.model_fields_set if name.startswith(("slack_", "heartbeat_"))
    }
    return {variable_of(n): v.get_secret_value() if isinstance(v, SecretStr) else v for n, v in told.items()}


def test_a_tick_becomes_a_run_becomes_rows(server: Server, database: Database, tmp_path: Path) -> None:
    with (
        fresh_database(server) as storage,
        daemon(database.settings(data_dir=tmp_path), storage.url, tmp_path) as process,
    ):
        deadline = time.monotonic() + LONGEST_WAIT
        now = datetime.now(UTC)
        with database.engine.begin() as connection:
            texts = [strategies.sms_event(1, now, message_sid="SM1", status="delivered")]
            insert_events(connection, {"sms_events": texts})
        with psycopg.connect(database.plain_url, autocommit=True) as listener:
            listener.execute(
                "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NOTIFY rows_written; RETURN NULL; END $$"
            )
            listener.execute(
                "CREATE TRIGGER tell AFTER INSERT ON public.daily_stats"
                " FOR EACH STATEMENT EXECUTE FUNCTION public.tell()"
            )
            listener.execute("LISTEN rows_written")
            while not cells(database.engine, "daily_stats"):
                assert process.poll() is None, (tmp_path / "daemon.log").read_text()[-2000:]
                assert time.monotonic() < deadline, (tmp_path / "daemon.log").read_text()[-2000:]
                next(listener.notifies(timeout=5), None)
        (row,) = cells(database.engine, "daily_stats")
        assert row["messages_sent"] == 1
        assert row["data_through"] >= now
        assert not row["is_final"]
