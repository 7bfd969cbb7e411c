"""What several metrics read of one window: each can be staged once, and is then read in the place of its definition."""

from collections.abc import Mapping

from smarttext_pipelines.metrics.call_volume import CALLS, calls
from smarttext_pipelines.metrics.messages import TEXTS, window_texts
from smarttext_pipelines.metrics.metric import Build
from smarttext_pipelines.metrics.replies import REPLIES, repeated, replied_calls
from smarttext_pipelines.metrics.windowed import remembered

WINDOW_TABLES: Mapping[str, Build] = {
    CALLS: remembered(calls),
    TEXTS: remembered(window_texts),
    REPLIES: remembered(replied_calls),
}
"""Tables of what begins in a window, by the name under which metrics look for them, each after what it reads."""

REPEATED_KEYS: Build = remembered(repeated)
"""Builds the keys that identify nothing on a day, among those of every metric."""
