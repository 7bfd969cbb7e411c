"""From a number to its rows: what was counted, what became of it, who acts. Numbers of people are masked."""

from smarttext_pipelines.explain.column import explain_column
from smarttext_pipelines.explain.single import explain_call, explain_message

__all__ = ["explain_call", "explain_column", "explain_message"]
