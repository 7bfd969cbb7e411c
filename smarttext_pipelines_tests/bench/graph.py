"""How long processes take before they do anything: the graph, the command line, tracking; against importing dagster."""

import os
import subprocess
import sys
import tempfile

from smarttext_pipelines_tests.bench.tools import Line, alternate, seconds
from smarttext_pipelines_tests.conftest import Server

VALIDATE = ["-m", "dagster", "definitions", "validate", "-m", "smarttext_pipelines.definitions"]
HELP = ["-m", "smarttext_pipelines.cli", "--help"]


def measure(_server: Server, _scale: float) -> list[Line]:
    """Return the ratios."""
    with tempfile.TemporaryDirectory() as home:
        # As installed: without the bytecode, most of the time is that of compiling Python.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = {**kept, "DAGSTER_HOME": home}

        def run(*arguments: str) -> float:
            command = [sys.executable, *arguments]
            return seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True, cwd=home))

        bare, validate, help_, tracking = alternate(
            lambda: run("-c", "import dagster"),
            lambda: run(*VALIDATE),
            lambda: run(*HELP),
            lambda: run("-c", "import smarttext_pipelines.tracking"),
        )
    return [
        Line("import dagster", f"{bare:.1f} s"),
        Line("dagster definitions validate", f"{validate:.1f} s = {validate / bare:.2f} ×", "2.5 ×"),
        Line("smarttext --help", f"{help_:.2f} s = {help_ / bare:.2f} ×", "0.5 s"),
        Line("import smarttext_pipelines.tracking", f"{tracking:.2f} s = {tracking / bare:.2f} ×"),
    ]
