"""SQL of the OpenAI guardrail: the functions that every language calls, and the trigger that counts the ledger."""

from importlib.resources import files

from smarttext_pipelines.storage.migrations.lock import TAKE

PUBLIC_FUNCTIONS = (
    "check_openai_usage_limit(uuid)",
    "reserve_openai_usage(uuid, bigint, text, text, text, numeric)",
    "settle_openai_usage(text, bigint, numeric)",
    "reset_daily_openai_usage(uuid)",
    "reset_daily_openai_usage()",
)
"""What ``service_role`` may execute in ``public``."""


def guardrail_statements() -> list[str]:
    """Return the statements that replace functions and, where they are missing, create the triggers."""
    here = files(__package__)
    read = [(here / name).read_text() for name in ("functions.sql", "counter.sql", "triggers.sql")]
    return [statement.replace("{take}", TAKE) for statement in read]
