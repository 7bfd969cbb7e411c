"""The Node.js client, tested by ``node --test`` against PostgreSQL."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from smarttext_pipelines_tests.conftest import Database
from smarttext_pipelines_tests.guardrail import add_businesses

CLIENT = Path(__file__).parents[2] / "clients" / "node"


def _pg() -> str | None:
    """Return where ``pg`` is installed: in the client's folder, or in NODE_PG_FOLDER."""
    folder = Path(os.environ.get("NODE_PG_FOLDER", str(CLIENT / "node_modules"))) / "pg" / "lib" / "index.js"
    return str(folder) if folder.is_file() else None


def test_the_node_client_passes_its_own_tests_against_postgresql(database: Database) -> None:
    node, pg = shutil.which("node"), _pg()
    if node is None:
        pytest.skip("node is not installed (2026-11-28)")
    if pg is None:
        pytest.skip("pg is not installed: run `npm install` in clients/node (2026-11-28)")
    business = add_businesses(database, 1)[0]
    database.run("UPDATE monitoring.openai_limits SET limit_tokens = 1000, limit_usd = NULL")
    environment = {
        "PATH": os.environ["PATH"],
        "SMARTTEXT_NODE_PG": pg,
        "SMARTTEXT_NODE_DATABASE_URL": database.plain_url,
        "SMARTTEXT_NODE_BUSINESS": str(business),
    }
    done = subprocess.run(
        [node, "--test", "test/"], cwd=CLIENT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
