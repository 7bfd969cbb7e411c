"""Tell of a text, make a call to OpenAI within the budget, and run into its limit.

Uses SMARTTEXT_DATABASE_URL, or the embedded database that `make run` starts. Leaves one text and one priced call there.
"""

from uuid import uuid4

from smarttext_pipelines import tracking
from smarttext_pipelines.launch.databases import databases
from smarttext_pipelines.settings import load_settings


def main() -> None:
    """Track, reserve, settle; then ask for more than is left."""
    with databases(load_settings()) as ready:
        tracking.configure(database_url=ready.database_url.get_secret_value())
        tracking.track_sms_event(from_="+15550100", to="+15550101", status="queued", message_sid=f"SM{uuid4().hex}")

        with tracking.reserve_openai_usage(None, 1200, str(uuid4()), model="gpt-4o-mini") as reservation:
            # ... the call to OpenAI stands here ...
            reservation.settle(900, cost=0.0002)
        print("admitted; used today:", tracking.check_openai_usage_limit(None).used)

        refused = tracking.reserve_openai_usage(None, 2_000_000, str(uuid4()))
        print("refused:", refused.decision.reason, "limit:", refused.decision.limit)
        print("all written:", tracking.flush(timeout=10))
        print(tracking.counters())
        tracking.configure()


if __name__ == "__main__":
    main()
