"""The databases a command works with: those of the settings, and for those not set the embedded server."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Connection, Engine

from smarttext_pipelines.core.errors import DatabaseError, SettingsError
from smarttext_pipelines.database.connect import connected, open_engine, parse_url
from smarttext_pipelines.database.embedded import embedded_server, ensure_database, has_cluster
from smarttext_pipelines.launch.service_manager import VARIABLES
from smarttext_pipelines.schema.installation import require_installation
from smarttext_pipelines.settings import Settings

EVENTS_DATABASE, DAGSTER_DATABASE = "smarttext", "dagster"

EVENT_BATCH_SIZE = 1000
"""Events that Dagster gathers before it writes them; see ``event_log``."""


@contextmanager
def databases(settings: Settings, *, dagster: bool = False, create: bool = False) -> Iterator[Settings]:
    """Give settings with every database URL set; the embedded server runs as long as one of them needs it.

    Args:
        settings: What the environment says.
        dagster: Whether Dagster's storage is needed too.
        create: Whether the embedded server may be made where there is none; else a mistyped folder would get one.

    Raises:
        SettingsError: There are no data in the folder, or Dagster's database cannot be used.
        EmbeddedServerError: The embedded server cannot be started.
    """
    if dagster and settings.dagster_database_url is not None:
        _require_database_of_dagster(settings)
    if settings.database_url is None and not create and not has_cluster(settings.data_dir):
        there = "go to the folder of `make run`, or set SMARTTEXT_DATA_DIR or SMARTTEXT_DATABASE_URL"
        msg = f"no data in {settings.data_dir}: {there}"
        raise SettingsError(msg)
    wanted = {"database_url": EVENTS_DATABASE} | ({"dagster_database_url": DAGSTER_DATABASE} if dagster else {})
    missing = {field: name for field, name in wanted.items() if getattr(settings, field) is None}
    if not missing:
        yield settings
        return
    with embedded_server(settings.data_dir) as server:
        for name in missing.values():
            ensure_database(server, name)
        urls = {field: SecretStr(server.url(name)) for field, name in missing.items()}
        yield settings.model_copy(update=urls)


@contextmanager
def event_database(settings: Settings) -> Iterator[tuple[Settings, Engine]]:
    """Give settings with every database URL set, and an engine of the event database, which is migrated.

    Raises:
        SmartTextError: There is none, it cannot be reached, or it cannot be used with these settings.
    """
    with databases(settings) as ready:
        if ready.database_url is None:
            msg = "no database to work with"
            raise SettingsError(msg)
        engine = open_engine(ready.database_url.get_secret_value())
        require_installation(engine, ready.zone)
        yield ready, engine


@contextmanager
def event_transaction(settings: Settings) -> Iterator[Connection]:
    """Give a connection to the event database, in a transaction."""
    with event_database(settings) as (_, engine), connected(engine) as connection, connection.begin():
        yield connection


def _require_database_of_dagster(settings: Settings) -> None:
    """Raise SettingsError unless Dagster's storage is a database of its own that answers."""
    variable = "SMARTTEXT_DAGSTER_DATABASE_URL"
    if _place(settings.database_url) == _place(settings.dagster_database_url):
        msg = f"{variable} is the event database; Dagster's tables need a database of their own"
        raise SettingsError(msg)
    url = settings.dagster_database_url.get_secret_value() if settings.dagster_database_url else ""
    try:
        with connected(open_engine(url)):
            pass
    except DatabaseError as error:
        # Its advice names the variable of the event database.
        msg = f"{variable}: {str(error).split('; check SMARTTEXT_DATABASE_URL')[0]}; create it, or correct the URL"
        raise SettingsError(msg) from None


def _place(url: SecretStr | None) -> tuple[str, int, str | None] | None:
    """Return what two URLs of one database have in common; None where there is none."""
    if url is None:
        return None
    parsed = parse_url(url.get_secret_value())
    host = "127.0.0.1" if parsed.host in (None, "", "localhost", "::1") else str(parsed.host).lower()
    return host, parsed.port or 5432, parsed.database


def prepare_dagster_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME with the project's ``dagster.yaml`` in it and return it; an existing file there stays."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.data_dir.resolve() / "dagster_home")
    home.mkdir(parents=True, exist_ok=True)
    if "DAGSTER_HOME" not in os.environ or not (home / "dagster.yaml").exists():
        shutil.copyfile(Path(__file__).with_name("dagster.yaml"), home / "dagster.yaml")
    return home


def child_environment(settings: Settings, home: Path) -> dict[str, str]:
    """Return the environment of processes that load the graph; ``settings`` come from ``databases``.

    Dagster's storage speaks psycopg 2 and its URL must say so.
    """
    if settings.database_url is None or settings.dagster_database_url is None:
        msg = "no database to work with"
        raise SettingsError(msg)
    storage = parse_url(settings.dagster_database_url.get_secret_value()).set(drivername="postgresql+psycopg2")
    return {
        **{name: value for name, value in os.environ.items() if name not in VARIABLES},
        "DAGSTER_HOME": str(home),
        "DAGSTER_EVENT_BATCH_SIZE": str(EVENT_BATCH_SIZE),
        "SMARTTEXT_DATABASE_URL": settings.database_url.get_secret_value(),
        "SMARTTEXT_DAGSTER_STORAGE_URL": storage.render_as_string(hide_password=False),
        "SMARTTEXT_DATA_DIR": str(settings.data_dir.resolve()),
        **({"SMARTTEXT_ARCHIVE_URL": settings.archive_location} if settings.archive_url else {}),
    }
