"""Dagster's three processes: a code server that serves the graph, the web server, the daemon; when they are ready.

The location has one name in every way of serving it: schedules, backfills and queued runs are remembered under it.
"""

import hashlib
import http.client
import json
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smarttext_pipelines.core.errors import SmartTextError
from smarttext_pipelines.launch.processes import Children

LOCATION = "smarttext"
DEFINITIONS = "smarttext_pipelines.definitions"
_READY_WITHIN_SECONDS = 120
_POLL_SECONDS = 0.1
_LONGEST_SOCKET_PATH = 100  # the kernels end at 104 and 108
# One connection per storage of Dagster and one to spare: all of it has to run on a server that has 15.
_WEB_FLAGS = ["--suppress-warnings", "--db-pool-max-overflow", "1"]
_LOADED = """{ workspaceOrError { ... on PythonError { message } ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { ... on PythonError { message } } } } } }"""
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@dataclass(frozen=True)
class WebAddress:
    """Where the UI listens."""

    host: str
    port: int

    @property
    def local_host(self) -> str:
        """The host under which this machine reaches it."""
        return _EVERYWHERE.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The URL for a browser on this machine."""
        host = f"[{self.local_host}]" if ":" in self.local_host else self.local_host
        return f"http://{host}:{self.port}"

    def ask(self, method: str, path: str, body: object = None) -> object:
        """Return the answer to a request, or None when there is none; no proxy is asked."""
        connection = http.client.HTTPConnection(self.local_host, self.port, timeout=15)
        try:
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return json.load(response) if response.status == http.HTTPStatus.OK else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


def start_code_server(children: Children, address: Path, definitions: str) -> None:
    """Start the process that serves the graph and launches runs, and wait until it has loaded the definitions."""
    address.unlink(missing_ok=True)
    # `dagster code-server start` would hide the end of the process behind a proxy, for 70 MB and a second more.
    command = ["dagster", "api", "grpc", "-m", definitions, "-s", str(address), "--location-name", LOCATION]
    children.start("code-server", command, grace=5)
    _wait(children, "the code server", lambda: _accepts(address))


def start_daemon(children: Children, workspace: Path, code_server: Path) -> None:
    """Start what evaluates schedules and sensors and takes runs from the queue.

    First the runs that died with an earlier code server are ended, before a new one can be mistaken for one of them.
    """
    children.run("leftovers", ["smarttext_pipelines.launch.leftovers", str(code_server)])
    children.start("daemon", ["dagster._daemon", "run", "-w", str(workspace)], grace=5)


def start_web_server(children: Children, workspace: Path, address: WebAddress) -> None:
    """Start the UI."""
    command = ["dagster_webserver", "-w", str(workspace), "-h", address.host, "-p", str(address.port), *_WEB_FLAGS]
    children.start("webserver", command, grace=2)


def wait_for_web_server(children: Children, address: WebAddress) -> None:
    """Wait until the UI answers and has the graph; raise SmartTextError when the graph cannot be loaded."""
    _wait(children, "the web server", lambda: address.ask("GET", "/server_info") is not None)
    faults: list[str] = []
    _wait(children, "the graph", lambda: _is_loaded(address.ask("POST", "/graphql", {"query": _LOADED}), faults))
    if faults:
        message = f"the graph cannot be loaded: {faults[0].strip()}"
        raise SmartTextError(message)


def socket_path(data_dir: Path) -> Path:
    """Return where the code server listens: only its user can connect there, and no port is taken."""
    path = data_dir / "code.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    directory = Path(tempfile.gettempdir()) / f"smarttext-{os.geteuid()}-{name}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        message = f"{directory} belongs to somebody else: remove it, or set SMARTTEXT_DATA_DIR to a shorter path"
        raise SmartTextError(message)
    return directory / "code.sock"


def write_workspace(path: Path, code_server: Path) -> Path:
    """Write the file in which the web server and the daemon find the code server."""
    server = {"host": "localhost", "socket": str(code_server), "location_name": LOCATION}
    path.write_text(json.dumps({"load_from": [{"grpc_server": server}]}) + "\n")  # JSON is YAML
    return path


def _is_loaded(answer: object, faults: list[str]) -> bool:
    """Whether an answer to the query says that every location was loaded or failed to; faults are collected."""
    if not isinstance(answer, dict) or not answer.get("data"):
        return False
    workspace = answer["data"]["workspaceOrError"]
    entries = workspace.get("locationEntries", [])
    failed = [workspace, *(entry["locationOrLoadError"] or {} for entry in entries)]
    faults += [each["message"] for each in failed if "message" in each]
    return bool(faults) or (bool(entries) and all(entry["loadStatus"] == "LOADED" for entry in entries))


def _accepts(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


def _wait(children: Children, what: str, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_SECONDS
    while not is_ready():
        children.check()
        if time.monotonic() > deadline:
            message = f"{what} is not ready after {_READY_WITHIN_SECONDS} s: see the logs in {children.log_dir}"
            raise SmartTextError(message)
        time.sleep(_POLL_SECONDS)
