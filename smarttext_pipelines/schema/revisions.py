"""The revisions that this version knows: the numbers with which the names of the migrations' files begin."""

from functools import cache
from importlib.resources import files

from smarttext_pipelines.core.errors import SchemaError


def newest_revision() -> str:
    """Return the revision that this version requires."""
    return known_revisions()[-1]


def refuse_newer(place: str, found: str | None) -> None:
    """Raise when a database is at a revision that this version does not know."""
    if found is not None and found not in known_revisions():
        msg = f"{place} was migrated by a newer version (revision {found}); upgrade smarttext_pipelines"
        raise SchemaError(msg)


@cache
def known_revisions() -> tuple[str, ...]:
    """Return every revision, the newest last."""
    # Not by Alembic: every command and run asks this, and importing it takes a sixth of the time they need to start.
    names = (path.name for path in (files("smarttext_pipelines.schema") / "migrations" / "versions").iterdir())
    return tuple(sorted(name.split("_")[0] for name in names if name.endswith(".py") and name[0].isdigit()))
