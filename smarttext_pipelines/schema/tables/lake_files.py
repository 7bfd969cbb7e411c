"""What the lake holds: one current file for each table and day; written by ``lake``, read by all who read the lake."""

from sqlalchemy import BigInteger, Date, Index, Table, Text, text

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

lake_files = Table(
    "lake_files",
    metadata,
    column("table_name", Text, "Table whose rows it holds.", primary_key=True),
    column(
        "day",
        Date,
        "UTC day of the rows; for api_usage their reset_date where there is one.",
        primary_key=True,
    ),
    column("key", Text, "Path of the current file below SMARTTEXT_LAKE_URL; NULL until there is one."),
    column("sha256", Text, "SHA-256 of the file."),
    column("rows", BigInteger, "Rows in the file."),
    column("bytes", BigInteger, "Size of the file in bytes."),
    column("oldest_event_at", Instant, "Earliest time among the rows that it was made of."),
    column("newest_event_at", Instant, "Latest time among the rows that it was made of, live and archived."),
    column(
        "source_rows",
        BigInteger,
        "Rows that were live, and rows that had left for the archive, when it was written; the file is current while "
        "there are as many, and the newest of them is as new.",
    ),
    column("exported_at", Instant, "When the file was written."),
    column("planned_key", Text, "File that is being written; NULL when none is."),
    column("replaced_key", Text, "File that was replaced, and stays for a day for those who are still reading it."),
    Index("lake_files_unfinished_idx", "table_name", "day", postgresql_where=text("planned_key IS NOT NULL")),
    schema=MONITORING,
    comment="Manifest of the event lake: the one current file of a table and day. A file not named here is not read.",
)
