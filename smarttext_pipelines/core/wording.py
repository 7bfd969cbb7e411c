"""Words with numbers, and names in statements. Pure."""


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return ``1 row``, ``2 rows`` or ``1,200 rows``."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier, as PostgreSQL and DuckDB read it."""
    return '"' + name.replace('"', '""') + '"'
