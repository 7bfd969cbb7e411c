"""From a number to its rows: what was counted, what became of it, who acts. Numbers of people are masked."""

from smarttext_pipelines.explain.column import Scope, explain_column, explain_scope
from smarttext_pipelines.explain.single import Reading, explain_call, explain_message
from smarttext_pipelines.explain.story import is_number, tell_story

__all__ = [
    "Reading",
    "Scope",
    "explain_call",
    "explain_column",
    "explain_message",
    "explain_scope",
    "is_number",
    "tell_story",
]
