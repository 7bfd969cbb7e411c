"""Twilio: its client, what became of each text and what it cost, its bill, and its status callbacks."""

from smarttext_pipelines.twilio.fetch_reports import Fetched, count_waiting, fetch_reports
from smarttext_pipelines.twilio.unexplained import cost_finding, texts_finding
from smarttext_pipelines.twilio.usage_records import UsageDay, compare_usage, days_to_compare

__all__ = [
    "Fetched",
    "UsageDay",
    "compare_usage",
    "cost_finding",
    "count_waiting",
    "days_to_compare",
    "fetch_reports",
    "texts_finding",
]
