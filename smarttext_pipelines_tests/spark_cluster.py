"""Apache Spark on this machine: a master, workers and a Spark Connect server, each a process of its own."""

import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_SECONDS = 120
_DAEMON = "org.apache.spark.deploy"
_CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"


class Daemon:
    """A process of Spark and of those that it starts, and what it says."""

    def __init__(self, home: Path, folder: Path, *command: str) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        places = {"SPARK_HOME": home, "SPARK_WORKER_DIR": folder, "SPARK_LOCAL_DIRS": folder}
        environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "512m"}
        environment |= {name: str(place) for name, place in places.items()}
        self._process = subprocess.Popen(
            [str(home / "bin" / command[0]), *command[1:]],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put(line)

    def forget(self) -> None:
        """Leave out what was said until now."""
        while not self._lines.empty():
            self._lines.get()

    def wait_for(self, pattern: str) -> str:
        """Return the first group of the next line that matches."""
        said = []
        while True:
            try:
                said.append(self._lines.get(timeout=_PATIENCE_SECONDS))
            except queue.Empty:
                raise AssertionError("".join(said[-20:])) from None
            if found := re.search(pattern, said[-1]):
                return found[1]

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End it and all that it started at once."""
        if self.is_running:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        remote: Its URL.
        token: What it must be asked with.
        driver: The Spark Connect server.
        workers: Its workers.
    """

    remote: str
    token: str
    driver: Daemon
    workers: list[Daemon]


@contextmanager
def running_cluster(home: Path, folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Start a cluster.

    Args:
        home: Where Spark is: its bin and jars.
        folder: Where it may write.
        workers: How many, of one core each.
    """
    token = "of-this-" + "cluster"
    with ExitStack() as stack:

        def started(*command: str) -> Daemon:
            daemon = Daemon(home, folder, *command)
            stack.callback(daemon.kill)
            return daemon

        local = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        master = started("spark-class", f"{_DAEMON}.master.Master", *local)
        url = master.wait_for(r"Starting Spark master at (spark://\S+)")
        running = [
            started("spark-class", f"{_DAEMON}.worker.Worker", *local, "--cores", "1", "--memory", "1g", url)
            for _ in range(workers)
        ]
        for worker in running:
            worker.wait_for(r"(Successfully registered) with master")
        settings = {
            "spark.connect.grpc.binding.port": "0",
            "spark.connect.authenticate.token": token,
            "spark.executor.memory": "768m",
            "spark.driver.memory": "1g",
            "spark.driver.host": "127.0.0.1",
            "spark.sql.shuffle.partitions": "4",
            "spark.ui.enabled": "false",
        }
        options = [part for name, value in settings.items() for part in ("--conf", f"{name}={value}")]
        driver = started("spark-submit", "--class", _CONNECT, "--master", url, *options, "spark-internal")
        port = driver.wait_for(r"Spark Connect server started at: .*?:(\d+)\s*$")
        yield Cluster(f"sc://localhost:{port}", token, driver, running)
