"""Tables of the OpenAI guardrail and of the tracking library, in schema ``monitoring``.

``api_usage`` is the ledger. ``openai_budgets`` is the admission counter: its used amounts are written by the trigger on
the ledger and by nothing else (``schema/guardrail``).
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Date,
    Identity,
    Index,
    Numeric,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)

from smarttext_pipelines.schema.tables.conventions import MONITORING, Instant, column, metadata

_NOW = text("now()")


def _business() -> Column[Any]:
    return column("business_id", Uuid, "Business; NULL for usage that names none, which has a budget of its own.")


def _key() -> Column[Any]:
    nil = "'00000000-0000-0000-0000-000000000000'::uuid"
    computed = Computed(f"coalesce(business_id, {nil})", persisted=True)
    return Column("business_key", Uuid, computed, nullable=False, comment="business_id, or zeros for none.")


def _amount(name: str, comment: str) -> Column[Any]:
    return column(name, Numeric, comment, nullable=False, server_default=text("0"))


def _counter(name: str, comment: str) -> Column[Any]:
    return column(name, BigInteger, comment, nullable=False, server_default=text("0"))


openai_limits = Table(
    "openai_limits",
    metadata,
    column("scope", Text, "default, plan, business or unattributed; the most specific row wins.", primary_key=True),
    column("name", Text, "Plan or id of the business; empty for default and unattributed.", primary_key=True),
    column("limit_tokens", BigInteger, "Tokens a business may spend on a reporting day; NULL is no limit."),
    column("limit_usd", Numeric, "USD a business may spend on a reporting day; NULL is no limit."),
    column("updated_by", Text, "Who set it."),
    column("updated_at", Instant, "When it was set.", nullable=False, server_default=_NOW),
    CheckConstraint("scope IN ('default', 'plan', 'business', 'unattributed')", name="openai_limits_scope_check"),
    schema=MONITORING,
    comment="What a business may spend on OpenAI in a reporting day.",
)

openai_prices = Table(
    "openai_prices",
    metadata,
    column("model", Text, "Model as OpenAI names it, without the date of a version.", primary_key=True),
    column("valid_from", Date, "First day of the price.", primary_key=True),
    column("upper_nano_usd_per_token", BigInteger, "Dearest list price of a token, in 10^-9 USD.", nullable=False),
    schema=MONITORING,
    comment="Upper list prices, at which usage without a cost counts against limits in USD.",
)

openai_budgets = Table(
    "openai_budgets",
    metadata,
    _business(),
    _key(),
    column("day", Date, "Reporting day.", nullable=False),
    _amount("used_tokens", "Tokens that the ledger holds; written by its trigger."),
    _amount("used_usd", "USD that the ledger holds, with an upper price where it names none; written by its trigger."),
    _amount("reserved_tokens", "Upper bounds of the calls that are under way."),
    _amount("reserved_usd", "Upper bounds in USD of the calls that are under way."),
    column("limit_tokens", BigInteger, "Limit of the day; NULL is none."),
    column("limit_usd", Numeric, "Limit of the day in USD; NULL is none."),
    _amount("granted_tokens", "What was granted beyond the limit."),
    _amount("granted_usd", "What was granted beyond the limit in USD."),
    Index("openai_budgets_day_business_key_key", "day", "business_key", unique=True),
    schema=MONITORING,
    comment="Admission counter of the OpenAI guardrail, by business and reporting day.",
)

openai_reservations = Table(
    "openai_reservations",
    metadata,
    column("request_id", Text, "Request that reserved; a repeated one reserves nothing more.", primary_key=True),
    _business(),
    _key(),
    column("day", Date, "Reporting day of the reservation, also when it is settled after midnight.", nullable=False),
    column("tokens", BigInteger, "Upper bound of the call.", nullable=False),
    column("cost_usd", Numeric, "Upper bound of its cost in USD; NULL where none was given."),
    column("held_usd", Numeric, "USD held for it: cost_usd, else its tokens at the upper list price."),
    column("endpoint", Text, "Endpoint that is called.", nullable=False),
    column("model", Text, "Model that is called."),
    column(
        "state", Text, "held, settled, reaped (settled at its estimate by the reaper) or cancelled.", nullable=False
    ),
    column("reserved_at", Instant, "When it was reserved.", nullable=False),
    column("settled_at", Instant, "When it ceased to be held."),
    column("actual_tokens", BigInteger, "Tokens that it used; more than reserved is an overrun."),
    column("actual_usd", Numeric, "Cost that its settlement named; NULL for none."),
    column("refusal", Text, "Why api_usage refuses its row (SQLSTATE, column, constraint); NULL when it does not."),
    column("unbooked_usd", Numeric, "USD held for a settlement that api_usage refuses; NULL where it does not."),
    CheckConstraint("state IN ('held', 'settled', 'reaped', 'cancelled')", name="openai_reservations_state_check"),
    Index("openai_reservations_reserved_at_idx", "reserved_at"),
    Index("openai_reservations_refusal_idx", "request_id", postgresql_where=text("refusal IS NOT NULL")),
    schema=MONITORING,
    comment="Calls to OpenAI that were admitted.",
)

openai_refusals = Table(
    "openai_refusals",
    metadata,
    column("day", Date, "Reporting day.", primary_key=True),
    column("business_key", Uuid, "Business, or zeros for none.", primary_key=True),
    column("reason", Text, "limit_tokens or limit_usd.", primary_key=True),
    column("refused_count", BigInteger, "Refused calls.", nullable=False),
    schema=MONITORING,
    comment="Calls to OpenAI that were refused; the last minutes are in openai_refusals_new.",
)

openai_refusals_new = Table(
    "openai_refusals_new",
    metadata,
    column("day", Date, "Reporting day.", primary_key=True),
    column("business_key", Uuid, "Business, or zeros for none.", primary_key=True),
    column("reason", Text, "limit_tokens or limit_usd.", primary_key=True),
    column(
        "slot", SmallInteger, "Share of the count, so that refused calls do not wait for each other.", primary_key=True
    ),
    column("refused_count", BigInteger, "Refused calls.", nullable=False),
    schema=MONITORING,
    prefixes=["UNLOGGED"],
    comment="Refused calls that are not added up yet; a crash of the server loses them.",
)

openai_grants = Table(
    "openai_grants",
    metadata,
    column("grant_id", Text, "Id of the grant; a repeated one grants nothing more.", primary_key=True),
    _business(),
    column("day", Date, "Reporting day.", nullable=False),
    _amount("tokens", "Tokens granted beyond the limit."),
    _amount("usd", "USD granted beyond the limit."),
    column("author", Text, "Who granted it.", nullable=False),
    column("reason", Text, "Why.", nullable=False),
    column("granted_at", Instant, "When.", nullable=False, server_default=_NOW),
    schema=MONITORING,
    comment="Allowance beyond the limit, for one day.",
)

openai_resets = Table(
    "openai_resets",
    metadata,
    _business(),
    _key(),
    column("day", Date, "Reporting day that was opened.", nullable=False),
    column("reset_at", Instant, "When.", nullable=False, server_default=_NOW),
    Index("openai_resets_day_business_key_key", "day", "business_key", unique=True),
    schema=MONITORING,
    comment="Days that were opened; nothing depends on it. Without a business: for all.",
)

budget_thresholds = Table(
    "budget_thresholds",
    metadata,
    column("percent", SmallInteger, "Share of limit and grants, in percent.", primary_key=True, autoincrement=False),
    schema=MONITORING,
    comment="Shares of a budget whose crossing is notified.",
)

budget_crossings = Table(
    "budget_crossings",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of the crossing."),
    _business(),
    _key(),
    column("day", Date, "Reporting day.", nullable=False),
    column("unit", Text, "tokens or usd.", nullable=False),
    column("threshold_percent", SmallInteger, "Threshold that was reached.", nullable=False),
    column("used", Numeric, "Use when it was seen, in the unit.", nullable=False),
    column("allowed", Numeric, "Limit and grants when it was seen, in the unit.", nullable=False),
    column("crossed_at", Instant, "When.", nullable=False, server_default=_NOW),
    Index("budget_crossings_key", "day", "business_key", "unit", "threshold_percent", unique=True),
    schema=MONITORING,
    comment="Thresholds that a budget reached, once each per business and day.",
)

ledger_rewrites = Table(
    "ledger_rewrites",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True, comment="Order of the rewrite."),
    _business(),
    column("day", Date, "Reporting day whose usage changed.", nullable=False),
    column("operation", Text, "UPDATE, DELETE or TRUNCATE.", nullable=False),
    column("tokens_change", Numeric, "What it added to the counter; negative gives budget back.", nullable=False),
    column("usd_change", Numeric, "What it added to the counter in USD.", nullable=False),
    column("rewritten_at", Instant, "When.", nullable=False, server_default=_NOW),
    Index("ledger_rewrites_rewritten_at_idx", "rewritten_at"),
    schema=MONITORING,
    comment="Updates and deletes of OpenAI usage of the last 7 days that changed a counter.",
)

tracking_writers = Table(
    "tracking_writers",
    metadata,
    column("writer_id", Uuid, "Process that writes through the tracking library.", primary_key=True),
    column("host", Text, "Name of its machine.", nullable=False),
    column("process_id", BigInteger, "Its process id.", nullable=False),
    column("started_at", Instant, "When it began to write.", nullable=False),
    column("reported_at", Instant, "When it last reported.", nullable=False, server_default=_NOW),
    *(
        column(name, BigInteger, comment, nullable=False)
        for name, comment in (
            ("accepted", "Events it accepted."),
            ("written", "Events it inserted, or found inserted."),
            ("spilled", "Events that an attempt to write them left waiting in its files."),
            ("dropped", "Events that were lost because its files and memory were full."),
            ("rejected", "Events that could not be written as they are; what the database refused is kept in a file."),
        )
    ),
    column("dropped_at", Instant, "When it last reported more dropped or damaged events than before; NULL for never."),
    column("rejected_at", Instant, "When it last reported more rejected events than before; NULL for never."),
    _counter("buffered", "Events that were in its memory only, because no file could be written."),
    _counter("damaged", "Events that were lost because a file was damaged."),
    _counter("trimmed", "Events with a field that was cleaned, cut or left out."),
    _counter("odd_numbers", "Events with a telephone number that is none."),
    schema=MONITORING,
    comment="Counters of the processes that write through the tracking library.",
)
