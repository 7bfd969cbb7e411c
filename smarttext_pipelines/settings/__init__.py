"""The settings of a process, and the form that each value must have."""

from smarttext_pipelines.settings.customer_secret import customer_secret
from smarttext_pipelines.settings.environment import ARCHIVE_SCHEMES, Settings
from smarttext_pipelines.settings.loading import load_settings, variable_of

__all__ = ["ARCHIVE_SCHEMES", "Settings", "customer_secret", "load_settings", "variable_of"]
