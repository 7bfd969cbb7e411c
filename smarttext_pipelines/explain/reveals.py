"""Who had telephone numbers shown in full."""

from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError

from smarttext_pipelines.core.errors import InputError

_RECORD = text("INSERT INTO monitoring.number_reveals (author, what) VALUES (:author, :what)")


def record(connection: Connection, author: str, what: str) -> None:
    """Record who asked, for good, before anything is shown.

    Raises:
        InputError: The role may not see numbers.
    """
    try:
        connection.execute(_RECORD, {"author": author, "what": what})
    except ProgrammingError:
        connection.rollback()
        msg = "this role may not see numbers in full; use the owner of the database or smarttext_pipeline"
        raise InputError(msg) from None
    connection.commit()
