"""The kinds of values that settings have; a secret is checked like the text that it holds, and never shown."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, Field, SecretStr

from smarttext_pipelines.settings import formats


def _secret(form: Callable[[str], str]) -> AfterValidator:
    """Return a validator of a secret text."""
    return AfterValidator(lambda secret: SecretStr(form(secret.get_secret_value())))


Phone = Annotated[SecretStr, _secret(formats.phone)]
Sender = Annotated[SecretStr, _secret(formats.sender)]
Email = Annotated[SecretStr, _secret(formats.email)]
HttpUrl = Annotated[str, AfterValidator(formats.http_url)]
SecretUrl = Annotated[SecretStr, _secret(formats.http_url)]
SparkUrl = Annotated[str, AfterValidator(formats.spark_url)]
SmtpUrl = Annotated[SecretStr, _secret(formats.smtp_url)]
Network = Annotated[str, AfterValidator(formats.network)]
Person = Annotated[str, AfterValidator(formats.person)]
Token = Annotated[SecretStr, _secret(formats.token)]
ApiKey = Annotated[SecretStr, _secret(formats.api_key)]
GivenToken = Annotated[SecretStr, _secret(formats.given_token)]
SentryDsn = Annotated[SecretStr, _secret(formats.sentry_dsn)]


def provider(variable: str, description: str, *others: str) -> Any:
    """Return a setting that a provider's own tools read too, under that name."""
    return Field(default=None, description=description, validation_alias=AliasChoices(variable, *others))
