"""The one error tree. Each message is one line that says what to do next.

SmartTextError
├── SettingsError          a setting is missing or wrong
├── InputError             a date, a name or an option that cannot be used
├── DatabaseError          unreachable, not migrated, wrong role, wrong pooler
│   ├── DeadlockError      another session and ours waited for each other; ours was rolled back
│   ├── NotSharedError     a fact cannot be read together with others; it is read alone
│   ├── EngineError        another engine, such as Spark, answered with an error; nothing was written
│   └── SchemaError        tables or columns are not what this version expects
├── ArchiveError           the archive cannot be read or written; no row was deleted
│   └── DamagedFileError   a file of the archive is missing, or not the one that was verified
├── EmbeddedServerError    the embedded PostgreSQL could not be started or is not ours
└── AgreementError         a result does not agree with its sources; it was rolled back
    └── RepeatedKeyError   two rows have the same dimensions
"""


class SmartTextError(Exception):
    """Base of all errors a person can act on; the CLI prints it as one line and exits with 2."""


class SettingsError(SmartTextError):
    """A setting is missing or has a value that cannot be used."""


class InputError(SmartTextError):
    """An argument cannot be used: unknown business, date in the future, end before start."""


class DatabaseError(SmartTextError):
    """The database cannot be reached or used as it is configured."""


class DeadlockError(DatabaseError):
    """Another session and ours waited for each other, and the server rolled ours back: it can be tried again."""


class NotSharedError(DatabaseError):
    """A fact cannot be read in the snapshot of the others of its run; nothing was written, and it can be read alone."""


class EngineError(DatabaseError):
    """An engine outside of the database, such as Spark, failed at a statement; nothing was written.

    Attributes:
        reason: What it said, without whom.
    """

    def __init__(self, message: str, reason: str) -> None:
        """Take the whole line and the part of it that says why."""
        super().__init__(message)
        self.reason = reason


class SchemaError(DatabaseError):
    """Tables or columns differ from what this version expects."""


class ArchiveError(SmartTextError):
    """The archive cannot be read or written; no row was deleted because of it."""


class DamagedFileError(ArchiveError):
    """A file of the archive is missing, or it is not the one that was verified."""


class EmbeddedServerError(SmartTextError):
    """The embedded PostgreSQL could not be started, or the server found is not ours."""


class AgreementError(SmartTextError):
    """A computed result contradicts its sources; nothing was written."""


class RepeatedKeyError(AgreementError):
    """Two computed rows have the same dimensions; nothing was written."""
