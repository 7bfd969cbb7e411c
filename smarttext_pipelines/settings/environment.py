"""Every setting of a process, with its kind, its bounds and what it is for."""

import re
from datetime import date, time
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from smarttext_pipelines.core.days import FIRST_DAY, LAST_DAY, load_zone
from smarttext_pipelines.settings import formats
from smarttext_pipelines.settings.kinds import (
    ApiKey,
    Email,
    GivenToken,
    HttpUrl,
    Network,
    Person,
    Phone,
    SecretUrl,
    Sender,
    SentryDsn,
    SmtpUrl,
    SparkUrl,
    Token,
    provider,
)

ARCHIVE_SCHEMES = ("file", "s3", "s3a", "gs", "gcs", "memory")
"""What an archive's URL begins with; a text without :// is a directory."""

LONG_PASSWORD = 12
"""A shorter password of letters alone may be an ordinary word, so it is not redacted from texts."""

PREFIX, ENV_FILE = "SMARTTEXT_", ".env"


class Settings(BaseSettings):
    """Every setting; the variable of a field is ``SMARTTEXT_`` and its name in capitals.

    Providers' settings keep their usual names, without the prefix.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="Event database, postgresql://USER:PASSWORD@HOST:5432/NAME. Empty: the embedded server.",
    )
    dagster_database_url: SecretStr | None = Field(
        default=None,
        description="Dagster's own storage, a database apart from the events. Empty: the embedded server.",
    )
    reporting_timezone: str = Field(default="UTC", description="IANA zone whose calendar days are reported.")
    start_date: date = Field(default=date(2025, 1, 1), description="First partition.")
    settle_days: int = Field(
        default=4,
        ge=4,
        le=30,
        description="Days around a day in which rows of its messages are looked for; reports take up to 72 h.",
    )
    reply_minutes: int = Field(
        default=5, ge=1, le=1440, description="Minutes within which a missed call should get a text."
    )
    shared_senders: Annotated[tuple[Sender, ...], NoDecode] = Field(
        default=(), description="Twilio numbers that send for several businesses, separated by commas."
    )
    customer_key: Token | None = Field(
        default=None,
        description="Secret under which customers' numbers become keys; changing it makes other customers of them. "
        "Empty: a random one in SMARTTEXT_DATA_DIR, for one machine.",
    )
    robocaller_businesses: int = Field(
        default=5, ge=2, le=1000, description="Businesses that a likely robocaller called within 7 days, at least."
    )
    robocaller_daily_calls: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="Calls of one business on a day; who makes more is a likely robocaller.",
    )
    data_dir: Path = Field(default=Path(".smarttext"), description="Embedded server, DAGSTER_HOME and other files.")
    archive_url: str | None = Field(
        default=None,
        description="Archive of old events: a directory, s3://bucket/path or gs://bucket/path. "
        "Empty: the folder archive in SMARTTEXT_DATA_DIR.",
    )
    retention_days: int = Field(
        default=90,
        ge=11,
        description="Days after which events may leave their tables; at least 7 more than SMARTTEXT_SETTLE_DAYS.",
    )
    retention_delete: bool = Field(
        default=False,
        description="Let the schedule delete what is archived and verified; needs SMARTTEXT_ARCHIVE_URL. "
        "On the embedded server it always does.",
    )
    lake_url: str | None = Field(
        default=None,
        description="Event lake, daily copies of the events as Parquet: a directory, s3://bucket/path or "
        "gs://bucket/path. Empty: none is kept.",
    )
    lake_spark_url: str | None = Field(
        default=None,
        description="The same place as a Spark cluster names it, such as s3a://bucket/path. "
        "Empty: as SMARTTEXT_LAKE_URL.",
    )
    spark_remote: SparkUrl | None = Field(
        default=None,
        description="Spark Connect server for days of many rows, sc://HOST:15002. Empty: PostgreSQL and DuckDB alone.",
    )
    spark_token: GivenToken | None = Field(
        default=None, description="Token that the Spark Connect server is asked with."
    )
    spark_rows: int = Field(
        default=1_000_000,
        ge=0,
        description="Event rows that the days of a rollup, with their neighbours, must have for Spark to compute them.",
    )
    ui_url: HttpUrl = Field(default="http://127.0.0.1:3000", description="Where people open the Dagster UI.")
    web_url: HttpUrl | None = Field(
        default=None, description="Where people open the dashboard; links of alerts lead there. Empty: to Dagster."
    )
    web_auth: Literal["", "proxy", "token"] = Field(
        default="",
        description="How people sign in to the dashboard: proxy or token. Empty: it listens on this machine alone.",
    )
    web_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), description="Addresses of the proxy that signs people in, such as 10.0.0.5 or 10.0.0.0/24."
    )
    web_proxy_header: str = Field(
        default="X-Forwarded-User", pattern=r"^[A-Za-z][A-Za-z0-9-]*$", description="Header in which it names them."
    )
    web_operators: Annotated[tuple[Person, ...], NoDecode] = Field(
        default=(), description="People who may act in the dashboard, as the proxy names them, separated by commas."
    )
    web_viewer_token: Token | None = Field(default=None, description="Token with which people may see the dashboard.")
    web_operator_token: Token | None = Field(default=None, description="Token with which people may also act there.")
    metrics_businesses: int = Field(
        default=0, ge=0, le=1000, description="Businesses with series of their own in /metrics; the rest is `other`."
    )
    anomaly_min_usd: float = Field(
        default=1, ge=0, le=1_000_000, description="Smallest difference of OpenAI cost, in USD, that is an anomaly."
    )
    otlp_endpoint: HttpUrl | None = provider("OTEL_EXPORTER_OTLP_ENDPOINT", "OTLP/HTTP receiver of the metrics.")
    failure_codes: Path | None = Field(
        default=None, description="File that gives error codes of no class one: a line `code,class` each."
    )
    plans: Path | None = Field(
        default=None, description="File of the plans that businesses pay for, in YAML. Empty: prices are unknown."
    )
    alert_rules: Path | None = Field(
        default=None, description="File of alert rules. Empty: the shipped alert_rules.yaml."
    )
    alert_phones: Annotated[tuple[Phone, ...], NoDecode] = Field(
        default=(), description="Telephone numbers of operators that alerts are texted to, separated by commas."
    )
    alert_texts_per_hour: int = Field(
        default=10,
        ge=1,
        description="Texts an operator gets in an hour at most; resolved incidents are always notified.",
    )
    alert_webhook_url: SecretUrl | None = Field(
        default=None, description="URL that alerts are posted to in the format of Alertmanager's webhook."
    )
    alertmanager_url: HttpUrl | None = Field(
        default=None, description="Alertmanager that incidents are posted to as alerts, such as http://127.0.0.1:9093."
    )
    smtp_url: SmtpUrl | None = Field(
        default=None, description="Mail server of the digest, smtp://USER:PASSWORD@HOST:587."
    )
    smtp_from: Annotated[str, AfterValidator(formats.email)] | None = Field(
        default=None, description="Address that the digest is mailed from."
    )
    digest_emails: Annotated[tuple[Email, ...], NoDecode] = Field(
        default=(), description="Addresses that the digest is mailed to, separated by commas."
    )
    digest_at: time = Field(default=time(8), description="Time of the morning digest in the reporting zone.")
    slack_webhook_url: SecretUrl | None = provider(
        "SLACK_WEBHOOK_URL", "Slack incoming webhook for alerts; a bot token edits and threads, a webhook cannot."
    )
    slack_bot_token: SecretStr | None = provider("SLACK_BOT_TOKEN", "Slack bot token for alerts, with SLACK_CHANNEL.")
    slack_channel: str | None = provider("SLACK_CHANNEL", "Id of the Slack channel that the bot writes to.")
    discord_webhook_url: SecretUrl | None = provider("DISCORD_WEBHOOK_URL", "Discord incoming webhook for alerts.")
    twilio_account_sid: SecretStr | None = provider(
        "TWILIO_ACCOUNT_SID", "Twilio account; TWILIO_SID is read too.", "TWILIO_SID"
    )
    twilio_auth_token: SecretStr | None = provider("TWILIO_AUTH_TOKEN", "Twilio auth token.")
    twilio_phone_number: Sender | None = provider("TWILIO_PHONE_NUMBER", "Number that alerts are texted from.")
    receiver_url: HttpUrl | None = Field(
        default=None, description="Public URL of `smarttext receiver`, as given to Twilio as statusCallback."
    )
    pagerduty_routing_key: SecretStr | None = provider("PAGERDUTY_ROUTING_KEY", "PagerDuty Events v2 routing key.")
    openai_admin_key: ApiKey | None = provider(
        "OPENAI_ADMIN_KEY", "Admin key of the OpenAI organisation, with which its costs are read. Empty: not asked."
    )
    sentry_dsn: SentryDsn | None = provider("SENTRY_DSN", "Sentry project that failures are reported to.")
    sentry_environment: str = Field(
        default="production",
        description="Environment of the events in Sentry.",
        validation_alias=AliasChoices("SENTRY_ENVIRONMENT"),
    )
    heartbeat_url: SecretUrl | None = Field(
        default=None,
        description="URL of an outside dead man's switch, asked after each complete cycle; its silence is the alarm.",
    )
    twilio_base_url: HttpUrl = Field(default="https://api.twilio.com", description="Where Twilio is asked.")
    openai_base_url: HttpUrl = Field(default="https://api.openai.com/v1", description="Where OpenAI is asked.")
    slack_base_url: HttpUrl = Field(default="https://slack.com/api/", description="Where Slack's API is asked.")
    pagerduty_base_url: HttpUrl = Field(default="https://events.pagerduty.com", description="Where PagerDuty is asked.")

    @field_validator("archive_url", "lake_url")
    @classmethod
    def _place_must_be_of_a_known_kind(cls, url: str | None) -> str | None:
        scheme, found, place = (url or "").partition("://")
        if found and (scheme not in ARCHIVE_SCHEMES or not place):
            said = f"{scheme[:40]}:// is no place for files" if place else f"{scheme[:40]}:// names no bucket"
            msg = f"{said}; write a directory, s3://bucket/path or gs://bucket/path"
            raise ValueError(msg)
        return url

    @field_validator("start_date")
    @classmethod
    def _day_must_be_in_reach(cls, day: date) -> date:
        if not FIRST_DAY <= day <= LAST_DAY:
            msg = f"write a date from {FIRST_DAY} to {LAST_DAY}, such as 2025-01-01"
            raise ValueError(msg)
        return day

    @field_validator("reporting_timezone")
    @classmethod
    def _zone_must_exist(cls, name: str) -> str:
        load_zone(name)
        return name

    @field_validator("shared_senders", "alert_phones", "digest_emails", "web_proxies", "web_operators", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    def known_secrets(self) -> list[str]:
        """Return what must never be shown: every secret value, and the passwords of its URLs."""
        values: list[str] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            found = value if isinstance(value, tuple) else (value,)
            values += [secret.get_secret_value() for secret in found if isinstance(secret, SecretStr)]
        passwords = [form for value in values if (part := _password(value)) for form in {part, unquote(part)}]
        return [*values, *(word for word in passwords if len(word) >= LONG_PASSWORD or not word.isalpha())]

    @property
    def archive_location(self) -> str:
        """Where the archive is: a URL, or an absolute path."""
        if self.archive_url and "://" in self.archive_url:
            return self.archive_url
        return str(Path(self.archive_url or self.data_dir / "archive").expanduser().resolve())

    @property
    def lake_location(self) -> str | None:
        """Where the lake is: a URL, or an absolute path; None where none is kept."""
        if self.lake_url is None or "://" in self.lake_url:
            return self.lake_url
        return str(Path(self.lake_url).expanduser().resolve())

    @property
    def lake_spark_location(self) -> str | None:
        """Where the lake is for a Spark cluster; None where none is kept."""
        return (self.lake_spark_url or self.lake_location) if self.lake_url else None

    @property
    def zone(self) -> ZoneInfo:
        """The reporting zone."""
        return load_zone(self.reporting_timezone)


def _password(url: str) -> str:
    """Return the password of a URL, also of one whose password holds characters that should have been encoded."""
    found = re.match(r"[a-z][a-z0-9+.-]*://[^:@/]*:(.*)@", url)
    return found[1] if found else ""
