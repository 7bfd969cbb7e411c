"""What a process is told from outside: the settings, and the form that each of their values must have."""

from smarttext_pipelines.settings.environment import (
    ARCHIVE_SCHEMES,
    Settings,
    load_settings,
    variable_of,
)

__all__ = ["ARCHIVE_SCHEMES", "Settings", "load_settings", "variable_of"]
