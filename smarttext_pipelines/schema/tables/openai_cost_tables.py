"""What OpenAI charges by its own days (UTC), and what was recorded on them."""

from sqlalchemy import BigInteger, Boolean, Date, Index, Numeric, Table, Text, text

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, Usd, column, metadata

openai_costs = Table(
    "openai_costs",
    metadata,
    column("day", Date, "Day in UTC, which is OpenAI's.", nullable=False),
    column("project_id", Text, "OpenAI's id of the project; NULL for costs of none."),
    column("line_item", Text, "Line of OpenAI's invoice, such as a model and a kind of tokens; NULL for one without."),
    column("currency", Text, "Currency of the amount, three letters; amounts of two are never added.", nullable=False),
    column("amount", Numeric, "What OpenAI charges, as exact as told; below zero is an adjustment.", nullable=False),
    Index(
        "openai_costs_day_project_id_line_item_currency_key",
        "day",
        "project_id",
        "line_item",
        "currency",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    schema=MONITORING,
    comment="OpenAI's own costs of the organisation, by day in UTC, project, line item and currency.",
)

openai_cost_days = Table(
    "openai_cost_days",
    metadata,
    column("day", Date, "Day in UTC.", primary_key=True),
    column("asked_at", Instant, "When OpenAI last answered a question for the day.", nullable=False),
    column("is_told", Boolean, "Whether an answer had the day, if only to say that it cost nothing.", nullable=False),
    column(
        "recorded_usd",
        Usd,
        "Cost of OpenAI that api_usage has of the day, by the time of its rows, in USD; NULL before the first of them.",
    ),
    column(
        "unpriced_requests",
        BigInteger,
        "Requests of the day with tokens and without a price, which recorded_usd lacks.",
        nullable=False,
        server_default=text("0"),
    ),
    schema=MONITORING,
    comment="Which days OpenAI was asked for, and what was recorded on them; a day without a row was not asked for.",
)
