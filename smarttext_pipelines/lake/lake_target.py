"""Where the files of the lake are stored."""

from smarttext_pipelines.archive.target import ArchiveTarget
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.settings import Settings


class LakeTarget(ArchiveTarget):
    """The files of the lake below one URL; keys are paths relative to it."""

    kind = "lake"
    setting = "SMARTTEXT_LAKE_URL"


def find_lake(settings: Settings) -> LakeTarget | None:
    """Return where the lake is; None where none is kept.

    Raises:
        SettingsError: It is the place of the archive, or of a kind that is not installed.
    """
    if settings.lake_location is None:
        return None
    if settings.lake_location.rstrip("/") == settings.archive_location.rstrip("/"):
        msg = "SMARTTEXT_LAKE_URL and SMARTTEXT_ARCHIVE_URL are the same place: readers would find rows twice"
        raise SettingsError(msg)
    return LakeTarget(settings.lake_location)


def require_lake(settings: Settings) -> LakeTarget:
    """Return where the lake is; raise SettingsError where none is kept."""
    found = find_lake(settings)
    if found is None:
        msg = "no lake is kept; set SMARTTEXT_LAKE_URL to a directory, s3://bucket/path or gs://bucket/path"
        raise SettingsError(msg)
    return found
