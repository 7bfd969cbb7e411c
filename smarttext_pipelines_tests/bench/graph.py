"""Validating the graph, against importing dagster."""

import os
import subprocess
import sys
import tempfile

from smarttext_pipelines_tests.bench.tools import Line, alternate, seconds
from smarttext_pipelines_tests.conftest import Server

VALIDATE = ["-m", "dagster", "definitions", "validate", "-m", "smarttext_pipelines.definitions"]


def measure(_server: Server, _scale: float) -> list[Line]:
    """Return the ratio of both."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "DAGSTER_HOME": home}

        def run(*arguments: str) -> float:
            command = [sys.executable, *arguments]
            return seconds(lambda: subprocess.run(command, env=environment, check=True, capture_output=True, cwd=home))

        bare, validate = alternate(lambda: run("-c", "import dagster"), lambda: run(*VALIDATE))
    return [
        Line("import dagster", f"{bare:.1f} s"),
        Line("dagster definitions validate", f"{validate:.1f} s = {validate / bare:.2f} ×", "3 ×"),
    ]
