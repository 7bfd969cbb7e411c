"""A new cluster for the embedded PostgreSQL: its locale, its superuser, its settings.

The settings are written to its ``postgresql.conf`` once and are the user's to change; address and port are not here,
they are chosen at every start.
"""

import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from smarttext_pipelines.core.errors import EmbeddedServerError
from smarttext_pipelines.database.embedded_user import Place, give

SUPERUSER = "smarttext"
PASSWORD_FILE = "smarttext.password"  # noqa: S105
_SETTINGS = {
    "max_connections": "40",
    "shared_buffers": "128MB",
    "jit": "off",
    # Of our password, 24 random bytes, nothing is guessed; 4096 hashes are most of what a connection costs a client.
    "scram_iterations": "1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] %q%a ",
    "cluster_name": "smarttext",
}


def create_cluster(place: Place) -> None:
    """Create the cluster under a temporary name and rename it, so that a killed initdb leaves no half cluster."""
    for leftover in place.cluster.parent.glob("init-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    workshop = Path(tempfile.mkdtemp(prefix="init-", dir=place.cluster.parent))
    password, new = workshop / "password", workshop / "cluster"
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    for path in (workshop, password):
        give(path, place.account)
    command = [str(place.binaries / "initdb"), "-D", str(new), f"--username={SUPERUSER}", f"--pwfile={password}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    command += ["--no-instructions", *(f"--set={name}={value}" for name, value in _SETTINGS.items())]
    try:
        finished = subprocess.run(  # noqa: S603
            command, check=False, capture_output=True, text=True, **place.popen_options()
        )
        if finished.returncode != 0:
            lines = finished.stderr.strip().splitlines() or [f"exit code {finished.returncode}"]
            message = f"initdb failed: {lines[-1]} (set SMARTTEXT_DATA_DIR to another directory)"
            raise EmbeddedServerError(message)
        password.rename(new / PASSWORD_FILE)
        new.rename(place.cluster)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
