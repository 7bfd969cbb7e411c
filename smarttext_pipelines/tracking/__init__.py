"""What an application imports to record events and to stay within its OpenAI budget.

Every ``track_*`` call validates, stamps the time, appends to a file (0600) and returns; a background thread writes.
Database trouble never reaches the caller, and an event outlives its process: another one writes it, once.

    from smarttext_pipelines import tracking

    tracking.configure(database_url="postgresql://service_role:…@host:5432/postgres")
    tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued", message_sid=sid, business_id=business)
    with tracking.reserve_openai_usage(business, tokens=1200, request_id=request) as reservation:
        answer = ask_openai(...)
        reservation.settle(usage=answer.usage)  # or reservation.cancel(), where no call was made
"""

from smarttext_pipelines.tracking.budget_guard import (
    BudgetExceeded,
    LimitDecision,
    Reservation,
    check_openai_usage_limit,
    reserve_openai_usage,
    reset_daily_openai_usage,
)
from smarttext_pipelines.tracking.process import Counters, configure, counters, flush
from smarttext_pipelines.tracking.reads import get_daily_stats, get_openai_usage, get_sms_failure_rate
from smarttext_pipelines.tracking.track import (
    track_call_event,
    track_owner_alert,
    track_sms_event,
)
from smarttext_pipelines.tracking.usage_events import track_openai_usage

__all__ = [
    "BudgetExceeded",
    "Counters",
    "LimitDecision",
    "Reservation",
    "check_openai_usage_limit",
    "configure",
    "counters",
    "flush",
    "get_daily_stats",
    "get_openai_usage",
    "get_sms_failure_rate",
    "reserve_openai_usage",
    "reset_daily_openai_usage",
    "track_call_event",
    "track_openai_usage",
    "track_owner_alert",
    "track_sms_event",
]
