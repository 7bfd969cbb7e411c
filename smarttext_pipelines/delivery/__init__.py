"""What became of each text and what it cost, asked of Twilio and appended to the event tables."""

from smarttext_pipelines.delivery.service import Fetched, count_waiting, fetch_reports

__all__ = ["Fetched", "count_waiting", "fetch_reports"]
