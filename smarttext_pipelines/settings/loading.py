"""Settings, read from the environment (and ``.env``) here and nowhere else, when they are requested."""

import os
from datetime import date, time

from dotenv import dotenv_values
from pydantic import AliasChoices, ValidationError

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY
from smarttext_pipelines.core.errors import SettingsError
from smarttext_pipelines.core.failure_classes import use_codes
from smarttext_pipelines.settings import formats
from smarttext_pipelines.settings.environment import ENV_FILE, PREFIX, Settings

OTHER_VARIABLES = ("DAGSTER_STORAGE_URL", "TEST_DATABASE_URL")
"""Other variables with the prefix: what ``launch`` passes to Dagster, and the database of the tests."""


def load_settings() -> Settings:
    """Read the settings; raise SettingsError with one line per process that names the variable and its fault."""
    _refuse_misspelt()
    try:
        settings = Settings()
        use_codes(settings.failure_codes)
        return settings
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        name = str(fault["loc"][0]) if fault["loc"] else "settings"
        known = name in Settings.model_fields
        said = str(fault["msg"]).removeprefix("Value error, ")
        said = (_form(name) or said) if known and fault["type"] != "value_error" else said
        msg = f"{variable_of(name) if known else name}: {said}"
        raise SettingsError(msg) from None


def _refuse_misspelt() -> None:
    """Raise SettingsError for a misspelt variable: ignored, it would let a default apply instead.

    Variables with our prefix that resemble none of our settings belong to the application.
    """
    ours = [variable_of(name).removeprefix(PREFIX) for name in Settings.model_fields]
    for variable in sorted({*os.environ, *dotenv_values(ENV_FILE)}):
        name = variable.removeprefix(PREFIX)
        if name != variable and name not in (*ours, *OTHER_VARIABLES) and (meant := formats.closest(name, ours)):
            msg = f"{variable} is no setting; did you mean {PREFIX}{meant}?"
            raise SettingsError(msg)


def _form(field: str) -> str:
    """Return how the value of a setting is written, with an example; nothing where any text will do."""
    about = Settings.model_fields[field]
    if about.annotation is date:
        return f"write a date from {FIRST_DAY} to {LAST_DAY}, such as {about.default}"
    if about.annotation is time:
        return "write a time of day, such as 08:00"
    if about.annotation is bool:
        return "write true or false"
    if about.annotation is int:
        lower = "".join(f" from {bound.ge}" for bound in about.metadata if hasattr(bound, "ge"))
        upper = "".join(f" to {bound.le}" for bound in about.metadata if hasattr(bound, "le")) or " on"
        return f"write a whole number{lower}{upper}, such as {about.default}"
    return ""


def variable_of(field: str) -> str:
    """Return the environment variable of a field of ``Settings``."""
    alias = Settings.model_fields[field].validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else PREFIX + field.upper()
