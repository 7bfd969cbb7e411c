"""When businesses use OpenAI, what callers do with a text, and what a business costs and pays in a month."""

from sqlalchemy import BigInteger, Boolean, Date, Index, Integer, Numeric, SmallInteger, Table, Text, Uuid

from smarttext_pipelines.schema.tables.conventions import MONITORING, Usd, column, metadata, updated_at

openai_hours = Table(
    "openai_hours",
    metadata,
    column("business_key", Uuid, "Business, or zeros for none.", primary_key=True),
    column("weekday", SmallInteger, "Day of the week in the reporting zone, 1 is Monday.", primary_key=True),
    column("hour", SmallInteger, "Hour of the day in the reporting zone, 0 to 23.", primary_key=True),
    column("tokens", Numeric, "OpenAI tokens that are to be expected in the hour.", nullable=False),
    column("computed_on", Date, "Reporting day on which it was computed, of the four weeks before.", nullable=False),
    schema=MONITORING,
    comment="OpenAI tokens of each hour of the week, by business; says when a limit will be reached.",
)

write_backs = Table(
    "write_backs",
    metadata,
    column("day", Date, "Reporting day of the missed calls.", nullable=False),
    column("business_id", Uuid, "Business."),
    column("texted_callers", Integer, "Callers of missed calls who got a text within 24 hours.", nullable=False),
    column("wrote_back", Integer, "Of these, who wrote to the business within 24 hours of it.", nullable=False),
    Index("write_backs_day_business_id_key", "day", "business_id", unique=True, postgresql_nulls_not_distinct=True),
    schema=MONITORING,
    comment="How many callers write back after a text, by day and business; a row without business marks the day.",
)

_UNKNOWN = "NULL where a part of it is unknown."

unit_economics = Table(
    "unit_economics",
    metadata,
    column("month", Date, "First day of the month.", nullable=False),
    column("business_id", Uuid, "Business; NULL for what could not be attributed to one."),
    column("missed_calls", BigInteger, "Missed calls.", nullable=False),
    column("answered_callers", BigInteger, "Missed calls whose caller got a text within 24 hours; NULL where unknown."),
    column("unanswered_callers", BigInteger, "Missed calls whose caller got none; NULL where unknown."),
    column("texts", BigInteger, "Texts attempted without suppressed ones; NULL where unknown."),
    column("tokens", BigInteger, "OpenAI tokens.", nullable=False),
    column("openai_usd", Usd, "Recorded cost of OpenAI; requests without a price add nothing.", nullable=False),
    column("openai_unpriced", BigInteger, "OpenAI requests with tokens and no price.", nullable=False),
    column("texts_usd", Usd, "Recorded price of texts; NULL where no text has one."),
    column("fees_usd", Usd, "Carriers' fees recorded apart from the price; NULL where none were."),
    column("texts_unpriced", BigInteger, "Texts that were sent and have no recorded price; NULL where unknown."),
    column("known_cost_usd", Usd, "All recorded costs: what the business costs at least.", nullable=False),
    column("cost_usd", Usd, f"What it costs. {_UNKNOWN}"),
    column("usd_per_missed_call", Usd, f"Cost per missed call. {_UNKNOWN}"),
    column("usd_per_answered_caller", Usd, f"Cost per answered caller. {_UNKNOWN}"),
    column("plan", Text, "Plan in the file of plans; NULL where it has none there."),
    column("plan_usd", Usd, "Price of the plan for a month; NULL without one."),
    column("margin_usd", Usd, f"Price less cost. {_UNKNOWN}"),
    column("margin_at_most_usd", Usd, "Price less the recorded costs; NULL without a price."),
    column("days_known", SmallInteger, "Days of the month that were rolled up after their end.", nullable=False),
    column("complete", Boolean, "Whether the month is over and each of its days was rolled up.", nullable=False),
    updated_at(),
    Index("unit_economics_month_business_id_key", "month", "business_id", unique=True,
          postgresql_nulls_not_distinct=True),
    schema=MONITORING,
    comment="What each business costs and pays, by month; of the days that were rolled up after their end.",
)  # fmt: skip
