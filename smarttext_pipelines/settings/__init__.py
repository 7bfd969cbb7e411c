"""The settings of a process, and the form that each value must have."""

from smarttext_pipelines.settings.environment import ARCHIVE_SCHEMES, Settings
from smarttext_pipelines.settings.loading import load_settings, variable_of

__all__ = ["ARCHIVE_SCHEMES", "Settings", "load_settings", "variable_of"]
