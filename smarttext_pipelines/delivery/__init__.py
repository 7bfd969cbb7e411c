"""What became of each text and what it cost, asked of Twilio and appended to the event tables."""

from smarttext_pipelines.delivery.service import Fetched, count_waiting, fetch_reports
from smarttext_pipelines.delivery.unexplained import cost_finding, texts_finding
from smarttext_pipelines.delivery.usage import UsageDay, compare_usage, days_to_compare

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
