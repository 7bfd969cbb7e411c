"""What the archive holds, and that something was erased; written by ``retention``, read by all who read events."""

from sqlalchemy import BigInteger, CheckConstraint, Date, Index, Integer, Table, Text, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

archive_segments = Table(
    "archive_segments",
    metadata,
    column("id", Uuid, "Key of the segment; its temporary file is called so.", primary_key=True),
    column("table_name", Text, "Table whose rows it holds.", nullable=False),
    column(
        "day",
        Date,
        "UTC day of the rows; for api_usage their reset_date where there is one. 0001-01-01: undated rows.",
        nullable=False,
    ),
    column("seq", Integer, "Order among the segments of a table and day; the highest wins.", nullable=False),
    column(
        "state",
        Text,
        "planned, verified (file read back, rows still live), deleted (the file is the rows' only copy), restored "
        "(they are live again), superseded (not valid for any row).",
        nullable=False,
    ),
    column("object_key", Text, "Path of the file below SMARTTEXT_ARCHIVE_URL; NULL where there is none."),
    column("file_sha256", Text, "SHA-256 of the file."),
    column("content_sha256", Text, "SHA-256 of the rows' hashes in the order of their ids."),
    column("rows", BigInteger, "Rows in the file."),
    column("bytes", BigInteger, "Size of the file in bytes."),
    column("uncompressed_bytes", BigInteger, "Size of the rows in memory in bytes, before compression."),
    column("min_at", Instant, "Earliest time among the rows."),
    column("max_at", Instant, "Latest time among the rows."),
    column("deleted_rows", BigInteger, "Rows that were deleted because the file holds exactly them."),
    column("changed_rows", BigInteger, "Rows of the file that were gone or different when the others were deleted."),
    column(
        "changed_ids",
        ARRAY(Uuid),
        "Ids of those rows; the file is not valid for them.",
    ),
    column("hold_until", Instant, "Until when restored rows are not archived again."),
    column("schema_version", Text, "Digest of the names and types of the columns in the file."),
    column("failure", Text, "Why the last attempt, or the last check of the file, failed; NULL when it did not."),
    column("planned_at", Instant, "When the segment was begun.", nullable=False, server_default=text("now()")),
    column("verified_at", Instant, "When the file had been read back."),
    column("deleted_at", Instant, "When the rows were deleted."),
    column("checked_at", Instant, "When the file was last hashed by a scrub."),
    CheckConstraint(
        "state IN ('planned', 'verified', 'deleted', 'restored', 'superseded')", name="archive_segments_state_check"
    ),
    Index(
        "archive_segments_table_name_day_seq_key",
        "table_name",
        "day",
        "seq",
        unique=True,
        postgresql_where=text("state <> 'superseded'"),
    ),
    Index(
        "archive_segments_unfinished_key",
        "table_name",
        "day",
        unique=True,
        postgresql_where=text("state IN ('planned', 'verified')"),
    ),
    schema=MONITORING,
    comment="Manifest of the archive: which file holds which rows. A file that is not named here is not read.",
)

erasures = Table(
    "erasures",
    metadata,
    column("id", Uuid, "Key of the erasure.", primary_key=True),
    column("started_at", Instant, "When it was begun.", nullable=False, server_default=text("now()")),
    column("finished_at", Instant, "When it was complete; NULL: interrupted, run it again."),
    column("live_rows", JSONB, "Rows deleted from each table.", nullable=False, server_default=text("'{}'::jsonb")),
    column(
        "archived_rows",
        JSONB,
        "Rows cut out of each table's archive.",
        nullable=False,
        server_default=text("'{}'::jsonb"),
    ),
    column("segments_rewritten", Integer, "Files that were rewritten.", nullable=False, server_default=text("0")),
    schema=MONITORING,
    comment="Erasures of a person's rows; nothing here says whose.",
)
