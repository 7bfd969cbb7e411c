"""The revisions that this version knows, read from the directory of migrations."""

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from smarttext_pipelines.core.errors import SchemaError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory


def newest_revision() -> str:
    """Return the revision that this version requires."""
    head = _scripts().get_current_head()
    assert head is not None, "the package has migrations"  # noqa: S101
    return head


def refuse_newer(place: str, found: str | None) -> None:
    """Raise when a database is at a revision that this version does not know."""
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        msg = f"{place} was migrated by a newer version (revision {found}); upgrade smarttext_pipelines"
        raise SchemaError(msg)


@cache
def _scripts() -> "ScriptDirectory":
    # Alembic is imported here because `smarttext --help` should start without it.
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(files("smarttext_pipelines.schema") / "migrations"))
