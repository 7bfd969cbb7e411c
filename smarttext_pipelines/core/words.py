"""Words with numbers. Pure."""


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return ``1 row``, ``2 rows`` or ``1,200 rows``."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"
